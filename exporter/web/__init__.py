"""The web server: sockets, TLS, users, paths, and the rules for every request.

`server` serves what it is given: metrics, readiness and further routes. It knows nothing about jobs.
"""
