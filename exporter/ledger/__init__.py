"""The ledger: what was counted, which records are followed, and who may write.

`ledger` is the only writer. `reader` reads a ledger while its daemon runs. `copy` copies a ledger to another
database.
"""
