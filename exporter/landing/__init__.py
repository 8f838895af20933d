"""The page at `/`: is it working, what does the platform do, how did records end, what failed last.

`facts` reads what there is off the snapshot, `sections` and `plot` make HTML of it with `markup`, which
escapes all that is not HTML already; `document` adds the policy under which nothing but the one style
sheet may be used; `live` is what the web server asks.
"""

from exporter.landing.document import Page, plain_page, policy

__all__ = ["Page", "plain_page", "policy"]
