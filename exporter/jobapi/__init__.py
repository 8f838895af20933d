"""The platform's HTTP API and its decoding.

`client` sends requests over `transport`. `decoder` turns response bodies into values of `exporter.model`.
`errors` lists everything that can go wrong; `answers` tells the errors apart. `protocol` is the client as
pollers, audit and backfill see it; `patient` repeats requests for the latter two until the platform answers.
"""
