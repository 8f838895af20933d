"""The life of a record: when it is due, what it counts, and what a round changes. PURE.

`tracker` holds the rules, `counting` what one record counts, `decision` what a round means, `state` what
memory holds of the ledger, `known` what the ledger has of one record.
"""
