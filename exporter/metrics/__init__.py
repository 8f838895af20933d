"""The metric families, what the process counts about itself, and their exposition.

`families` is the catalog. `publisher` takes snapshots and has `exposition` show them; `collector` turns their
series into text by prometheus-client, and `negotiation` picks the format of a scrape.
"""
