"""The durable state: what was counted, what is followed, and who may write.

`ledger` is the only writer; `reader` looks at a ledger beside its daemon; `copy` copies one to another
database.
"""
