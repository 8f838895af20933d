"""The status page at `/`.

It shows the state of the exporter, the platform's open records, recent results by IDC, and recent failures.

`data` reads the values from the snapshot and the ledger's state. `render` writes them as HTML with the Jinja2
templates in `templates/`, which escape every value, and adds a Content-Security-Policy that allows the one
style sheet and nothing else. `handlers` answers requests.
"""
