"""The command `audit`: compares the ledger with the platform, record by record.

`verdict` decides and is pure. `auditor` asks both sides, `report` prints what was found, `command` reads the
flags.
"""
