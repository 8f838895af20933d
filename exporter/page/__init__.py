"""The status page at `/`.

It says whether the exporter works, what the platform does, how records ended, and which failed last.

`data` reads all of it from the snapshot and the ledger's state. `render` makes HTML of it with the Jinja2
templates in `templates/`, which escape every value, and adds a Content-Security-Policy that allows the one
style sheet and nothing else. `handlers` has what the web server calls.
"""
