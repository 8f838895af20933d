"""The commands `simulate` (a simulated platform) and `demo` (the same with the exporter)."""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter import app, logs
from exporter.settings import Settings, SettingsError, load
from exporter.settings.flags import names, parsed, parsed_some
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
    given = parsed(simulate_parser(), argv)
    host, _, port = given.listen_address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--listen-address {given.listen_address!r} is not [host]:port, such as :6868")
    config = _simulator_config(
        given,
        host=host.strip("[]") or "0.0.0.0",  # noqa: S104  (asked for)
        port=int(port),
        history=given.history,
        username=given.username,
        password=_password(given),
    )

    def tell(simulator: RunningSimulator) -> None:
        print(
            f"simulated job platform at {simulator.url} ({config.dialect}, {config.order}, {config.scenario})"
        )
        if config.username is not None:
            print("it requires the user and password of --username and --password")
        print(
            f"expected counts: {simulator.url}/sim/truth   faults: POST {simulator.url}/sim/faults",
            flush=True,
        )

    try:
        asyncio.run(run_simulator(config, ready=tell))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {given.listen_address} ({error.strerror}); give another --listen-address"
        ) from None
    return 0


def demo(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a simulated platform and the exporter until interrupted. Raises the same errors as `run`."""
    given, rest = parsed_some(demo_parser(), argv)
    with tempfile.TemporaryDirectory(prefix="job-exporter-demo-") as folder:
        asyncio.run(_demo_in(Path(folder), given, rest, environ))
    return 0


async def _demo_in(
    folder: Path, given: argparse.Namespace, rest: Sequence[str], environ: Mapping[str, str]
) -> None:
    config = _simulator_config(given, host="127.0.0.1", port=0, history=DEMO_HISTORY)
    async with await serve(config) as simulator:
        state = f"--state.url=sqlite:///{folder / 'ledger.db'}"
        flags = [*DEMO_SETTINGS, state, *rest, f"--api.base-url={simulator.url}"]
        settings = load(flags, environ, beside=names(given))
        logs.configure(level=settings.log.level, form=settings.log.format)

        async def tell(exporter: app.Exporter) -> None:
            print(_where_to_look(simulator.url, exporter.ports[0], settings), flush=True)

        await app.run(settings, started=tell)


def _where_to_look(platform: str, port: int, settings: Settings) -> str:
    here = f"http://localhost:{port}"
    return (
        f"\n  the page       {here}/"
        f"\n  the metrics    {here}{settings.web.telemetry_path}"
        f"\n  the platform   {platform}  (simulated; expected counts: /sim/truth)"
        "\n\n  Press Ctrl-C to stop.\n"
    )


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
    try:
        password = Path(given.password_file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"cannot read --password-file {given.password_file} ({reason})") from None
    if not password:
        raise SettingsError(f"--password-file {given.password_file} is empty")
    return password


def _simulator_config(
    given: argparse.Namespace,
    *,
    host: str,
    port: int,
    history: int,
    username: str | None = None,
    password: str | None = None,
) -> SimulatorConfig:
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
            username=username,
            password=password,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def demo_parser() -> argparse.ArgumentParser:
    """Flags of `demo` that are not settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, usage="")
    parser.add_argument(
        "--dialect",
        choices=("observed", "documented"),
        default="observed",
        help="response format of the job API",
    )
    parser.add_argument(
        "--order", choices=("asc", "desc"), default="asc", help="order of the pages, by start time"
    )
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="demo", help="workload to simulate")
    parser.add_argument("--seed", type=int, default=1, help="random seed; the same seed gives the same jobs")
    parser.add_argument("--rate", type=float, default=None, help="jobs per second; default: the scenario's")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    return parser


def simulate_parser() -> argparse.ArgumentParser:
    """Flags of `simulate`."""
    parser = demo_parser()
    parser.add_argument("--listen-address", default="127.0.0.1:6868", help="[host]:port to listen on")
    parser.add_argument("--history", type=int, default=DEMO_HISTORY, help="number of records at the start")
    parser.add_argument("--username", help="user that the platform requires; default: none")
    parser.add_argument("--password", help="password of that user; other processes can see it: prefer a file")
    parser.add_argument("--password-file", metavar="FILE", help="file with the password of that user")
    return parser
