"""The metric families, the metrics about the exporter itself, and their exposition.

`families` is the catalog. `publisher` passes snapshots to `exposition`, which answers scrapes; `collector`
writes their series with prometheus-client, and `negotiation` chooses the format.
"""
