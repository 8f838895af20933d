"""Which page to read next, and what no page has shown yet. PURE.

`tail` finds new records, `gaps` keeps the positions that hold unseen ones, `pages` lays pages over positions,
and `scan` walks down a stretch of the past.
"""
