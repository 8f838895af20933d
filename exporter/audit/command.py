"""The command `audit`: the proof of a count, for one record or for a window of time. It changes nothing."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing

from rich.console import Console

from exporter import app, logs
from exporter.audit.auditor import Audited, AuditError, Auditor, Tally
from exporter.audit.report import put
from exporter.jobapi.client import JobApi, NullObserver
from exporter.ledger.reader import Inspection
from exporter.settings import SPELLINGS, Settings, SettingsError, catalog, load
from exporter.settings.flags import names, parsed_some
from exporter.settings.parsers import duration
from exporter.settings.time_range import window

WRITE = "write job-exporter audit ID, or job-exporter audit --since 24h"


def audit(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print what was found; 0 if nothing is wrong, else 1.

    Raises SettingsError, ConfigError, LedgerError, WindowError, AuditError.
    """
    own, rest = _split(argv)
    given, unknown = parsed_some(audit_parser(), own)
    beside = [name for name in names(given) if name != "id"]
    settings = load([*rest, *unknown], environ, beside=beside)
    if (given.id is None) == (given.since is None):
        raise SettingsError(f"a record or a window: {WRITE}")
    try:
        longest_run = duration(given.longest_run)
    except ValueError as error:
        raise SettingsError(f"--longest-run: {error}") from None
    logs.configure(level="error", form=settings.log.format)
    try:
        return asyncio.run(_audit(given, settings, longest_run))
    except KeyboardInterrupt:
        raise AuditError("interrupted: what was not looked at is not proven") from None


def audit_parser() -> argparse.ArgumentParser:
    """Flags of `audit` that are not settings."""
    parser = argparse.ArgumentParser(
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
        usage="",
        epilog="Exit status: 0 nothing is wrong, 1 a finding, 2 it could not be told.",
    )
    parser.add_argument("id", metavar="ID", nargs="?", help="record to tell all about")
    parser.add_argument("--since", metavar="TIME", help="audit what ended after: 24h ago, a date, or a time")
    parser.add_argument(
        "--until", metavar="TIME", default="now", help="audit what ended by then; default: now"
    )
    parser.add_argument(
        "--longest-run",
        default="1h",
        metavar="DURATION",
        help="records that began so long before the window are not searched for in pages; default: 1h",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


async def _audit(given: argparse.Namespace, settings: Settings, longest_run: float) -> int:
    platform = settings.require_platform()
    api = JobApi(app.api_config(settings, platform), NullObserver())
    try:
        with (
            closing(Inspection(settings.state.url.get_secret_value(), platform=platform)) as ledger,
            Console(stderr=True).status("asking the platform") as status,  # on a terminal only
        ):

            def tell(share: float, records: int) -> None:
                status.update(f"{share:.0%} of the pages, {records:,} records")

            auditor = Auditor(api=api, ledger=ledger, config=app.poll_config(settings), tell=tell)
            if given.id is not None:
                found: Audited | Tally = await auditor.record(given.id)
            else:
                now = await auditor.now()
                wanted = window(("--since", given.since), ("--until", given.until), now=now)
                found = await auditor.window(wanted, longest_run=longest_run)
    finally:
        await api.aclose()
    put(found, Console(), as_json=given.json)
    return int(found.is_wrong)


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part our own arguments from settings: the value of a setting must not be taken for a record's id."""
    settings = {*SPELLINGS, *(info.flag for info in catalog())}
    own: list[str] = []
    rest: list[str] = []
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--":
            own += [argument, *arguments]
        elif argument in settings:
            rest += [argument, *([value] if (value := next(arguments, None)) is not None else [])]
        else:
            (rest if argument.partition("=")[0] in settings else own).append(argument)
    return own, rest
