"""History in a real Prometheus: what `backfill` wrote, loaded by promtool, and what was scraped after it."""

import asyncio
import math
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import serve
from exporter.simulator.world import World
from tests.e2e.increase import BOTH_EDGES, COUNTED, HOUR, Counted, told, truth, whole
from tests.e2e.month import BEGIN, DAY, END, LABELS, SEAM, Month
from tests.e2e.servers import load, prometheus
from tests.rules.tools import MAJORS, program

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("history")]
# A month for the version that users run; for the other one its last days, in a tenth of the time.
DAYS = {2: 3, 3: 30}
SEAM_HOUR = math.ceil(SEAM / HOUR) * HOUR
# A series that grew before the seam in its hour, and is not born live before the hour is over, ends there for
# Prometheus: it adds what half a step would bring.
ENDING = {SEAM_HOUR: 1.01 * 30 / (SEAM % HOUR)}


@dataclass(frozen=True, kw_only=True)
class Past:
    """A month on a platform, and its samples in OpenMetrics: backfilled (by how many days), and scraped."""

    world: World
    backfilled: Mapping[int, Path]
    scraped: Path


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Prometheus that was given a past, and the ends of the hours that it knows."""

    address: str
    major: int
    hours: Sequence[float]


async def _past(folder: Path) -> Past:
    config = SimulatorConfig(port=0, traffic=False, speed=0.0, start_time=BEGIN)
    async with await serve(config) as simulator:
        month = Month(simulator.platform)
        await asyncio.to_thread(month.before)
        await asyncio.to_thread(month.after, simulator.url, folder)  # it has an event loop of its own
        scraped = folder / "scraped.txt"
        scraped.write_text("".join(month.scrapes.pieces()), encoding="utf-8")
        files = {days: folder / f"{days}.txt" for days in DAYS.values()}
        for days, output in files.items():
            first = datetime.fromtimestamp(END - days * DAY, UTC).isoformat()
            ledger = f"--state.url=sqlite:///{folder / 'ledger.db'}"
            await backfilled(simulator.url, output, LABELS, f"--from={first}", ledger)
    return Past(world=month.world, backfilled=files, scraped=scraped)


async def backfilled(url: str, output: Path, labels: Mapping[str, str], *flags: str) -> None:
    """Run the command as a user does, beside a ledger."""
    own = [f"--label={name}={value}" for name, value in labels.items()]
    own += ["--api.duty=1", "--step=1m"]
    command = (sys.executable, "-m", "exporter", "backfill", f"--api.base-url={url}")
    process = await asyncio.create_subprocess_exec(
        *command, f"--output={output}", *own, *flags, stdout=PIPE, stderr=PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    assert b"the backfill ends there" in stderr


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """One month for both versions of Prometheus."""
    for major in MAJORS:
        program("promtool", major)
    return asyncio.run(_past(tmp_path_factory.mktemp("past")))


@pytest.fixture(scope="module", params=MAJORS)
def server(
    request: pytest.FixtureRequest, past: Past, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Prometheus with that past."""
    major, days = request.param, DAYS[request.param]
    folder = tmp_path_factory.mktemp(f"prometheus-{major}")
    load(folder, past.backfilled[days], longest="162h", major=major)
    load(folder, past.scraped, major=major)
    hours = [END - HOUR * number for number in reversed(range(24 * days))]
    with prometheus(folder, {}, [], factor=1, rules={}, retention="100y", major=major) as address:
        yield Server(address=address, major=major, hours=hours)


@pytest.mark.parametrize("counted", COUNTED, ids=lambda counted: counted.name)
def test_each_hour_of_a_month_is_the_truth(counted: Counted, server: Server, past: Past) -> None:
    """Every hour and label set: before the seam to live scraping, in the hour of the seam, and after it."""
    expected = truth(past.world, counted, server.hours)
    for part in (range(-11, 0), [server.hours.index(SEAM_HOUR)], range(server.hours.index(SEAM_HOUR))):
        assert all(expected[server.hours[number]] for number in part)
    said = whole(told(server.address, counted, server.hours, over=BOTH_EDGES), within=ENDING)
    assert {end: said[end] for end in server.hours if said[end] != +expected[end]} == {}


@pytest.mark.parametrize("counted", COUNTED, ids=lambda counted: counted.name)
def test_a_plain_hour_differs_by_what_prometheus_extrapolates(
    counted: Counted, server: Server, past: Past
) -> None:
    """Version 3 leaves out the sample on the left edge: 59 minutes, and at most a sixtieth more; 2 has it."""
    hours = [end for end in server.hours if end < SEAM_HOUR]
    seconds = {2: HOUR, 3: HOUR - 60}[server.major]
    held = truth(past.world, counted, hours, seconds=seconds)
    said = told(server.address, counted, hours, over="1h")
    for end in hours:
        assert said[end].keys() == (+held[end]).keys()
        for key, value in said[end].items():
            least = held[end][key]
            assert least * (1 - 1e-9) <= value <= least * HOUR / seconds * (1 + 1e-9), (end, key)
