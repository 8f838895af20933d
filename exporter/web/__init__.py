"""The web server: sockets, TLS, users, paths and the rules for every request.

`server` serves what it is given: a scrape, readiness, a page and further routes. It knows nothing of jobs.
"""
