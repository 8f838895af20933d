"""Platform → work file: pages from the window's end downwards, and a look at each record that they show.

Pages keep to the duty; look-ups by id go on meanwhile. A platform that goes away is waited for, `PATIENCE`
at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from exporter.backfill.samples import LAG, BackfillError, ended
from exporter.backfill.workfile import Finished, Partial
from exporter.discovery.pages import PROBE, Order, PageRequest, covered, page_at
from exporter.discovery.scan import Walk, heavy, next_page, read, share, skipped
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, CredentialsError, DeadlineError, RecordNotFound, TooLargeError
from exporter.jobapi.pacing import Pacer
from exporter.jobapi.protocol import GONE, Platform
from exporter.model import ExecuteStatus, Page, PageItem, Record, Results
from exporter.settings.time_range import Window
from exporter.tracking.counting import Buckets, Counting, is_complete

PATIENCE = 600.0  # seconds for which a platform that went away is waited for: a restart takes less
MAX_PAUSE = 60.0  # seconds between two tries then
BEGINNINGS = 4  # bad answers before the first good one, after which it is no job platform
TRIES = 8  # of a look-up that fails though the platform is there; by then half a minute has passed
FIRST_PAUSE = 0.25  # seconds before the second of them; each next one twice as long
BLINK = 1.0  # seconds: rows that are being written again are back by then (seen: 0.1 s)
FRESH = 3600.0  # seconds after a record's end in which its rows may still be written
ENDS = (1, 10, 50)  # positions looked at for a visible record at one place, until there is one

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    """How to read; seconds."""

    longest_run: float = 21_600.0  # a record that began so long before the window is not looked for
    duty: float = 0.1  # share of the wall time that pages may take
    page_size: int = 50
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = field(default_factory=Buckets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a page showed of the platform's order: from `position` on all began at `start` or later."""

    position: int
    start: float
    total: int


