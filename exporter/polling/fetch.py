"""Sends the requests of a round concurrently: a page of the tail, and look-ups by id.

This module decides nothing. A failed request does not affect the others: all answers are returned, also after
`cancel`.

A failed look-up, or the answer "not found", is evidence about its record only if the platform answers
look-ups at all. If no look-up returned a record in this round or just before, a *control* is requested: a
record that a page showed a moment ago. If the control fails too, the platform has failed and no record is
blamed.
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
from exporter.model import Clock, Page, Record, Results
from exporter.polling.paging import Pages
from exporter.tracking.tracker import wants_results
from exporter.tracking.values import Lookup, Tracked

LOST_AFTER = 20  # consecutive failed look-ups before a control decides whether to continue
WORKERS = 64  # concurrent look-ups: the maximum of api.concurrency
TRUSTED = 5.0  # seconds for which a good look-up proves that look-ups work: no control is needed then
CONTROLS = 2  # records kept of each page as controls: one of them may be unreadable

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fetched:
    """The answers of a round so far."""

    page: tuple[Page, PageCost] | None = None
    page_error: ApiError | None = None
    lookups: list[Lookup] = field(default_factory=list)
    lost: ApiError | None = None  # why no record can be requested; None: look-ups work
    answers: int = 0  # look-ups that returned a record
    failed: int = 0  # consecutive failures
    suspects: list[Lookup] = field(default_factory=list)  # failed; record or platform may be the cause
    unreachable: ApiError | None = None  # the last failure that no record can have caused


class Fetcher:
    """Sends a round's requests to one platform."""

    def __init__(self, api: Platform, *, pages: Pages, clock: Callable[[], Clock]) -> None:
        self._api, self._pages, self._clock = api, pages, clock
        self._tasks: set[asyncio.Future[Any]] = set()  # what `cancel` cancels
        # Records on the last probe (True), and on the last page.
        self._shown: dict[bool, tuple[str, ...]] = {}
        self._answered = ""  # the record of the last good look-up
        self._answered_at = -TRUSTED  # ledger time

    def cancel(self) -> None:
        """Stop waiting for answers."""
        for task in [*self._tasks]:
            task.cancel()

    async def waited(self, job: Awaitable[T]) -> T:
        """Wait for a job; `cancel` may cancel it."""
        return await self._started(job)

    def _started(self, job: Awaitable[T]) -> asyncio.Future[T]:
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def shown(self, page: Page) -> None:
        """Remember records of this page as controls."""
        if page.items:
            self._shown[page.size == 1] = tuple(item.id for item in page.items[:CONTROLS])
        elif not page.total:
            self._shown, self._answered = {}, ""

    async def fetch(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> Fetched:
        """Request the page and the records concurrently; the API client limits requests in flight."""
        fetched, items = Fetched(), list(lookups)
        queue = iter(items)
        jobs = [self._look_up_each(queue, fetched) for _ in range(min(WORKERS, len(items)))]
        if request is not None:  # first, so that its duration does not include waiting in our own queue
            jobs.insert(0, self._read_page(request, fetched))
        if await self._done(jobs):
            await self._done([self._blame(fetched)])
        elif fetched.answers:
            fetched.lookups += fetched.suspects
        return fetched

    async def _done(self, jobs: Iterable[Coroutine[Any, Any, None]]) -> bool:
        """Run all jobs concurrently; True if none was cancelled. Raises any error other than ApiError."""
        tasks = [self._started(job) for job in jobs]
        await asyncio.gather(*tasks, return_exceptions=True)
        ended = [task for task in tasks if not task.cancelled()]
        for task in ended:
            task.result()
        return len(ended) == len(tasks)

    async def _read_page(self, request: PageRequest, fetched: Fetched) -> None:
        try:
            fetched.page = await self._pages.ask(request)
            self.shown(fetched.page[0])
        except ApiError as error:
            fetched.page_error = error

    async def _look_up_each(self, items: Iterator[Tracked], fetched: Fetched) -> None:
        """Look up records one after the other while the platform answers."""
        for item in items:
            if fetched.lost is not None:
                return
            await self._look_up(item, fetched)
            if fetched.failed >= LOST_AFTER:
                fetched.failed = 0
                await self._control(fetched)

    async def _look_up(self, item: Tracked, fetched: Fetched) -> None:
        """Look up one record, and its results once it is done."""
        record: Record | None = None
        results: Results | None = None
        failure: ApiError | None = None
        try:
            if item.record is None or item.lookups:  # else a page has just returned the record
                record = await self._api.record(item.id)
                self._answer(item.id, fetched)
        except RecordNotFound:
            fetched.suspects.append(Lookup(id=item.id, not_found=True))
            return
        except ApiError as error:
            failure = error
        known = record or item.record
        if known is not None and (failure is None or failure.may_be_record):
            try:
                if wants_results(item, known, clock=self._clock()):
                    results = await self._api.results(item.id)
                    self._answer(item.id, fetched)
            except ApiError as error:
                failure = error
        self._sort(Lookup(id=item.id, record=record, results=results), failure, fetched)

    def _answer(self, record_id: str, fetched: Fetched) -> None:
        fetched.answers += 1
        fetched.failed = 0
        self._answered, self._answered_at = record_id, self._clock().now

    def _sort(self, lookup: Lookup, failure: ApiError | None, fetched: Fetched) -> None:
        """Keep the result of a look-up. A failure that the record may have caused makes it a suspect."""
        if failure is None:
            fetched.lookups.append(lookup)
            return
        fetched.failed += 1
        if failure.may_be_record or lookup.record is not None:  # it answered, but not with the results
            fetched.suspects.append(replace(lookup, failure=str(failure)))
        else:
            fetched.unreachable = failure
            fetched.lookups.append(lookup)

    async def _blame(self, fetched: Fetched) -> None:
        """Decide whether records or the platform caused the failures of a round."""
        is_trusted = self._clock().now < self._answered_at + TRUSTED
        if not fetched.answers and not is_trusted and fetched.lost is None:
            if fetched.suspects:
                await self._control(fetched)
            else:
                fetched.lost = fetched.unreachable
        if fetched.lost is None:
            fetched.lookups += fetched.suspects

    async def _control(self, fetched: Fetched) -> None:
        """Request records shown by pages until one is answered; if none is, the platform has failed."""
        suspects = {lookup.id for lookup in fetched.suspects}
        shown = [id_ for ids in self._shown.values() for id_ in ids]
        failure: ApiError | None = None
        for id_ in dict.fromkeys([*shown, self._answered]):
            if not id_ or id_ in suspects:
                continue
            try:
                await self._api.record(id_)
            except RecordNotFound:
                failure = PlatformFailure("records that its pages show are not found by their ids")
            except ApiError as error:
                failure = error
            else:
                self._answer(id_, fetched)
                return
        fetched.lost = failure
