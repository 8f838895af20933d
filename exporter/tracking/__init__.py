"""The life of a record: when it is looked up, what it counts, and what a round changes. PURE.

Start with `tracker`, which holds the rules. `values` has the data types, `finding` decides which records are
new, `lookups` when they are looked up, `settling` when they are settled, `counting` and `folding` what they
count. `decision` combines all of it into the changes of a round.
"""
