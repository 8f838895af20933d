"""The real poller and ledger against the simulated world, without sockets and with a clock of its own.

Bytes go through a dialect of the simulator and through `exporter.jobapi.decoder`: only HTTP is left out.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from exporter.jobapi import decoder
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import HttpError, PlatformFailure, RecordNotFound
from exporter.ledger.errors import LedgerError
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.ledger.tables import meta
from exporter.metrics.families import HOST_BUCKETS, LAG_BUCKETS, layout
from exporter.metrics.process import ProcessMetrics
from exporter.model import Page, Record, Results, Series, Snapshot
from exporter.polling.config import PollConfig
from exporter.polling.poller import Poller
from exporter.settings import MetricsSettings
from exporter.simulator.dialect import Dialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.truth import Tally, tally
from exporter.simulator.world import World
from exporter.tracking import effects
from exporter.tracking.counting import Buckets
from exporter.tracking.state import State
from exporter.tracking.values import Changes, Rules

METRICS = MetricsSettings()
RULES = Rules(
    interval=15.0,
    settle_grace=15.0,
    buckets=Buckets(duration=METRICS.duration_buckets, hosts=HOST_BUCKETS, lag=LAG_BUCKETS),
)
PLATFORM = "http://platform.test"


class EndlessError(BaseException):
    """A poll asks and asks: no error of the platform, so that the poller cannot take it for one."""


class Crash(BaseException):
    """The process ends here, as by SIGKILL."""


@dataclass
class Clock:
    """Time that only tests move: monotonic, and a wall clock that may be set to another time."""

    now: float = 1_800_000_000.0
    set_ahead: float = 0.0  # seconds by which our wall clock was set ahead

    def wall(self) -> float:
        return self.now + self.set_ahead

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class WorldApi:
    """A job API over a simulated world; counts what is asked of it."""

    world: World
    dialect: Dialect = field(default_factory=ObservedDialect)
    page_seconds: float = 0.0  # what a page takes, by the clock
    clock: Clock | None = None
    clock_skew: float | None = 0.0
    fails: Callable[[str], bool] = lambda _endpoint: False
    asked: Counter[str] = field(default_factory=Counter)
    page_records: int = 0
    left: int = 0  # requests until a poll is taken for endless

    def platform_now(self) -> float | None:
        return None if self.clock is None or self.clock_skew is None else self.clock.wall() + self.clock_skew

    def _answer(self, endpoint: str, **query: str) -> tuple[bytes, int]:
        self.asked[endpoint] += 1
        self.left -= 1
        if self.left < 0:
            raise EndlessError
        if self.fails(endpoint):
            raise HttpError("HTTP 500", status=500)
        answer = self.dialect.answer(self.world, endpoint, query)  # type: ignore[arg-type]
        if answer.status in {400, 404}:
            raise RecordNotFound("not found")
        self.page_records += answer.records
        return answer.body, len(answer.body)

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        body, length = self._answer("page", pageNo=str(number), pageSize=str(size))
        if self.clock is not None:
            self.clock.now += self.page_seconds
        page = decoder.decode_page(body, number=number, size=size, zone=UTC)
        return page, PageCost(seconds=self.page_seconds, size=length)

    async def record(self, record_id: str) -> Record:
        body, _ = self._answer("record", id=record_id)
        try:
            return decoder.decode_record(body, zone=UTC)
        except decoder.PlatformError as error:
            kind = RecordNotFound if str(error) == "record not found" else PlatformFailure
            raise kind(str(error)) from None

    async def results(self, record_id: str) -> Results:
        body, _ = self._answer("result", id=record_id)
        return decoder.decode_results(body)


class Blow(StrEnum):
    """What happens around a commit."""

    BEFORE = "the process dies before the commit"
    DURING = "the process dies while the commit is being written"
    AFTER = "the process dies when the commit is durable, before it is known"
    REFUSED = "the disk is full: the commit fails, the process lives"
    UNDONE = "the disk fails at the very end: what was written is undone, the process lives"


def _undone(_connection: sa.Connection) -> None:
    raise sa.exc.OperationalError("COMMIT", None, Exception("disk I/O error"))


def _crash(_connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
    """Crash at the last statement of a commit."""
    if statement.startswith(f"INSERT INTO {meta.name}"):
        raise Crash


class CrashingLedger(Ledger):
    """A ledger that meets a blow at the n-th commit from now."""

    blow: Blow | None = None
    blow_in = 0

    def commit(self, changes: Changes, *, now: float) -> State:
        self.blow_in -= 1
        blow = self.blow if self.blow_in < 0 else None
        if blow is Blow.BEFORE:
            raise Crash
        if blow is Blow.REFUSED:
            self.blow = None
            raise LedgerError("database or disk is full")
        if blow is Blow.UNDONE:
            self.blow = None
            sa.event.listen(self._database.engine, "commit", _undone, once=True)
        if blow is Blow.DURING:
            sa.event.listen(self._database.engine, "before_cursor_execute", _crash)
        state = super().commit(changes, now=now)
        if blow is Blow.AFTER:
            raise Crash
        return state


class Daemon:
    """An exporter without its web server: started, killed and started again on one ledger file."""

    budget = 5_000  # requests until a poll is taken for endless

    def __init__(
        self,
        api: WorldApi,
        folder: Path,
        clock: Clock,
        *,
        config: PollConfig | None = None,
        label_limit: int = 500,
        zero_hold: float = 0.0,
        url: str | None = None,
        platform: str = PLATFORM,
    ) -> None:
        self.api, self.clock, self.platform = api, clock, platform
        api.clock = clock
        self.config = config or PollConfig(rules=RULES)
        self.url = url or f"sqlite:///{folder / 'ledger.db'}"
        self.layout: Layout = layout(MetricsSettings(label_limit=label_limit, zero_hold=zero_hold))
        self.snapshot = Snapshot()
        self._loop = asyncio.new_event_loop()
        self.start()

    def start(self) -> None:
        """Open the ledger as a new process does."""
        self.ledger = self.opened()
        self.process = ProcessMetrics(version="0", python="3")
        self.poller = Poller(
            api=self.api,
            ledger=self.ledger,
            config=self.config,
            process=self.process,
            publish=self._take,
            wall=self.clock.wall,
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )

    def opened(self) -> CrashingLedger:
        """Open the ledger; a lease outlasts any test: what ends one says so."""
        return CrashingLedger(
            self.url,
            platform=self.platform,
            now=self.clock.wall(),
            layout=self.layout,
            lease=3600.0,
            monotonic=self.clock,
        )

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def poll(self, *, times: int = 1, blow: Blow | None = None, blow_in: int = 0) -> None:
        """Poll, each time an interval later; if the process dies it is started again."""
        self.ledger.blow, self.ledger.blow_in = blow, blow_in
        for _ in range(times):
            self.clock.now += self.config.rules.interval
            self.api.left = self.budget
            try:
                self._loop.run_until_complete(self.poller.poll())
            except Crash:
                self.restart()
                return
        self.ledger.blow = None

    def release(self) -> None:
        """Show held series whose time has come, as the program does each second."""
        self._loop.run_until_complete(self.poller.release())

    def restart(self) -> None:
        """End without any farewell, and begin again."""
        self.ledger.close()
        self.start()

    def close(self) -> None:
        """Let go of everything."""
        self.ledger.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def value(self, family: str, part: str = "", **labels: str) -> float:
        """The sum of a family's series that have these labels."""
        return sum(
            sample.value
            for series, sample in self.snapshot.counters.items()
            if series.family == family
            and series.part == part
            and labels.items() <= dict(series.labels).items()
        )

    def gauge(self, family: str, **labels: str) -> float | None:
        """A gauge; None while it is not shown."""
        return self.snapshot.gauges.get(Series(family, tuple(labels.items())))

    def settled(self) -> set[str]:
        """Ids that were counted."""
        with self.ledger._database.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT id FROM job_exporter_settled WHERE outcome = 'settled'")
            return {row[0] for row in rows}

    def moved(self, ids: Collection[str] | None = None) -> dict[Series, float]:
        """Sum up what the ledger says that each record moved; of these records only, if given."""
        names = {number: series for series, number in self.ledger.state.numbers.items()}
        sums: dict[Series, float] = {}
        with self.ledger._database.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT id, moved FROM job_exporter_settled")
            for record_id, text in rows:
                if ids is not None and record_id not in ids:
                    continue
                for series, value in effects.read(text, names).items():
                    sums[series] = sums.get(series, 0.0) + value
        return sums

    def tally(self, *, without: Collection[str] = ()) -> Tally:
        """The counters in the shape of the simulator's truth, less what the records `without` moved."""
        less = self.moved(without) if without else {}
        results, kinds = Counter[str](), Counter[tuple[str, str, str]]()
        hosts, outcomes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        seen, seconds = Counter[str](), Counter[str]()
        for series, sample in self.snapshot.counters.items():
            labels = tuple(value for _, value in series.labels)
            number = int(sample.value - less.get(series, 0.0))
            match series.family:
                case "job_records_finished_total":
                    results[labels[0]] += number
                    kinds[labels[0], labels[1], labels[2]] += number
                case "job_host_results_total":
                    hosts[labels[0], labels[1]] += number
                case "job_idc_records_total":
                    outcomes[labels[0], labels[1]] += number
                case "job_record_duration_seconds" if series.part == "sum":
                    seconds[labels[0]] += number
                case "job_record_duration_seconds":
                    seen[labels[0]] += number
        return Tally(
            results=dict(+results),
            kinds=dict(+kinds),
            hosts=dict(+hosts),
            outcomes=dict(+outcomes),
            durations={result: (count, seconds[result]) for result, count in (+seen).items()},
        )


def truth_of(world: World, ids: set[str]) -> Tally:
    """What an exporter shows that counted exactly these records."""
    return tally(replace(fact) for record_id, fact in world.truth().items() if record_id in ids)
