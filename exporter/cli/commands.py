"""The commands `run`, `metrics` and `ledger`, and the errors that end a command in one line."""

import argparse
import asyncio
import socket
from collections.abc import Mapping, Sequence

import structlog

from exporter import app, logs
from exporter.audit.auditor import AuditError
from exporter.backfill.samples import BackfillError
from exporter.jobapi.errors import ApiError
from exporter.ledger.copy import copy
from exporter.ledger.errors import LedgerError
from exporter.metrics.families import families
from exporter.settings import SettingsError, load
from exporter.settings.reading import FlagParser
from exporter.web.config import WebError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# Errors that the user can fix: a wrong setting, address, certificate or ledger.
REFUSALS = (SettingsError, LedgerError, WebError, ApiError, AuditError, BackfillError)


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the daemon until a signal stops it. Raises the errors in REFUSALS."""
    settings = load(argv, environ)
    logs.configure(level=settings.log.level, form=settings.log.format)

    async def started(_: app.Exporter) -> None:
        notify_ready(environ)

    asyncio.run(app.run(settings, started=started))
    return 0


def notify_ready(environ: Mapping[str, str]) -> None:
    """Send READY=1 to the socket in NOTIFY_SOCKET, if set: sd_notify(3), for units with Type=notify.

    A failure is only logged: a stale variable must not stop the daemon.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the NUL byte of the abstract namespace.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", target)
    except OSError as error:
        log.warning("service manager not notified", socket=address, error=error.strerror or str(error))


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
