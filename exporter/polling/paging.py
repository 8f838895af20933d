"""Requests the pages of a poll (probe, tail, sweep), within the duty, and finds the cause of failures.

If one record may be the cause of a failed page, its position is searched for (rule 12). If no other page
succeeded in this poll, positions that were readable before are requested as a control: if they fail too, the
platform has failed.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog

from exporter.discovery import probe, unreadable
from exporter.discovery.pages import PageRequest, Purpose, too_heavy
from exporter.discovery.sweep import sweep_page
from exporter.discovery.tail import Tail, probe_moved
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, TooLargeError
from exporter.jobapi.pacing import Pacer
from exporter.jobapi.protocol import Platform
from exporter.model import Clock, Page

SWEEP_DUTY = 0.01  # share of the time, in addition to the duty of all other pages
QUICK = 2.5  # seconds: if pages are faster than this, one that takes four times as long has hung
CHEAP = 0.25  # seconds: a sweep reads several pages per poll if they are faster than this
MOST_SWEPT = 20  # and at most so many
MOST_FAILED = 30  # failed pages per poll: each unreadable position costs about ten
MOST_EMPTY = 20  # pages per poll that show no record: if rows blink, all pages may be empty
MOST_HUNG = 60.0  # seconds of failed pages per poll; then only look-ups go on until the next poll

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Pages:
    """Requests pages from one platform."""

    def __init__(self, api: Platform, *, duty: float, monotonic: Callable[[], float]) -> None:
        """`duty`: share of wall time that pages may take."""
        self._api, self._monotonic = api, monotonic
        self._pacer = Pacer(duty, monotonic=monotonic)
        self._sweep_pacer = Pacer(min(duty, SWEEP_DUTY), monotonic=monotonic)
        self._seconds: float | None = None  # duration of the last good page
        self._lost = 0  # consecutive failed probes
        self.begin()

    def begin(self) -> None:
        """Reset the counts at the start of a poll."""
        self._came = 0  # good pages
        self._failed = 0  # failed pages
        self._hung = 0.0  # seconds that they took
        self._empty = 0  # pages without a record
        self._sweep_pages = 0
        self._swept = 0.0  # seconds: the slowest sweep page

    @property
    def is_over(self) -> bool:
        """Whether too many pages have failed or were empty in this poll to request more."""
        return self._failed >= MOST_FAILED or self._hung >= MOST_HUNG or self._empty >= MOST_EMPTY

    def wait(self) -> float:
        """Seconds until the duty allows the next page."""
        return self._pacer.wait()

    def sweep_page(self, tail: Tail, *, limit: int) -> PageRequest | None:
        """The next page of the sweep if one is due: one per poll, more while pages are cheap."""
        is_enough = self._sweep_pages >= MOST_SWEPT or (self._sweep_pages and self._swept > CHEAP)
        if self.is_over or is_enough or self._sweep_pacer.wait() > 0:
            return None
        return sweep_page(tail, limit=limit)

    async def ask(self, request: PageRequest) -> tuple[Page, PageCost]:
        """Request a page of the tail or the sweep. Raises ApiError."""
        is_try = request.purpose in {Purpose.NARROW, Purpose.RETRY}
        patient = self._seconds is None or self._seconds > QUICK
        page, cost = await self._paid(request, patient=patient, retry=not is_try)
        self._came += 1
        self._empty += not page.items
        self._seconds = cost.seconds
        if request.purpose is Purpose.SWEEP:
            self._swept = max(self._swept, cost.seconds)
        return page, cost

    async def _paid(self, request: PageRequest, *, patient: bool, retry: bool) -> tuple[Page, PageCost]:
        """Request a page, and charge its duration to the duty even if it fails. Raises ApiError."""
        is_sweep, began = request.purpose is Purpose.SWEEP, self._monotonic()
        self._sweep_pages += is_sweep
        pacer = self._sweep_pacer if is_sweep else self._pacer
        try:
            page, cost = await self._api.page(request.number, request.size, patient=patient, retry=retry)
        except ApiError as error:
            took = self._monotonic() - began
            self._failed += 1
            self._hung += took
            # The platform does no work for a page that hangs: charge no more than for a normal page.
            is_hung = error.reason == "timeout"
            pacer.charge(min(took, self._seconds or took) if is_hung else took)
            raise
        pacer.charge(cost.seconds)
        return page, cost

    async def probe(self, tail: Tail) -> tuple[Tail, Page, PageCost]:
        """Request the total; try other positions if a record there is unreadable. Raises ApiError.

        While the platform is unreachable, one request per poll is enough, at a different position each time.
        """
        choices = (tail.probe, *tail.probe.alternatives)
        if self._lost:
            choices = (choices[self._lost % len(choices)],)
        self._lost += 1
        failure: ApiError | None = None
        for choice in choices:
            is_first, began = choice == choices[0], self._monotonic()
            try:
                page, cost = await self._api.page(choice.number, 1, patient=is_first, retry=is_first)
            except ApiError as error:
                self._hung += self._monotonic() - began
                failure = failure or error
                if not error.may_be_record:
                    raise
            else:
                self._lost = 0
                return probe_moved(tail, probe.weighed(choice, page, cost.size, tail.order)), page, cost
        raise failure or AssertionError

    async def failed(
        self, tail: Tail, request: PageRequest, error: ApiError, *, clock: Clock, interval: float
    ) -> tuple[Tail, ApiError | None]:
        """Handle a failed page: return the new tail, and the error if the platform caused it.

        `interval`: seconds between polls.
        """
        if not error.may_be_record:
            return tail, error
        if isinstance(error, TooLargeError):
            tail = replace(tail, weights=too_heavy(tail.weights, request.size))
        after = unreadable.failed(tail, request)
        if request.size > 1:
            return after, None
        is_known = request.purpose is Purpose.RETRY
        if not is_known and not self._came and not await self._control(after):
            return replace(tail, narrowing=None), error
        after = unreadable.registered(after, request, clock=clock, interval=interval, reason=str(error))
        if not is_known:
            log.warning(
                "a page position is unreadable: it is retried, all other positions are read",
                request=f"pageNo={request.number}&pageSize={request.size}",
                error=str(error),
            )
        return after, None

    async def _control(self, tail: Tail) -> bool:
        """Whether a position that was readable before is readable now."""
        for request in unreadable.controls(tail):
            try:
                await self._paid(request, patient=False, retry=False)
            except ApiError as error:
                if not error.may_be_record:
                    return False
            else:
                return True
        return False
