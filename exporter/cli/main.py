"""The command line `job-exporter`: selects the command; prints each error as one line.

Each command is imported when it runs: a health check must cost little.
Exit status: 0 success, 1 `check` or `audit` has findings, 2 the command could not run.
"""

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from exporter import __version__

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # what writing to stdout may meet
HELP = {"-h", "--help"}

Act = Callable[[Sequence[str], Mapping[str, str]], int]
Parser = Callable[[], argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its summary, and the function that runs it with the arguments after its name."""

    summary: str
    act: Act
    takes_settings: bool = True
    parser: Parser | None = None  # parses flags that are not settings


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may support only ASCII
    try:
        status = _dispatch(given, os.environ if environ is None else environ)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, such as `head`
        _discard_output()
        status = 0
    except KeyboardInterrupt:
        status = 0
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _discard_output()
        status = _refuse(f"cannot write the output: {error.strerror}")
    sys.exit(status)


def _discard_output() -> None:
    """Let the interpreter close stdout without another error."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    name, *rest = argv or ["--help"]
    if name.startswith("-") and name not in {*HELP, "--version"}:
        name, rest = "run", list(argv)
    if name in {*HELP, "help"}:
        print(_overview())
        return 0 if argv else 2
    command = COMMANDS.get(name)
    if command and HELP & set(rest):
        print(_help(name, command), end="")
        return 0
    if "--version" in (name, *rest):
        print(f"job-exporter {__version__}")
        return 0
    if command is None:
        return _refuse(f"unknown command {name!r}; commands: {', '.join(COMMANDS)} (see job-exporter --help)")
    return _act(command, rest, environ)


def _act(command: Command, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        return command.act(argv, environ)
    except SystemExit:  # rich exits on a broken pipe
        return 0
    except Exception as error:
        if not isinstance(error, resolve_name("exporter.cli.commands:REFUSALS")):
            raise
        return _refuse(str(error))


def _refuse(message: str) -> int:
    print(f"job-exporter: {message}", file=sys.stderr)
    return 2


def _overview() -> str:
    commands = "".join(f"  {name:<13}{command.summary}\n" for name, command in COMMANDS.items())
    return (
        "Prometheus exporter for a job-execution platform.\n\n"
        f"Usage: job-exporter COMMAND [flags]\n\n{commands}\n"
        "Run job-exporter COMMAND --help for its flags, --version for the version."
    )


def _help(name: str, command: Command) -> str:
    text = f"Usage: job-exporter {name} [flags]\n\n{command.summary}\n"
    if command.parser is not None:
        text += "\n" + "\n".join(command.parser().format_help().splitlines()[2:]) + "\n"
    if command.takes_settings:
        text += "\n" + str(resolve_name("exporter.settings:help_text")())
    return text


def _lazy(where: str) -> Callable[..., Any]:
    """The function `package.module:function`, imported when it is called."""

    def call(*given: Any) -> Any:
        return resolve_name(where)(*given)

    return call


COMMANDS: Mapping[str, Command] = {
    "run": Command("Run the daemon.", _lazy("exporter.cli.commands:run")),
    "check": Command(
        "Request each endpoint of the job API once and report problems.",
        _lazy("exporter.cli.commands:check"),
    ),
    "healthcheck": Command(
        "Check whether the running daemon answers; exit status 0 or 1.",
        _lazy("exporter.cli.healthcheck:healthcheck"),
    ),
    "simulate": Command(
        "Run a simulated job platform.",
        _lazy("exporter.cli.demo:simulate"),
        takes_settings=False,
        parser=_lazy("exporter.cli.demo:simulate_parser"),
    ),
    "demo": Command(
        "Run a simulated platform and the exporter together; needs no configuration.",
        _lazy("exporter.cli.demo:demo"),
        parser=_lazy("exporter.cli.demo:demo_parser"),
    ),
    "audit": Command(
        "Verify the count of one record, or of all records that ended in a time window.",
        _lazy("exporter.audit.command:audit"),
        parser=_lazy("exporter.audit.command:audit_parser"),
    ),
    "ledger": Command(
        "Copy a ledger to another database and compare every row: ledger copy FROM TO.",
        _lazy("exporter.cli.commands:ledger"),
        takes_settings=False,
        parser=_lazy("exporter.cli.commands:ledger_parser"),
    ),
    "metrics": Command(
        "List every metric with its labels, type and meaning.", _lazy("exporter.cli.commands:metrics")
    ),
    "backfill": Command(
        "Write past counts as an OpenMetrics file for Prometheus to import.",
        _lazy("exporter.backfill.command:backfill"),
        parser=_lazy("exporter.backfill.command:backfill_parser"),
    ),
    "assets": Command(
        "Write dashboards, rules and example configurations to a directory: assets DIR.",
        _lazy("exporter.cli.assets:assets"),
        takes_settings=False,
        parser=_lazy("exporter.cli.assets:assets_parser"),
    ),
}
