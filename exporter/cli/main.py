"""The command line `job-exporter`: selects the command; prints each error as one line.

Exit status: 0 success, 1 `check` or `audit` has findings, 2 the command could not run.
"""

import argparse
import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from exporter import __version__, app, logs
from exporter.audit.auditor import AuditError
from exporter.audit.command import audit, audit_parser
from exporter.backfill.command import backfill, backfill_parser
from exporter.backfill.grid import BackfillError
from exporter.cli import demo, notify
from exporter.cli.assets import assets, assets_parser
from exporter.cli.check import check
from exporter.cli.healthcheck import healthcheck
from exporter.jobapi.transport import ConfigError
from exporter.ledger.copy import copy
from exporter.ledger.errors import LedgerError
from exporter.metrics.families import families
from exporter.settings import SettingsError, help_text, load
from exporter.settings.time_range import WindowError
from exporter.web.config import WebError

# Errors that the user can fix: a wrong setting, address, certificate or ledger.
REFUSALS = (SettingsError, ConfigError, LedgerError, WebError, WindowError, AuditError, BackfillError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its summary, and the function that runs it with the arguments after its name."""

    summary: str
    act: Callable[[Sequence[str], Mapping[str, str]], int]
    takes_settings: bool = True
    parser: Callable[[], argparse.ArgumentParser] | None = None  # of flags that are not settings


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may support only ASCII
    try:
        status = _dispatch(given, os.environ if environ is None else environ)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, such as `head`
        with contextlib.suppress(OSError):  # otherwise closing stdout fails again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _dispatch(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    name = argv[0] if argv else "--help"
    command = COMMANDS.get(name)
    if command is None:
        return _no_command(name, given=bool(argv))
    if {"-h", "--help"} & set(argv[1:]):
        print(_help(name, command), end="")
        return 0
    try:
        return command.act(argv[1:], environ)
    except REFUSALS as error:
        return _refuse(str(error))
    except SystemExit:  # how rich ends on a broken pipe
        return 0
    except KeyboardInterrupt:
        return 0


def _no_command(name: str, *, given: bool) -> int:
    if name in {"-h", "--help", "help"}:
        print(_overview())
        return 0 if given else 2
    if name == "--version":
        print(f"job-exporter {__version__}")
        return 0
    return _refuse(f"unknown command {name!r}; commands: {', '.join(COMMANDS)} (see job-exporter --help)")


def _refuse(message: str) -> int:
    print(f"job-exporter: {message}", file=sys.stderr)
    return 2


def _overview() -> str:
    lines = [
        "Prometheus exporter for a job-execution platform.",
        "",
        "Usage: job-exporter COMMAND [flags]",
        "",
    ]
    lines += [f"  {name:<13}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            *lines,
            "",
            "Run job-exporter COMMAND --help for its flags, --version for the version.",
        ]
    )


def _help(name: str, command: Command) -> str:
    text = f"Usage: job-exporter {name} [flags]\n\n{command.summary}\n"
    if command.parser is not None:
        text += "\n" + "\n".join(command.parser().format_help().splitlines()[2:]) + "\n"
    if command.takes_settings:
        text += "\n" + help_text()
    return text


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    settings = load(argv, environ)
    logs.configure(level=settings.log.level, form=settings.log.format)

    async def started(_: app.Exporter) -> None:
        notify.ready(environ)

    asyncio.run(app.run(settings, started=started))
    return 0


def _check(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    settings = load(argv, environ)
    logs.configure(level="error", form=settings.log.format)
    config = app.api_config(settings, settings.require_platform())
    return asyncio.run(check(config, page_size=settings.api.page_size, duty=settings.api.duty))


def _metrics(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    settings = load(argv, environ)
    for family in families(app.metrics_config(settings)):
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        print(f"{family.name}{labels} ({family.type})\n    {family.help}")
    return 0


def _ledger(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    del environ
    given = _ledger_parser().parse_args(argv)
    for table, rows in copy(given.source, given.target).items():
        print(f"{table}: {rows} rows, all identical")
    return 0


class _LedgerParser(argparse.ArgumentParser):
    """Raises instead of ending the process; repeats no input, since an address may contain a password."""

    def error(self, message: str) -> NoReturn:
        del message
        raise SettingsError("an action and two addresses are required; run: job-exporter ledger copy FROM TO")


def _ledger_parser() -> argparse.ArgumentParser:
    parser = _LedgerParser(add_help=False, allow_abbrev=False, usage="")
    parser.add_argument(
        "action", choices=("copy",), help="action; stop all exporters that use either database first"
    )
    parser.add_argument("source", metavar="FROM", help="address of a ledger, as in state.url")
    parser.add_argument("target", metavar="TO", help="address of an empty database, or of a new file")
    return parser


COMMANDS: Mapping[str, Command] = {
    "run": Command(summary="Run the daemon.", act=_run),
    "check": Command(summary="Request each endpoint of the job API once and report problems.", act=_check),
    "healthcheck": Command(
        summary="Check whether the running daemon answers; exit status 0 or 1.", act=healthcheck
    ),
    "simulate": Command(
        summary="Run a simulated job platform.",
        act=demo.simulate,
        takes_settings=False,
        parser=demo.simulate_parser,
    ),
    "demo": Command(
        summary="Run a simulated platform and the exporter together; needs no configuration.",
        act=demo.demo,
        parser=demo.demo_parser,
    ),
    "audit": Command(
        summary="Verify the count of one record, or of all records that ended in a time window.",
        act=audit,
        parser=audit_parser,
    ),
    "ledger": Command(
        summary="Copy a ledger to another database and compare every row: ledger copy FROM TO.",
        act=_ledger,
        takes_settings=False,
        parser=_ledger_parser,
    ),
    "metrics": Command(summary="List every metric with its labels, type and meaning.", act=_metrics),
    "backfill": Command(
        summary="Write past counts as an OpenMetrics file for Prometheus to import.",
        act=backfill,
        parser=backfill_parser,
    ),
    "assets": Command(
        summary="Write dashboards, rules and example configurations to a directory: assets DIR.",
        act=assets,
        takes_settings=False,
        parser=assets_parser,
    ),
}
