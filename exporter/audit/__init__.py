"""The command `audit`: compares the ledger with the platform, record by record.

`verdict` decides and is pure, `auditor` reads both sides, `report` prints the result, `command` parses flags.
"""
