"""Reads a window of the platform into the work file, from the newest page to the oldest.

Each record on a page is looked up by id, and its results too if it ended in the window.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from exporter.backfill.samples import ended
from exporter.backfill.workfile import Finished, WorkFile
from exporter.discovery.pages import Order, covered, page_at
from exporter.discovery.scan import Walk, read, share
from exporter.jobapi.errors import ApiError
from exporter.jobapi.patient import BLINK, PatientApi
from exporter.jobapi.protocol import GONE, Platform
from exporter.model import ExecuteStatus, PageItem, Record, Results
from exporter.settings.time_range import Window
from exporter.tracking.counting import LAG, Buckets, Counting, is_complete

FRESH = 3600.0  # seconds after a record's end in which its rows may be rewritten
PROBE_SIZES = (1, 10, 50)  # positions read at one place, until one shows a record

T = TypeVar("T")
Owns = Callable[[Collection[str]], set[str]]
Tell = Callable[[float, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    """How to read."""

    longest_run: float = 21_600.0  # seconds before the window; records that began earlier are not read
    duty: float = 0.1  # share of the time that pages may take
    page_size: int = 50
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = field(default_factory=Buckets)


class _Seen(NamedTuple):
    """What a page shows of the order: all records from `position` on began at `start` or later."""

    position: int
    start: float
    total: int


class Reader:
    """Reads the window of one platform into its work file."""

    def __init__(
        self,
        *,
        api: Platform,
        work: WorkFile,
        window: Window,
        config: ReadingConfig,
        owns: Owns = lambda _ids: set(),
        tell: Tell = lambda _share, _records: None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`owns`: which records the daemon counts; `tell`: takes the share that is read, and the records."""
        self._api, self._work, self._window, self._config = api, work, window, config
        self._owns, self._tell = owns, tell
        self._wall, self._sleep = wall, sleep
        self._patient = PatientApi(api, duty=config.duty, monotonic=monotonic, sleep=sleep)
        self._oldest = window.begin - config.longest_run
        self._missed = 0  # records that could not be read, or their results

    async def read(self) -> None:
        """Read what the work file does not have yet. Raises ApiError, BackfillError."""
        walk = self._work.walk
        if walk is None:
            walk = await self._begin()
            self._work.add((), walk)
        self._missed = walk.unread
        while not walk.done:
            self._tell(share(walk, newest=self._window.end, oldest=self._oldest), walk.records)
            walk = await self._page(walk)
        self._tell(1.0, walk.records)

    async def _page(self, walk: Walk) -> Walk:
        """Read one page and its records, and add them to the work file."""
        if walk.order is Order.DESC:  # new records shift such pages
            total = await self._patient.total()
            walk = replace(walk, total=walk.total if total is None else total)
        after, answer = await self._patient.next_page(walk, limit=self._config.page_size)
        found = list[Finished]()
        if answer is None:
            self._missed += after.hidden - walk.hidden
        else:
            page, cost = answer
            lookups = await asyncio.gather(*map(self._look_up, self._unread(page.items)))
            found = [look for look in lookups if look is not None]
            starts = [one.start for one in page.items] + [one.started for one in found]
            after = read(walk, page, size=cost.size, starts=starts, oldest=self._oldest)
        after = replace(after, unread=self._missed)
        self._work.add(filter(self._is_wanted, found), after)
        return after

    def _unread(self, items: Iterable[PageItem]) -> list[PageItem]:
        """Items to look up: not in the work file, not the daemon's, not younger than the window."""
        left = {item.id: item for item in items if item.start is None or item.start <= self._window.end}
        for known in (self._work.known, self._owns):
            for id_ in known(list(left)):
                left.pop(id_, None)
        return list(left.values())

    def _is_wanted(self, look: Finished) -> bool:
        return look.ended is not None or self._window.holds(look.started)

    async def _look_up(self, item: PageItem) -> Finished | None:
        """Look up a record, and its results if it ended in the window; None if it cannot be read."""
        record = item.record or await self._ask(self._api.record, item.id)
        if record is None:
            return None
        if record.execute_status is not ExecuteStatus.DONE:
            return Finished(id=record.id, started=None, ended=None)
        moment = ended(record)
        if moment is None or not self._window.holds(moment):
            return Finished(id=record.id, started=record.start, ended=None)
        counting = Counting(
            now=moment,
            platform_now=moment,
            record_labels=self._config.record_labels,
            buckets=self._config.buckets,
        )
        increments = counting.record(record, await self._results(record, moment))
        return Finished(
            id=record.id,
            started=record.start,
            ended=moment,
            increments=tuple(item for item in increments if item.series.family != LAG),
        )

    async def _ask(self, ask: Callable[[str], Awaitable[T]], record_id: str) -> T | None:
        """The answer to a look-up; None if this record was deleted or cannot be read."""
        try:
            return await self._patient.look_up(ask, record_id)
        except ApiError as error:
            if error.reason in GONE:
                raise
            self._missed += 1
            return None

    async def _results(self, record: Record, moment: float) -> Results | None:
        """The host rows. Those of a record that has just ended are read again if some are missing."""
        results = await self._ask(self._api.results, record.id)
        is_fresh = (self._api.platform_now() or self._wall()) - moment < FRESH
        if results is None or not is_fresh or is_complete(record, results):
            return results
        await self._sleep(BLINK)
        again = await self._ask(self._api.results, record.id)
        return again if again is not None and len(again.rows) >= len(results.rows) else results

    # -- where to begin

    async def _begin(self) -> Walk:
        """Find the order of pages and the position at which the window ends."""
        total = await self._patient.total() or 0
        walk = Walk(total=total, order=None, at=total, done=not total)
        if total < 2:
            return walk
        first, last = await self._seen(walk, 0), await self._seen(walk, total - 1)
        if first is not None and last is not None and first.start != last.start:
            walk = replace(walk, order=Order.ASC if first.start < last.start else Order.DESC)
        newest = max((seen.start for seen in (first, last) if seen is not None), default=None)
        if newest is None or newest <= self._window.end:
            return walk
        return await self._searched(walk)

    async def _searched(self, walk: Walk) -> Walk:
        """Search by halves for the position after which all records began after the window."""
        lo = 0
        for _ in range(walk.total.bit_length()):  # the platform may grow meanwhile
            if walk.at - lo <= self._config.page_size:
                break
            middle = (lo + walk.at) // 2
            seen = await self._seen(walk, middle)
            if seen is not None:
                walk = replace(walk, total=seen.total, at=min(walk.at, seen.total))
            if seen is not None and seen.start > self._window.end:
                walk = replace(walk, at=min(walk.at, seen.position))
            else:  # also if no record is visible: rather read too much than too little
                lo = middle
        return walk

    async def _seen(self, walk: Walk, position: int) -> _Seen | None:
        """What pages show at a position; None if no record is visible."""
        for size in PROBE_SIZES:
            lo = max(0, min(position, walk.total - size))
            request = page_at(lo, min(walk.total, lo + size), total=walk.total, limit=size, order=walk.order)
            page, _ = await self._patient.page(request)
            starts = [item.start for item in page.items if item.start is not None]
            if page.items and not starts:
                records = await asyncio.gather(*(self._ask(self._api.record, item.id) for item in page.items))
                starts = [one.start for one in records if one is not None and one.start is not None]
            if starts:
                total = page.total or walk.total
                return _Seen(position=covered(page, total, walk.order)[0], start=min(starts), total=total)
        return None
