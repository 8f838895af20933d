"""The command line `job-exporter`: selects the command; prints each error as one line.

Each command is imported when it runs: a health check must cost little.
Exit status: 0 success, 1 `check` or `audit` has findings, 2 the command could not run.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

from exporter import __version__

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # what writing to stdout may meet
HELP = {"-h", "--help"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command; it is imported when it runs, and its parser when its help is shown."""

    name: str  # also of its function
    module: str
    summary: str
    takes_settings: bool = True

    def help(self) -> str:
        """Its summary, its own flags if its module has the function `NAME_parser`, and the settings."""
        text = f"Usage: job-exporter {self.name} [flags]\n\n{self.summary}\n"
        if parser := getattr(resolve_name(f"exporter.{self.module}"), f"{self.name}_parser", None):
            text += "\n" + "\n".join(parser().format_help().splitlines()[2:]) + "\n"
        if self.takes_settings:
            text += "\n" + resolve_name("exporter.settings:help_text")()
        return text


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
        print(command.help(), end="")
        return 0
    if "--version" in (name, *rest):
        print(f"job-exporter {__version__}")
        return 0
    if command is None:
        return _refuse(f"unknown command {name!r}; commands: {', '.join(COMMANDS)} (see job-exporter --help)")
    return _act(command, rest, environ)


def _act(command: Command, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        return int(resolve_name(f"exporter.{command.module}:{command.name}")(argv, environ))
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


_ALL = (
    Command("run", "cli.commands", "Run the daemon."),
    Command("check", "cli.check", "Request each endpoint of the job API once and report problems."),
    Command(
        "healthcheck", "cli.healthcheck", "Check whether the running daemon answers; exit status 0 or 1."
    ),
    Command("simulate", "cli.demo", "Run a simulated job platform.", takes_settings=False),
    Command(
        "demo", "cli.demo", "Run a simulated platform and the exporter together; needs no configuration."
    ),
    Command(
        "audit",
        "audit.command",
        "Verify the count of one record, or of all records that ended in a time window.",
    ),
    Command(
        "ledger",
        "cli.commands",
        "Copy a ledger to another database and compare every row: ledger copy FROM TO.",
        takes_settings=False,
    ),
    Command("metrics", "cli.commands", "List every metric with its labels, type and meaning."),
    Command(
        "backfill", "backfill.command", "Write past counts as an OpenMetrics file for Prometheus to import."
    ),
    Command(
        "assets",
        "cli.assets",
        "Write dashboards, rules and example configurations to a directory: assets DIR.",
        takes_settings=False,
    ),
)
COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}
