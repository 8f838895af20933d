"""The command line: which command, its flags, and the commands `check`, `demo` and `simulate`.

`main` is the program. The other commands live in packages of their own: `exporter.audit` and
`exporter.backfill`.
"""

from exporter.cli.main import main

__all__ = ["main"]
