"""The command `audit`: verifies the count of one record or of a time window. It is read-only."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing

from rich.console import Console

from exporter import logs
from exporter.audit.auditor import Audited, AuditError, Auditor, Tally
from exporter.audit.report import put
from exporter.jobapi.client import JobApi
from exporter.ledger.reader import Inspection
from exporter.polling.config import PollConfig
from exporter.settings import Settings, SettingsError, load_with
from exporter.settings.reading import FlagParser, duration_flag
from exporter.settings.time_range import window


def audit(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the findings; return 0 if there are none, else 1.

    Raises SettingsError, LedgerError, ApiError, AuditError.
    """
    given, settings = load_with(audit_parser(), argv, environ)
    if (given.ID is None) == (given.since is None):
        ways = "write job-exporter audit ID, or job-exporter audit --since 24h"
        raise SettingsError(f"give either a record or a window: {ways}")
    logs.configure(level="error", form=settings.log.format)
    try:
        return asyncio.run(_audit(given, settings))
    except KeyboardInterrupt:
        raise AuditError("interrupted: the other records were not verified") from None


def audit_parser() -> argparse.ArgumentParser:
    """Flags of `audit` that are not settings."""
    parser = FlagParser(epilog="Exit status: 0 no findings, 1 findings, 2 the audit could not run.")
    parser.add_argument("ID", nargs="?", help="id of the record to audit")
    parser.add_argument(
        "--since", metavar="TIME", help="audit records that ended after TIME: 24h, a date, or a date and time"
    )
    parser.add_argument(
        "--until", metavar="TIME", default="now", help="audit records that ended up to TIME; default: now"
    )
    parser.add_argument(
        "--longest-run",
        type=duration_flag,
        default="1h",
        metavar="DURATION",
        help="skip pages of records that began longer than this before the window; default: 1h",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


async def _audit(given: argparse.Namespace, settings: Settings) -> int:
    platform = settings.require_platform()
    api = JobApi(settings.api)
    try:
        with (
            closing(Inspection(settings.state.url.get_secret_value(), platform=platform)) as ledger,
            Console(stderr=True).status("asking the platform") as status,  # on a terminal only
        ):

            def tell(share: float, records: int) -> None:
                status.update(f"{share:.0%} of the pages, {records:,} records")

            auditor = Auditor(api=api, ledger=ledger, config=PollConfig.of(settings), tell=tell)
            if given.ID is not None:
                found: Audited | Tally = await auditor.record(given.ID)
            else:
                now = await auditor.now()
                wanted = window(("--since", given.since), ("--until", given.until), now=now)
                found = await auditor.window(wanted, longest_run=given.longest_run)
    finally:
        await api.aclose()
    put(found, Console(), as_json=given.json)
    return int(found.wrong > 0 if isinstance(found, Tally) else found.verdict.is_finding)
