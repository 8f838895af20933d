"""The real poller and ledger against the simulated world, in simulated time: counts, not speed.

Requests go through a dialect of the simulator and `exporter.jobapi.decoder`; only HTTP is left out. An hour
takes
seconds.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

from exporter.jobapi import decoder
from exporter.jobapi.client import PageCost
from exporter.ledger.ledger import Ledger
from exporter.metrics.families import HOST_BUCKETS, LAG_BUCKETS, layout
from exporter.metrics.process import ProcessMetrics
from exporter.model import Page, Record, Results, Snapshot
from exporter.polling.config import PollConfig
from exporter.polling.poller import Poller
from exporter.settings import MetricsSettings
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.dialect import Dialect, Endpoint
from exporter.simulator.scenarios import Scenario
from exporter.simulator.traffic import Traffic
from exporter.simulator.world import World
from exporter.tracking.counting import Buckets
from exporter.tracking.state import State
from exporter.tracking.values import Changes, Outcome, Rules
from tests.benchmarks import tariff

START = 1_800_000_000.0  # any moment will do
IN_FLIGHT = 8  # look-ups share the wall time so; the default of api.concurrency
METRICS = MetricsSettings()
RULES = Rules(buckets=Buckets(duration=METRICS.duration_buckets, hosts=HOST_BUCKETS, lag=LAG_BUCKETS))


@dataclass(slots=True)
class Clock:
    """Simulated time."""

    now: float = START

    def __call__(self) -> float:
        """Tell the time, POSIX seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(slots=True, kw_only=True)
class Asked:
    """What was asked of a platform."""

    requests: Counter[str] = field(default_factory=Counter)  # by endpoint
    body_bytes: int = 0
    page_records: int = 0  # records that pages held
    seconds: float = 0.0  # of the platform's time

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())


class SimulatedPlatform:
    """A job API over a world that lives: time passes while it answers if it is `priced`."""

    def __init__(self, world: World, dialect: Dialect, traffics: Sequence[Traffic], *, priced: bool) -> None:
        self.world, self.dialect, self.traffics, self.priced = world, dialect, traffics, priced
        self.clock = Clock()
        self.asked = Asked()
        self.page_price: float | None = None  # seconds of any page; None: as the tariff says
        self.tail_pages = 0  # pages that are not the question for the total

    def tick(self) -> None:
        """Let everything happen that is due."""
        for traffic in self.traffics:
            traffic.advance(self.world, self.clock.now)

    def answer(self, endpoint: Endpoint, seconds: float, **query: str) -> bytes:
        """Answer a request that costs so many seconds."""
        self.tick()
        answer = self.dialect.answer(self.world, endpoint, query)
        self.asked.requests[endpoint] += 1
        self.asked.body_bytes += len(answer.body)
        self.asked.page_records += answer.records
        self.asked.seconds += seconds
        if self.priced:
            self.clock.now += seconds if endpoint == "page" else seconds / IN_FLIGHT
        return answer.body

    def platform_now(self) -> float:
        """As `JobApi.platform_now`."""
        return self.clock.now

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """As `JobApi.page`."""
        self.tail_pages += (number, size) != (1, 1)
        tariffed = tariff.page_seconds(number, size, len(self.world))
        seconds = tariffed if self.page_price is None else self.page_price
        body = self.answer("page", seconds, pageNo=str(number), pageSize=str(size))
        page = decoder.decode_page(body, number=number, size=size, zone=UTC)
        return page, PageCost(seconds=seconds if self.priced else 0.0, size=len(body))

    async def record(self, record_id: str) -> Record:
        """As `JobApi.record`."""
        return decoder.decode_record(self.answer("record", tariff.LOOK, id=record_id), zone=UTC)

    async def results(self, record_id: str) -> Results:
        """As `JobApi.results`."""
        return decoder.decode_results(self.answer("result", tariff.LOOK, id=record_id))


class WatchedLedger(Ledger):
    """Notes when each record was counted."""

    clock: Clock
    counted: dict[str, float]

    def commit(self, changes: Changes, *, now: float) -> State:
        """Commit, and note."""
        state = super().commit(changes, now=now)
        moment = self.clock.now
        self.counted.update(
            (item.id, moment) for item in changes.settlements if item.outcome is Outcome.SETTLED
        )
        return state


def make_platform(
    scenarios: Sequence[Scenario],
    *,
    dialect: str = "observed",
    order: str = "asc",
    history: int = 0,
    priced: bool = False,
) -> SimulatedPlatform:
    """Make a platform on which the scenarios' jobs arrive together, after `history` finished ones."""
    config = SimulatorConfig(dialect=dialect, order=order)  # type: ignore[arg-type]
    world = config.make_world()
    traffics = [Traffic(seed=seed, scenario=scenario) for seed, scenario in enumerate(scenarios)]
    traffics[0].history(world, history, START)
    return SimulatedPlatform(world, config.make_dialect(), traffics, priced=priced)


class Daemon:
    """An exporter without its web server, polling in simulated time."""

    def __init__(self, platform: SimulatedPlatform, folder: str, config: PollConfig | None = None) -> None:
        self.platform, self.clock = platform, platform.clock
        self.config = config or PollConfig(rules=RULES)
        self.began = self.clock.now
        self.ledger = WatchedLedger(
            f"sqlite:///{Path(folder) / 'ledger.db'}",
            platform="http://platform.test",
            now=self.clock.now,
            layout=layout(MetricsSettings(zero_hold=0.0)),
            monotonic=self.clock,
        )
        self.ledger.clock, self.ledger.counted = self.clock, {}
        self.polls = 0
        self._poller = Poller(
            api=platform,
            ledger=self.ledger,
            config=self.config,
            process=ProcessMetrics(version="0", python="3"),
            publish=_ignore,
            wall=self.clock,
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )

    def begin(self) -> None:
        """Forget what was measured so far."""
        self.platform.asked, self.platform.tail_pages, self.polls = Asked(), 0, 0
        self.ledger.counted.clear()
        self.began = self.clock.now

    async def run(self, seconds: float) -> None:
        """Poll on each multiple of the interval until so much time has passed."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            began = self.clock.now
            await self._poller.poll()
            self.polls += 1
            interval = self.config.rules.interval
            while began <= self.clock.now:  # as the scheduler does: a late poll swallows those it ran over
                began += interval
            self.clock.now = began
        self.platform.tick()

    async def drain(self, limit: float = 7200.0) -> None:
        """Let no more jobs arrive, and poll until all is counted (or `limit` seconds have passed)."""
        for traffic in self.platform.traffics:
            traffic.stop(self.platform.world, self.clock.now)
        end = self.clock.now + limit
        while self.clock.now < end and len(self.ledger.counted) < len(self.platform.world):
            await self.run(self.config.rules.interval)

    def close(self) -> None:
        """Let go of the ledger."""
        self.ledger.close()


def _ignore(snapshot: Snapshot) -> None:
    pass


def simulate(
    platform: SimulatedPlatform,
    *,
    seconds: float,
    settle_in: float = 0.0,
    drain: bool = False,
    config: PollConfig | None = None,
) -> Daemon:
    """Run an exporter on the platform; what was asked in the first `settle_in` seconds does not count."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(platform, folder, config)

        async def run() -> None:
            if settle_in:
                await daemon.run(settle_in)
                daemon.begin()
            await daemon.run(seconds)
            if drain:
                await daemon.drain()

        try:
            asyncio.run(run())
        finally:
            daemon.close()
    return daemon
