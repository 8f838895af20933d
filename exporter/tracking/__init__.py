"""The life of a record: when it is looked up, what it counts, and what a round changes. PURE.

Start with `tracker`, which holds the rules. `values` has the data types, `probing` what a probe changes,
`finding` which records of a page are new, `lookups` when they are looked up, `settling` when they are
settled, `counting` and `folding` what they count. `decision` combines this into the changes of a round.
"""