async def answered(api: Platform, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Ask until a platform has answered well once: then its clock is known. Raises BackfillError."""
    failures = 0
    while True:
        try:
            await api.page(PROBE.number, PROBE.size)
        except ApiError as error:
            failures += 1
            if _is_hopeless(error, failures):
                raise BackfillError(str(error)) from None
            await sleep(2.0**failures)
        else:
            return


def _is_hopeless(error: ApiError, failures: int) -> bool:
    """Whether a platform that has not answered well yet is worth no further try."""
    return error.reason in GONE or failures >= BEGINNINGS


class Reader:
    """Reads the window of one platform into its work file; `tell` hears how far it is, from 0 to 1."""

    def __init__(
        self,
        *,
        api: Platform,
        partial: Partial,
        window: Window,
        config: ReadingConfig,
        owns: Callable[[Collection[str]], set[str]] = lambda _ids: set(),
        tell: Callable[[float, int], None] = lambda _share, _records: None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api, self._partial, self._window, self._config = api, partial, window, config
        self._owns, self._tell = owns, tell
        self._wall, self._monotonic, self._sleep = wall, monotonic, sleep
        self._oldest = window.begin - config.longest_run
        self._pacer = Pacer(config.duty, monotonic=monotonic)
        self._lost_since: float | None = None  # monotonic
        self._failures = 0  # in a row, since then
        self._missed = 0  # records of the page under way that could not be read

    async def read(self) -> None:
        """Read what is not read yet. Raises BackfillError; what was read is kept."""
        walk = self._partial.walk
        if walk is None:
            walk = await self._begin()
            self._partial.add((), walk)
        while not walk.done:
            self._tell(share(walk, newest=self._window.end, oldest=self._oldest), walk.records)
            walk = await self._page(walk)
        self._tell(1.0, walk.records)

    async def _page(self, walk: Walk) -> Walk:
        """Read one page and what it shows; keep both."""
        if walk.order is Order.DESC:  # such pages are counted from the end that grows: it is asked for anew
            probe, _ = await self._ask(PROBE)
            walk = replace(walk, total=walk.total if probe.total is None else probe.total)
        request = next_page(walk, limit=self._config.page_size)
        found: list[Finished] = []
        try:
            page, cost = await self._ask(request)
        except (DeadlineError, TooLargeError) as error:
            if request.size > 1:
                after = heavy(walk, request)
            elif isinstance(error, TooLargeError):
                self._missed += 1
                after = skipped(walk, request)
            else:
                raise BackfillError(str(error)) from None
        else:
            items = self._unread(page.items)
            lookups = await self._together([self._look_up(item) for item in items])
            found = [look for look in lookups if look is not None]
            starts = [one.start for one in page.items] + [one.started for one in found]
            after = read(walk, page, size=cost.size, starts=starts, oldest=self._oldest)
        after = replace(after, unread=walk.unread + self._missed)
        self._missed = 0
        self._partial.add(filter(self._is_wanted, found), after)
        return after

    def _unread(self, items: Iterable[PageItem]) -> list[PageItem]:
        """What of a page is to be looked at: not what is kept, live counting's own, or too young."""
        young = self._window.end
        left = {item.id: item for item in items if item.start is None or item.start <= young}
        for known in (self._partial.known, self._owns):
            for id_ in known(list(left)):
                left.pop(id_, None)
        return list(left.values())

    def _is_wanted(self, look: Finished) -> bool:
        return look.ended is not None or self._window.holds(look.started)

    async def _look_up(self, item: PageItem) -> Finished | None:
        """Look at a record, and at its results if it ended in the window; None: it could not be read."""
        record = item.record or await self._tried(lambda: self._api.record(item.id))
        if record is None:
            return None
        if record.execute_status is not ExecuteStatus.DONE:  # the daemon follows what is open
            return Finished(id=record.id, started=None, ended=None)
        moment = ended(record)
        if moment is None or not self._window.holds(moment):
            return Finished(id=record.id, started=record.start, ended=None)
        results = await self._results(record, moment)
        counting = Counting(
            now=moment,
            platform_now=moment,
            record_labels=self._config.record_labels,
            buckets=self._config.buckets,
        )
        increments = counting.record(record, results)
        return Finished(
            id=record.id,
            started=record.start,
            ended=moment,
            increments=tuple(item for item in increments if item.series.family != LAG),
        )

    async def _results(self, record: Record, moment: float) -> Results | None:
        """The host rows; those of a record that has just ended may be away for a moment."""
        results = await self._tried(lambda: self._api.results(record.id))
        fresh = (self._api.platform_now() or self._wall()) - moment < FRESH
        if results is None or not fresh or is_complete(record, results):
            return results
        await self._sleep(BLINK)
        again = await self._tried(lambda: self._api.results(record.id))
        return again if again is not None and len(again.rows) >= len(results.rows) else results

    async def _begin(self) -> Walk:
        """Find the order of pages, and where the window ends."""
        try:
            page, _ = await self._ask(PROBE)
            walk = Walk(total=page.total or 0, order=None, at=page.total or 0)
            if walk.total < 2:
                return replace(walk, done=not walk.total)
            return await self._placed(walk)
        except (DeadlineError, TooLargeError) as error:
            raise BackfillError(str(error)) from None

    async def _placed(self, walk: Walk) -> Walk:
        """Compare both ends; search the end of the window if it is not the newest."""
        first, last = await self._seen(walk, 0), await self._seen(walk, walk.total - 1)
        if first is not None and last is not None and first.start != last.start:
            walk = replace(walk, order=Order.ASC if first.start < last.start else Order.DESC)
        newest = max((seen.start for seen in (first, last) if seen is not None), default=None)
        if newest is None or newest <= self._window.end:
            return walk
        return await self._searched(walk)

    async def _searched(self, walk: Walk) -> Walk:
        """Halve down to the position from which on all began after the window, to the width of a page."""
        lo = 0
        for _ in range(walk.total.bit_length()):  # more only where the platform grows as fast
            if walk.at - lo <= self._config.page_size:
                break
            middle = (lo + walk.at) // 2
            seen = await self._seen(walk, middle)
            if seen is not None:
                walk = replace(walk, total=seen.total, at=min(walk.at, seen.total))
            if seen is not None and seen.start > self._window.end:
                walk = replace(walk, at=min(walk.at, seen.position))
            else:  # where nothing is visible nothing is told: more is read rather than less
                lo = middle
        return walk

    async def _seen(self, walk: Walk, position: int) -> _Seen | None:
        """What lies about there; None: nothing is visible."""
        for size in ENDS:
            lo = max(0, min(position, walk.total - size))
            request = page_at(lo, min(walk.total, lo + size), total=walk.total, limit=size, order=walk.order)
            page, _ = await self._ask(request)
            starts = [item.start for item in page.items if item.start is not None]
            if page.items and not starts:
                lookups = await self._together([self._start(item.id) for item in page.items])
                starts = [start for start in lookups if start is not None]
            if starts:
                total = page.total or walk.total
                return _Seen(position=covered(page, total, walk.order)[0], start=min(starts), total=total)
        return None

    async def _start(self, record_id: str) -> float | None:
        record = await self._tried(lambda: self._api.record(record_id))
        return record.start if record is not None else None

    async def _ask(self, request: PageRequest) -> tuple[Page, PageCost]:
        """Ask for a page once the duty allows it; too large and too slow are the caller's."""
        while True:
            wait = self._pacer.wait()
            if wait > 0:
                await self._sleep(wait)
            began = self._monotonic()
            took: float | None = None
            try:
                answer = await self._api.page(request.number, request.size)
            except (DeadlineError, TooLargeError):
                raise
            except ApiError as error:
                await self._wait_out(error)
            else:
                self._lost_since, self._failures = None, 0
                took = answer[1].seconds
                return answer
            finally:
                self._pacer.charge(self._monotonic() - began if took is None else took)

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Look up until it is answered; None if it is this record that can't be read."""
        tries = 0
        while True:
            try:
                answer = await ask()
            except RecordNotFound:  # deleted since the page was read
                self._missed += 1
                return None
            except ApiError as error:
                if error.reason in GONE:
                    await self._wait_out(error)
                    continue
                tries += 1
                if tries >= TRIES or isinstance(error, TooLargeError):
                    self._missed += 1
                    return None
                await self._sleep(FIRST_PAUSE * 2.0 ** (tries - 1))
            else:
                self._lost_since, self._failures = None, 0
                return answer

    async def _wait_out(self, error: ApiError) -> None:
        """Wait for a platform that is gone. Raises BackfillError soon if it was never there."""
        now = self._monotonic()
        self._lost_since = now if self._lost_since is None else self._lost_since
        self._failures += 1
        never_there = self._partial.walk is None and _is_hopeless(error, self._failures)
        if isinstance(error, CredentialsError) or never_there or now - self._lost_since >= PATIENCE:
            raise BackfillError(str(error))
        await self._sleep(max(min(MAX_PAUSE, 2.0 ** min(self._failures, 6)), error.retry_after or 0.0))

    async def _together(self, jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Do all at once, as far as the API client lets them; the first failure ends the others."""
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
