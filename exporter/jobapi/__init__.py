"""The platform's HTTP API and its decoding.

`client` asks, `decoder` turns answers into values of `exporter.model`, `errors` draws the tree of what can go
wrong. `protocol` is what pollers, audit and backfill need of a client.
"""
