"""The command `job-exporter`: which command, its flags, and one clear line when something is wrong.

Exit status: 0 well, 1 `check` found something, 2 what was asked for cannot be done.
"""

import argparse
import asyncio
import difflib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter import __version__, app, logs
from exporter.api import ConfigError
from exporter.check import check
from exporter.ledger import LedgerError
from exporter.metrics import MetricsConfig, families
from exporter.settings import Settings, SettingsError, help_text, load
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.server import RunningSimulator, serve
from exporter.simulator.server import run as run_simulator
from exporter.web import WebError

# A demo is to be seen moving: frequent polls, a new series is held for two scrapes of five seconds, and what
# ended before the demo began is counted, so that there is something to see at once.
DEMO_SETTINGS = (
    "--poll.interval=2s",
    "--poll.settle-grace=5s",
    "--poll.history=all",
    "--metrics.zero-hold=10s",
)
DEMO_HISTORY = 300  # records that are there before the demo begins: a platform is never new

# What a wrong setting, address, certificate or ledger raises: the user's to mend.
REFUSALS = (SettingsError, ConfigError, LedgerError, WebError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the program: what it is for, and what it does with the arguments after its name."""

    summary: str
    act: Callable[[Sequence[str], Mapping[str, str]], int]
    takes_settings: bool = True
    parser: Callable[[], argparse.ArgumentParser] | None = None  # of flags that are not settings


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_dispatch(given, os.environ if environ is None else environ))


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
    except BrokenPipeError:  # a pipe into `head`: nobody reads on
        sys.stdout = None  # else closing it complains once more
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
    return _refuse(f"no command {name!r}; there are: {', '.join(COMMANDS)} (see job-exporter --help)")


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
    lines += [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "job-exporter COMMAND --help tells its flags; --version the version."])


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
    asyncio.run(app.run(settings))
    return 0


def _check(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    settings = load(argv, environ)
    logs.configure(level="error", form=settings.log.format)
    return asyncio.run(check(app.api_config(settings, settings.require_platform())))


def _simulate(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    del environ
    given = _parsed(_simulate_parser(), argv)
    host, _, port = given.listen_address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--listen-address {given.listen_address!r} is not [host]:port, such as :6868")
    config = _simulator_config(
        given,
        host=host.strip("[]") or "0.0.0.0",  # noqa: S104  (asked for)
        port=int(port),
        history=given.history,
    )

    def tell(simulator: RunningSimulator) -> None:
        print(
            f"simulated job platform at {simulator.url} ({config.dialect}, {config.order}, {config.scenario})"
        )
        print(
            f"its truth: {simulator.url}/sim/truth   its faults: POST {simulator.url}/sim/faults", flush=True
        )

    try:
        asyncio.run(run_simulator(config, ready=tell))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {given.listen_address} ({error.strerror}); give another --listen-address"
        ) from None
    return 0


def _demo(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    given, rest = _parsed_some(_demo_parser(), argv)
    with tempfile.TemporaryDirectory(prefix="job-exporter-demo-") as folder:
        asyncio.run(_demo_in(Path(folder), given, rest, environ))
    return 0


async def _demo_in(
    folder: Path, given: argparse.Namespace, rest: Sequence[str], environ: Mapping[str, str]
) -> None:
    config = _simulator_config(given, host="127.0.0.1", port=0, history=DEMO_HISTORY)
    async with await serve(config) as simulator:
        state = f"--state.url=sqlite:///{folder / 'ledger.db'}"
        settings = load([*DEMO_SETTINGS, state, *rest, f"--api.base-url={simulator.url}"], environ)
        logs.configure(level=settings.log.level, form=settings.log.format)

        async def tell(exporter: app.Exporter) -> None:
            print(_where_to_look(simulator.url, exporter.ports[0], settings), flush=True)

        await app.run(settings, started=tell)


def _where_to_look(platform: str, port: int, settings: Settings) -> str:
    here = f"http://localhost:{port}"
    return (
        f"\n  the page       {here}/"
        f"\n  the metrics    {here}{settings.web.telemetry_path}"
        f"\n  the platform   {platform}  (simulated; its truth is at /sim/truth)"
        "\n\n  Ctrl-C ends it.\n"
    )


def _metrics(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    settings = load(argv, environ)
    config = MetricsConfig(
        record_labels=settings.metrics.record_labels, duration_buckets=settings.metrics.duration_buckets
    )
    for family in families(config):
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        print(f"{family.name}{labels} ({family.type})\n    {family.help}")
    return 0


def _simulator_config(given: argparse.Namespace, *, host: str, port: int, history: int) -> SimulatorConfig:
    try:
        return SimulatorConfig(
            host=host,
            port=port,
            dialect=given.dialect,
            order=given.order,
            scenario=given.scenario,
            seed=given.seed,
            rate=given.rate,
            fault_rate=given.fault_rate,
            history=history,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _simulator_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, usage="")
    parser.add_argument(
        "--dialect", choices=("observed", "documented"), default="observed", help="of the API"
    )
    parser.add_argument("--order", choices=("asc", "desc"), default="asc", help="of the pages, by start time")
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="demo", help="what life is like")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same life")
    parser.add_argument("--rate", type=float, default=None, help="jobs per second; default: the scenario's")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    return parser


_demo_parser = _simulator_parser


def _simulate_parser() -> argparse.ArgumentParser:
    parser = _simulator_parser()
    parser.add_argument("--listen-address", default="127.0.0.1:6868", help="[host]:port to serve on")
    parser.add_argument("--history", type=int, default=DEMO_HISTORY, help="records there at the start")
    return parser


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    given, rest = _parsed_some(parser, argv)
    if rest:
        name = rest[0].partition("=")[0]
        known = ["--" + flag.replace("_", "-") for flag in vars(given)]
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise SettingsError(f"unknown flag {name}: the nearest known one is {nearest}")
    return given


def _parsed_some(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise SettingsError(f"{error.argument_name}: {error.message}") from None


COMMANDS: Mapping[str, Command] = {
    "run": Command(summary="Run the daemon.", act=_run),
    "check": Command(summary="Ask each endpoint once, and say what was found.", act=_check),
    "simulate": Command(
        summary="Run a simulated job platform.",
        act=_simulate,
        takes_settings=False,
        parser=_simulate_parser,
    ),
    "demo": Command(
        summary="Run a simulated platform and the exporter together; nothing to configure.",
        act=_demo,
        parser=_demo_parser,
    ),
    "metrics": Command(summary="List every metric with its labels, type and meaning.", act=_metrics),
}
