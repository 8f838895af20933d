"""The command line: which command, its flags; the commands `check`, `healthcheck`, `demo`, `simulate`.

`main` is the program. The other commands live in packages of their own: `exporter.audit` and
`exporter.backfill`.
"""

from exporter.cli.main import main

__all__ = ["main"]
