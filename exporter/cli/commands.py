"""The commands `check`, `metrics` and `ledger`, and the errors that end a command in one line."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence

from exporter import logs
from exporter.audit.auditor import AuditError
from exporter.backfill.samples import BackfillError
from exporter.cli import check as platform
from exporter.jobapi.transport import ConfigError
from exporter.ledger.copy import copy
from exporter.ledger.errors import LedgerError
from exporter.metrics.families import families
from exporter.settings import SettingsError, load
from exporter.settings.flags import FlagParser
from exporter.settings.time_range import WindowError
from exporter.web.config import WebError

# Errors that the user can fix: a wrong setting, address, certificate or ledger.
REFUSALS = (SettingsError, ConfigError, LedgerError, WebError, WindowError, AuditError, BackfillError)


def check(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Check the platform; return 0 if counts would be correct, else 1. Raises the errors in REFUSALS."""
    settings = load(argv, environ)
    logs.configure(level="error", form=settings.log.format)
    settings.require_platform()
    return asyncio.run(platform.check(settings.api))


def metrics(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """List every metric. Raises the errors in REFUSALS."""
    settings = load(argv, environ)
    for family in families(settings.metrics):
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        print(f"{family.name}{labels} ({family.type})\n    {family.help}")
    return 0


def ledger(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Copy a ledger. Raises the errors in REFUSALS."""
    del environ
    if len(argv) != 3 or argv[0] != "copy":  # not by the parser, which repeats addresses and their passwords
        raise SettingsError("an action and two addresses are required; run: job-exporter ledger copy FROM TO")
    for table, rows in copy(argv[1], argv[2]).items():
        print(f"{table}: {rows} rows, all identical")
    return 0


def ledger_parser() -> argparse.ArgumentParser:
    """Flags of `ledger`."""
    parser = FlagParser()
    parser.add_argument("copy", help="action; stop all exporters that use either database first")
    parser.add_argument("FROM", help="address of a ledger, as in state.url")
    parser.add_argument("TO", help="address of an empty database, or of a new file")
    return parser
