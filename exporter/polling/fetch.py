"""What a round asks of the platform: a page of the tail and look-ups by id, all at once.

Nothing is decided here. A request that fails costs no other: what was answered is brought back, and so it is
when `cancel` ends all waiting.

A look-up that fails, or is answered "not found", says something about its record only if the platform answers
look-ups at all. If no other look-up of the round brought a record, a *control* is asked: a record that a page
showed a moment ago. If that fails too it is the platform that is lost, and no record is blamed for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from exporter.discovery.pages import PageRequest
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, PlatformFailure, RecordNotFound
from exporter.jobapi.protocol import Platform
from exporter.model import Page, Record, Results
from exporter.polling.paging import Pages
from exporter.tracking.tracker import Clock, Lookup, Tracked, wants_results

LOST_AFTER = 20  # look-ups that fail in a row: a control tells whether it is worth asking for the rest
WORKERS = 64  # look-ups begun at once: the most that api.concurrency allows
CONTROLS = 2  # records kept of each page that was shown: one of them may be unreadable itself

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Gathered:
    """What a round brought so far."""

    page: tuple[Page, PageCost] | None = None
    page_error: ApiError | None = None
    lookups: list[Lookup] = field(default_factory=list)
    lost: ApiError | None = None  # why records can't be asked for at all; None: they can
    answers: int = 0  # look-ups that brought a record
    failed: int = 0  # in a row
    suspects: list[Lookup] = field(default_factory=list)  # it may be the platform's failure, not the record's
    unreachable: ApiError | None = None  # the last failure that is no record's


class Gatherer:
    """Asks one platform."""

    def __init__(self, api: Platform, *, pages: Pages, clock: Callable[[], Clock]) -> None:
        self._api, self._pages, self._clock = api, pages, clock
        self._tasks: set[asyncio.Task[Any]] = set()  # what `cancel` cancels
        self._shown: dict[
            bool, tuple[str, ...]
        ] = {}  # records on the last probe (True), and on the last page
        self._answered = ""  # the record of the last good look-up

    def cancel(self) -> None:
        """Wait for no more answers."""
        for task in self._tasks:
            task.cancel()

    async def waited(self, job: Awaitable[T]) -> T:
        """Wait for a job that `cancel` may cut short."""
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        try:
            return await task
        finally:
            self._tasks.discard(task)

    def shown(self, page: Page) -> None:
        """Remember which records the platform shows: they can be asked for as controls."""
        if page.items:
            self._shown[page.size == 1] = tuple(item.id for item in page.items[:CONTROLS])
        elif not page.total:
            self._shown, self._answered = {}, ""

    async def gather(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> Gathered:
        """Ask for the page and the records, all at once; the API client bounds how many in flight."""
        gathered, items = Gathered(), list(lookups)
        queue = iter(items)
        # The page comes first: what it takes is then the platform's time, not that of our own queue.
        jobs: list[Coroutine[Any, Any, None]] = (
            [] if request is None else [self._read_page(request, gathered)]
        )
        jobs += [self._look_up_each(queue, gathered) for _ in range(min(WORKERS, len(items)))]
        if await self._done(jobs):
            await self._done([self._blame(gathered)])
        elif gathered.answers:
            gathered.lookups += gathered.suspects
        return gathered

    async def _done(self, jobs: Iterable[Coroutine[Any, Any, None]]) -> bool:
        """Do all at once; whether none was cancelled. Raises what is no ApiError."""
        self._tasks.update(asyncio.create_task(job) for job in jobs)
        try:
            outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()
        cancelled = [outcome for outcome in outcomes if isinstance(outcome, asyncio.CancelledError)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and outcome not in cancelled:
                raise outcome
        return not cancelled

    async def _read_page(self, request: PageRequest, gathered: Gathered) -> None:
        try:
            gathered.page = await self._pages.ask(request)
            self.shown(gathered.page[0])
        except ApiError as error:
            gathered.page_error = error

    async def _look_up_each(self, items: Iterator[Tracked], gathered: Gathered) -> None:
        """Look up one record after the other, while the platform answers."""
        for item in items:
            if gathered.lost is not None:
                return
            await self._look_up(item, gathered)
            if gathered.failed >= LOST_AFTER:
                gathered.failed = 0
                await self._control(gathered)

    async def _look_up(self, item: Tracked, gathered: Gathered) -> None:
        """Look up one record, and its results once it is done."""
        told: Record | None = None
        results: Results | None = None
        failure: ApiError | None = None
        try:
            if item.record is None or item.lookups:  # else a page has just told it
                told = await self._api.record(item.id)
                self._answer(item.id, gathered)
        except RecordNotFound:
            gathered.suspects.append(Lookup(id=item.id, not_found=True))
            return
        except ApiError as error:
            failure = error
        record = told or item.record
        if record is not None and (failure is None or failure.may_be_record):
            try:
                if wants_results(item, record, clock=self._clock()):
                    results = await self._api.results(item.id)
                    self._answer(item.id, gathered)
            except ApiError as error:
                failure = error
        self._take(Lookup(id=item.id, record=told, results=results), failure, gathered)

    def _answer(self, record_id: str, gathered: Gathered) -> None:
        gathered.answers += 1
        gathered.failed = 0
        self._answered = record_id

    def _take(self, lookup: Lookup, failure: ApiError | None, gathered: Gathered) -> None:
        """Keep what a look-up brought; of a failure, whether it may be the record's own."""
        if failure is None:
            gathered.lookups.append(lookup)
            return
        gathered.failed += 1
        if failure.may_be_record or lookup.record is not None:  # it answered, but does not give the results
            gathered.suspects.append(replace(lookup, failure=str(failure)))
        else:
            gathered.unreachable = failure
            gathered.lookups.append(lookup)

    async def _blame(self, gathered: Gathered) -> None:
        """Tell whether what failed in a round is the fault of its records, or of the platform."""
        if not gathered.answers and gathered.lost is None:
            if gathered.suspects:
                await self._control(gathered)
            else:
                gathered.lost = gathered.unreachable
        if gathered.lost is None:
            gathered.lookups += gathered.suspects

    async def _control(self, gathered: Gathered) -> None:
        """Ask for records that pages show, until one is answered; if none is, the platform is lost."""
        suspects = {lookup.id for lookup in gathered.suspects}
        shown = [id_ for ids in self._shown.values() for id_ in ids]
        failure: ApiError | None = None
        for id_ in dict.fromkeys([*shown, self._answered]):
            if not id_ or id_ in suspects:
                continue
            try:
                await self._api.record(id_)
            except RecordNotFound as error:
                text = "records that its pages show are not found by their ids"
                failure = PlatformFailure(text, endpoint=error.endpoint)
            except ApiError as error:
                failure = error
            else:
                self._answer(id_, gathered)
                return
        gathered.lost = failure
