"""Which page to read next, and what no page has shown yet. PURE.

`tail` finds new records, `gaps` keeps positions of unseen ones, `choosing` and `reading` request and take in
their pages, `unreadable` narrows down pages that fail, `pages` maps pages to positions, and `scan` walks down
the past (`sweep`, audit and backfill use it).
"""
