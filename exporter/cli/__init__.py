"""The command line: which command, its flags, and the small commands.

`main` is the program; it imports a command when that command runs. The large commands live in packages of
their own: `exporter.audit` and `exporter.backfill`.
"""

from exporter.cli.main import main

__all__ = ["main"]
