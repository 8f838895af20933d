"""What the tests of the core share: values of the model, and an exporter's life over a simulated world."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError
from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    Page,
    PageItem,
    Record,
    Results,
    ResultStatus,
    Series,
)
from exporter.polling.config import PollConfig
from exporter.simulator.dialect import Dialect
from exporter.simulator.fleet import make_fleet
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order, World
from exporter.tracking.state import State
from tests.harness.inprocess import RULES, Clock, Daemon, WorldApi, truth_of

NOW = 1_800_000_000.0
FLEET = make_fleet({"杭州": 3, "北京": 2})
HOSTS = tuple(host for hosts in FLEET.values() for host in hosts)


def done(record_id: str = "r", **changes: Any) -> Record:
    """Make a finished record of 10 s that ended now."""
    usual: dict[str, Any] = {
        "execute_status": ExecuteStatus.DONE,
        "result_status": ResultStatus.SUCCESS,
        "start": NOW - 10,
        "end": NOW,
        "provider": "salt",
        "script_type": "bash",
    }
    return Record(id=record_id, **{**usual, **changes})


def row(host_id: str, status: HostStatus | None = HostStatus.SUCCESS, idc: str = "杭州") -> HostResult:
    """Make a host row."""
    return HostResult(host_id=host_id, names=(host_id,), idc=idc, status=status)


def rows(*given: HostResult, bad_rows: int = 0) -> Results:
    """Make an answer with these rows."""
    return Results(rows=given, bad_rows=bad_rows)


def item(record_id: str, start: float | None = NOW) -> PageItem:
    """Make an item of a page."""
    return PageItem(id=record_id, start=start)


def page(number: int, size: int, total: int | None, *items: PageItem) -> Page:
    """Make a page."""
    return Page(number=number, size=size, total=total, items=items)


def value(state: State, family: str, part: str = "", **labels: str) -> float:
    """Sum the series of a family in the ledger that have these labels."""
    return sum(
        sample.value
        for series, sample in state.counters.items()
        if series.family == family and series.part == part and labels.items() <= dict(series.labels).items()
    )


def series(family: str, part: str = "", **labels: str) -> Series:
    """Name a series."""
    return Series(family, tuple(labels.items()), part)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as the platform met it."""

    at: float
    endpoint: str
    number: int = 0
    size: int = 0
    id: str = ""

    @property
    def is_probe(self) -> bool:
        """Whether it asks for no more than the total."""
        return self.endpoint == "page" and (self.number, self.size) == (1, 1)


@dataclass
class MoodyApi(WorldApi):
    """A job API that remembers each request, and fails as `mood` says."""

    mood: Callable[[Asked], ApiError | None] = lambda _asked: None
    requests: list[Asked] = field(default_factory=list)
    tail_page_seconds: float = 0.0  # what a page takes that is no probe
    watch: Callable[[], object] = lambda: None  # called at each request

    def _answer(self, endpoint: str, **query: str) -> tuple[bytes, int]:
        asked = Asked(
            at=self.clock() if self.clock else 0.0,
            endpoint=endpoint,
            number=int(query.get("pageNo", 0)),
            size=int(query.get("pageSize", 0)),
            id=query.get("id", ""),
        )
        self.requests.append(asked)
        self.watch()
        if (error := self.mood(asked)) is not None:
            raise error
        return super()._answer(endpoint, **query)

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        page, cost = await super().page(number, size, patient=patient, retry=retry)
        if self.clock is None or size == 1:
            return page, cost
        self.clock.now += self.tail_page_seconds
        return page, PageCost(seconds=cost.seconds + self.tail_page_seconds, size=cost.size)

    @property
    def tail_pages(self) -> list[Asked]:
        """Give the pages that were asked for, without probes."""
        return [asked for asked in self.requests if asked.endpoint == "page" and not asked.is_probe]

    def lookups(self, record_id: str, endpoint: str = "record") -> list[float]:
        """Tell when a record was looked at."""
        return [asked.at for asked in self.requests if (asked.id, asked.endpoint) == (record_id, endpoint)]


@dataclass
class Life:
    """A world, and an exporter that polls it."""

    world: World
    clock: Clock
    api: MoodyApi
    daemon: Daemon

    def add(self, hosts: int = 1, **spec: Any) -> str:
        """Begin a record now, on so many hosts; its id."""
        return self.world.add(RecordSpec(hosts=HOSTS[:hosts], **spec), self.clock.now)

    def end(self, record_id: str, result: str = "success", **changes: Any) -> None:
        """End a record now."""
        self.world.finish(record_id, result, self.clock.now, **changes)

    def ran(self, result: str = "success", **spec: Any) -> str:
        """Begin and end a record now; its id."""
        record_id = self.add(**spec)
        self.end(record_id, result)
        return record_id

    def poll(self, times: int = 1) -> None:
        """Poll, each time an interval later."""
        self.daemon.poll(times=times)

    @property
    def finished(self) -> float:
        """Tell how many records were counted."""
        return self.daemon.value("job_records_finished_total")

    def incomplete(self, reason: str) -> float:
        """Tell how many records were counted as incomplete for this reason."""
        return self.daemon.value("job_exporter_records_incomplete_total", reason=reason)

    def is_true(self) -> bool:
        """Tell whether the counters are the truth about the records that were counted."""
        return self.daemon.tally() == truth_of(self.world, self.daemon.settled())

    def forget_requests(self) -> None:
        """Look at requests from here on only."""
        self.api.requests.clear()


@contextmanager
def life(
    folder: Path,
    *,
    order: Order = "asc",
    dialect: Dialect | None = None,
    past: int = 0,
    prepare: Callable[[World], object] = lambda _world: None,
    daemon: Mapping[str, Any] | None = None,
    polled: bool = True,
    **config: Any,
) -> Iterator[Life]:
    """Give a platform where `past` records have ended, seen for the first time by an exporter (`polled`).

    `config` changes the PollConfig, `daemon` what the daemon is made with.
    """
    clock, world = Clock(NOW), World(order=order)
    for number in range(past):
        at = NOW - 100_000 + 60 * number
        world.finish(world.add(RecordSpec(hosts=HOSTS[:1], start=at), at), "success", at + 5)
    prepare(world)
    api = MoodyApi(world, dialect=dialect or ObservedDialect(), clock=clock)
    poll_config = PollConfig(**{"rules": RULES, **config})
    exporter = Daemon(api, folder, clock, config=poll_config, **(daemon or {}))
    try:
        if polled:
            exporter.poll()
            clock.now += 2  # what ends within the second of the beginning may be the baseline
        yield Life(world=world, clock=clock, api=api, daemon=exporter)
    finally:
        exporter.close()


@contextmanager
def logging_kept() -> Iterator[None]:
    """Give the logging of the tests back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("apscheduler", "httpx", "httpcore", "asyncio", "aiohttp")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, had in levels.items():
        logging.getLogger(name).setLevel(had)
