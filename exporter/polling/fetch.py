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
class Gathered:
    """The answers of a round so far."""

    page: tuple[Page, PageCost] | None = None
    page_error: ApiError | None = None
    lookups: list[Lookup] = field(default_factory=list)
    lost: ApiError | None = None  # why no record can be requested; None: look-ups work
    answers: int = 0  # look-ups that returned a record
    failed: int = 0  # consecutive failures
    suspects: list[Lookup] = field(
        default_factory=list
    )  # failed look-ups; record or platform may be the cause
    unreachable: ApiError | None = None  # the last failure that no record can have caused


class Gatherer:
    """Sends a round's requests to one platform."""

    def __init__(self, api: Platform, *, pages: Pages, clock: Callable[[], Clock]) -> None:
        self._api, self._pages, self._clock = api, pages, clock
        self._tasks: set[asyncio.Task[Any]] = set()  # what `cancel` cancels
        self._shown: dict[
            bool, tuple[str, ...]
        ] = {}  # records on the last probe (True), and on the last page
        self._answered = ""  # the record of the last good look-up
        self._answered_at = -TRUSTED  # ledger time

    def cancel(self) -> None:
        """Stop waiting for answers."""
        for task in self._tasks:
            task.cancel()

    async def waited(self, job: Awaitable[T]) -> T:
        """Wait for a job; `cancel` may cancel it."""
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        try:
            return await task
        finally:
            self._tasks.discard(task)

    def shown(self, page: Page) -> None:
        """Remember records of this page as controls."""
        if page.items:
            self._shown[page.size == 1] = tuple(item.id for item in page.items[:CONTROLS])
        elif not page.total:
            self._shown, self._answered = {}, ""

    async def gather(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> Gathered:
        """Request the page and the records concurrently; the API client limits requests in flight."""
        gathered, items = Gathered(), list(lookups)
        queue = iter(items)
        # The page comes first, so that its duration does not include waiting in our own queue.
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
        """Run all jobs concurrently; True if none was cancelled. Raises any error other than ApiError."""
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
        """Look up records one after the other while the platform answers."""
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
            if item.record is None or item.lookups:  # else a page has just returned the record
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
        self._answered, self._answered_at = record_id, self._clock().now

    def _take(self, lookup: Lookup, failure: ApiError | None, gathered: Gathered) -> None:
        """Keep the result of a look-up. A failure that the record may have caused makes it a suspect."""
        if failure is None:
            gathered.lookups.append(lookup)
            return
        gathered.failed += 1
        if failure.may_be_record or lookup.record is not None:  # it answered, but not with the results
            gathered.suspects.append(replace(lookup, failure=str(failure)))
        else:
            gathered.unreachable = failure
            gathered.lookups.append(lookup)

    async def _blame(self, gathered: Gathered) -> None:
        """Decide whether records or the platform caused the failures of a round."""
        is_trusted = self._clock().now < self._answered_at + TRUSTED
        if not gathered.answers and not is_trusted and gathered.lost is None:
            if gathered.suspects:
                await self._control(gathered)
            else:
                gathered.lost = gathered.unreachable
        if gathered.lost is None:
            gathered.lookups += gathered.suspects

    async def _control(self, gathered: Gathered) -> None:
        """Request records shown by pages until one is answered; if none is, the platform has failed."""
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
