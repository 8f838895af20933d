"""The commands `simulate` (a simulated platform) and `demo` (the same with the exporter)."""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter import app, logs
from exporter.jobapi.transport import read_secret
from exporter.settings import SettingsError, load_with
from exporter.settings.parsers import listen_address
from exporter.settings.reading import FlagParser, parse
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.server import RunningSimulator, serve
from exporter.simulator.server import run as run_simulator

# A demo must show changes: it polls often, holds a new series for two scrapes of five seconds, and counts the
# records that ended before it began.
DEMO_SETTINGS = (
    "--poll.interval=2s",
    "--poll.settle-grace=5s",
    "--poll.history=all",
    "--metrics.zero-hold=10s",
)
DEMO_HISTORY = 300  # records that exist at the start, as on a real platform


def simulate(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a simulated platform until interrupted. Raises SettingsError."""
    del environ
    given = parse(simulate_parser(), argv)
    try:
        address = listen_address(given.listen_address)
    except ValueError:
        raise SettingsError(
            f"--listen-address {given.listen_address!r} is not [host]:port, such as :6868"
        ) from None
    config = _config(
        given,
        host=address.host or "0.0.0.0",  # noqa: S104  (asked for)
        port=address.port,
        history=given.history,
        username=given.username,
        password=_password(given),
    )

    def show_address(simulator: RunningSimulator) -> None:
        kind = f"{config.dialect}, {config.order}, {config.scenario}"
        login = "it requires the user and password of --username and --password\n" if config.username else ""
        print(
            f"simulated job platform at {simulator.url} ({kind})\n{login}"
            f"expected counts: {simulator.url}/sim/truth   faults: POST {simulator.url}/sim/faults",
            flush=True,
        )

    try:
        asyncio.run(run_simulator(config, ready=show_address))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {given.listen_address} ({error.strerror}); give another --listen-address"
        ) from None
    return 0


def demo(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a simulated platform and the exporter until interrupted. Raises the same errors as `run`."""
    with tempfile.TemporaryDirectory(prefix="job-exporter-demo-") as folder:
        asyncio.run(_demo(argv, environ, state=f"sqlite:///{folder}/ledger.db"))
    return 0


async def _demo(argv: Sequence[str], environ: Mapping[str, str], *, state: str) -> None:
    given, _ = load_with(demo_parser(), argv, environ)
    async with await serve(_config(given, port=0, history=DEMO_HISTORY)) as simulator:
        flags = [*DEMO_SETTINGS, f"--state.url={state}", *argv, f"--api.base-url={simulator.url}"]
        _, settings = load_with(demo_parser(), flags, environ)
        logs.configure(level=settings.log.level, form=settings.log.format)

        async def show_addresses(exporter: app.Exporter) -> None:
            here = f"http://localhost:{exporter.web.ports[0]}"
            print(
                f"\n  the page       {here}/"
                f"\n  the metrics    {here}{settings.web.telemetry_path}"
                f"\n  the platform   {simulator.url}  (simulated; expected counts: /sim/truth)"
                "\n\n  Press Ctrl-C to stop.\n",
                flush=True,
            )

        await app.run(settings, started=show_addresses)


def _password(given: argparse.Namespace) -> str | None:
    """The password that the simulated platform requires; None: none. Raises SettingsError."""
    if given.username is not None and ":" in given.username:
        raise SettingsError(
            "--username must not contain a colon: HTTP basic authentication ends the name there"
        )
    if given.password_file is None:
        return given.password or None
    if given.password is not None:
        raise SettingsError("give only one of --password and --password-file")
    return read_secret("--password-file", given.password_file)


def _config(given: argparse.Namespace, **others: Any) -> SimulatorConfig:
    """The platform of these flags, and of other values by field. Raises SettingsError."""
    shared = ("dialect", "order", "scenario", "seed", "rate", "fault_rate")
    try:
        return SimulatorConfig(**{name: getattr(given, name) for name in shared}, **others)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def demo_parser() -> argparse.ArgumentParser:
    """Flags of `demo` that are not settings."""
    parser = FlagParser()
    add, dialects = parser.add_argument, ("observed", "documented")
    add("--dialect", choices=dialects, default="observed", help="response format of the job API")
    add("--order", choices=("asc", "desc"), default="asc", help="order of the pages, by start time")
    add("--scenario", choices=tuple(SCENARIOS), default="demo", help="workload to simulate")
    add("--seed", type=int, default=1, help="random seed; the same seed gives the same jobs")
    add("--rate", type=float, help="jobs per second; default: the scenario's")
    add("--fault-rate", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    return parser


def simulate_parser() -> argparse.ArgumentParser:
    """Flags of `simulate`."""
    parser = demo_parser()
    parser.add_argument("--listen-address", default="127.0.0.1:6868", help="[host]:port to listen on")
    parser.add_argument("--history", type=int, default=DEMO_HISTORY, help="number of records at the start")
    parser.add_argument("--username", help="user that the platform requires; default: none")
    parser.add_argument("--password", help="password of that user; other processes can see it: prefer a file")
    parser.add_argument(
        "--password-file", metavar="FILE", type=Path, help="file with the password of that user"
    )
    return parser
