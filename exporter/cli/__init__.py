"""The command line: `main` selects the command; the other modules are the small commands.

The large commands are packages of their own: `exporter.audit` and `exporter.backfill`.
"""

from exporter.cli.main import main

__all__ = ["main"]
