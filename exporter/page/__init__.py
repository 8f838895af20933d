"""The page at `/`: is it working, what does the platform do, how did records end, what failed last.

`data` reads what there is off the snapshot, `sections` and `plot` make HTML of it with `markup`, which
escapes all that is not HTML already; `document` adds the policy under which nothing but the one style
sheet may be used; `handlers` is what the web server asks.
"""
