"""What a round asks of the platform: a page of the tail and look-ups by id, all at once.

Nothing is decided or kept here. A question that fails costs no other: what was answered is brought back, with
what the failures say of the platform; and so it is when `cancel` ends all waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from exporter.discovery.pages import PageRequest
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, RecordNotFound, TooLargeError
from exporter.jobapi.protocol import GONE, UNREAD, Platform
from exporter.model import Page
from exporter.tracking.tracker import UNREADABLE_LOOKUPS, Clock, Lookup, Tracked, shown_results, wants_results

LOST_AFTER = 20  # look-ups that fail in a row: the platform is gone, the rest of the round is not asked

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Gathered:
    """What a round brought so far."""

    page: tuple[Page, PageCost] | None = None
    page_error: ApiError | None = None
    too_heavy: PageRequest | None = None  # a page that was too large, or did not come in time
    lookups: list[Lookup] = field(default_factory=list)
    answers: int = 0  # look-ups that were answered
    lost: ApiError | None = None  # the last failure
    failed: int = 0  # in a row

    @property
    def is_lost(self) -> bool:
        """Whether the platform is gone, as far as the look-ups tell: a few failures may be their records'."""
        gone = self.lost is not None and self.lost.reason in GONE and not self.answers
        return self.failed >= LOST_AFTER or gone


class Gatherer:
    """Asks one platform, and says when the duty allows the next page of the tail."""

    def __init__(
        self, api: Platform, *, duty: float, clock: Callable[[], Clock], monotonic: Callable[[], float]
    ) -> None:
        """`duty`: the share of the wall time that tail pages may take."""
        self._api, self._duty, self._clock, self._monotonic = api, duty, clock, monotonic
        self._tasks: set[asyncio.Task[Any]] = set()  # what `cancel` cancels
        self.page_due = 0.0  # when the duty allows the next tail page; monotonic

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

    async def gather(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> Gathered:
        """Ask for the page and the records, all at once; the API client bounds how many in flight."""
        gathered = Gathered()
        jobs: list[Coroutine[Any, Any, None]] = [self._look_up(item, gathered) for item in lookups]
        if request is not None:
            jobs.append(self._read_page(request, gathered))
        self._tasks.update(asyncio.create_task(job) for job in jobs)
        try:
            outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for task in self._tasks:
                task.cancel()
            self._tasks.clear()
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome
        return gathered

    async def _read_page(self, request: PageRequest, gathered: Gathered) -> None:
        began = self._monotonic()
        try:
            gathered.page = await self._api.page(request.number, request.size)
        except ApiError as error:
            if error.reason in {"timeout", "too_large"}:
                gathered.too_heavy = request
            if not isinstance(error, TooLargeError):
                gathered.page_error = error
            elif request.size > 1:
                log.info("a page is too large: half of it is asked", records=request.size)
            else:
                # Nothing smaller can be asked: the position counts as empty, and is looked at again.
                log.warning("the page of a single record is too large", position=request.number)
                empty = Page(number=request.number, size=1, total=None, items=())
                gathered.page = (empty, PageCost(seconds=0.0, size=0))
        finally:
            self.page_due = began + (self._monotonic() - began) / self._duty

    async def _look_up(self, item: Tracked, gathered: Gathered) -> None:
        """Look at one record, and at its results once it is done."""
        if gathered.failed >= LOST_AFTER:
            return
        record, results, unread = None, None, False
        try:
            record = item.record or await self._api.record(item.id)
            gathered.answers += 1
            if wants_results(item, record, clock=self._clock()):
                results = shown_results(item, record) or await self._api.results(item.id)
            gathered.failed = 0
        except RecordNotFound:
            gathered.answers += 1
            gathered.lookups.append(Lookup(id=item.id, not_found=True))
            return
        except ApiError as error:
            gathered.lost = error
            gathered.failed += item.unread < UNREADABLE_LOOKUPS  # a record unread for long tells nothing
            unread = error.reason in UNREAD
        had = None if item.record else record
        gathered.lookups.append(Lookup(id=item.id, record=had, results=results, unread=unread))
