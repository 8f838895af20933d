"""job-exporter: a Prometheus exporter for a job-execution platform."""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    # The ledger's lock needs fcntl. One line, instead of a traceback from deep inside.
    raise SystemExit("job-exporter needs a POSIX system (Linux or macOS). On Windows use WSL or a container.")
