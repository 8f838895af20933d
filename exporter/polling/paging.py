"""The pages of a poll: the probe, pages of the tail and of the sweep; what they may cost, and who failed.

A page that fails in a way that may be one record's fault is narrowed down to its position (rule 12). If no
other page came in this poll, positions that could be read before are asked for as a control: if these fail
too, it is the platform that failed.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from exporter.discovery import failing, probe
from exporter.discovery.pages import PageRequest, Purpose
from exporter.discovery.sweeping import sweep_page
from exporter.discovery.tail import Tail, probe_moved
from exporter.discovery.weights import too_heavy
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, TooLargeError
from exporter.jobapi.pacing import Pacer
from exporter.jobapi.protocol import Platform
from exporter.model import Page
from exporter.tracking.tracker import Clock

SWEEP_DUTY = 0.01  # of the time: beside the duty of all other pages
QUICK = 2.5  # seconds: where pages take less, one that takes four times as long hangs
CHEAP = 0.25  # seconds: of pages that take less, a sweep reads several in a poll

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Pages:
    """Asks one platform for pages."""

    def __init__(
        self,
        api: Platform,
        *,
        duty: float,
        interval: float,
        clock: Callable[[], Clock],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`duty`: the share of the time that pages may take; `interval`: seconds from poll to poll."""
        self._api, self._interval, self._clock, self._monotonic = api, interval, clock, monotonic
        self._pacer = Pacer(duty, monotonic=monotonic)
        self._sweep_pacer = Pacer(min(duty, SWEEP_DUTY), monotonic=monotonic)
        self._seconds: float | None = None  # what the last good page took
        self._lost = 0  # probes in a row that failed
        self._came = 0  # good pages of this poll
        self._swept = 0.0  # seconds that the slowest page of the sweep took in this poll
        self.swept = 0  # pages of the sweep in this poll

    def begin(self) -> None:
        """A poll begins."""
        self._came, self.swept, self._swept = 0, 0, 0.0

    def wait(self) -> float:
        """Seconds until the duty allows the next page."""
        return self._pacer.wait()

    def sweep_page(self, tail: Tail, *, limit: int) -> PageRequest | None:
        """The next page of the sweep, if it is its turn: one a poll, more while they are cheap."""
        if self._sweep_pacer.wait() > 0 or (self.swept and self._swept > CHEAP):
            return None
        return sweep_page(tail, limit=limit)

    async def ask(self, request: PageRequest) -> tuple[Page, PageCost]:
        """Ask for a page of the tail or of the sweep, and charge what it took. Raises ApiError."""
        is_sweep = request.purpose is Purpose.SWEEP
        pacer = self._sweep_pacer if is_sweep else self._pacer
        is_try = request.purpose in {Purpose.NARROW, Purpose.RETRY}
        patient = self._seconds is None or self._seconds > QUICK
        self.swept += is_sweep
        began = self._monotonic()
        try:
            page, cost = await self._api.page(request.number, request.size, patient=patient, retry=not is_try)
        except ApiError:
            took = self._monotonic() - began
            # A page that hangs is not being worked on: it is charged as one that does not.
            pacer.charge(took if self._seconds is None else min(took, self._seconds))
            raise
        self._came += 1
        self._seconds = cost.seconds
        if is_sweep:
            self._swept = max(self._swept, cost.seconds)
        pacer.charge(cost.seconds)
        return page, cost

    async def probe(self, tail: Tail) -> tuple[Tail, Page, PageCost]:
        """Ask for the total; past a record that can't be read. Raises ApiError.

        While the platform is away one page a poll is enough, another one each time.
        """
        choices = (tail.probe, *tail.probe.alternatives)
        if self._lost:
            choices = (choices[self._lost % len(choices)],)
        self._lost += 1
        failure: ApiError | None = None
        for choice in choices:
            is_first = choice == choices[0]
            try:
                page, cost = await self._api.page(choice.number, 1, patient=is_first, retry=is_first)
            except ApiError as error:
                failure = failure or error
                if not error.may_be_record:
                    raise
            else:
                self._lost = 0
                return probe_moved(tail, probe.weighed(choice, cost.size, tail.order)), page, cost
        raise failure or AssertionError

    async def failed(self, tail: Tail, request: PageRequest, error: ApiError) -> tuple[Tail, ApiError | None]:
        """What the failure of a page means: the tail after it, and the error if it is the platform's."""
        if not error.may_be_record:
            return tail, error
        if isinstance(error, TooLargeError):
            tail = replace(tail, weights=too_heavy(tail.weights, request.size))
        after = failing.failed(tail, request)
        if request.size > 1:
            return after, None
        is_known = request.purpose is Purpose.RETRY
        if not is_known and not self._came and not await self._control(after):
            return replace(tail, narrowing=None), error
        clock = self._clock()
        after = failing.registered(
            after,
            request,
            now=clock.now,
            platform_now=clock.platform,
            interval=self._interval,
            reason=str(error),
        )
        if not is_known:
            log.warning(
                "a position of the pages can't be read: everything else is; it is tried again",
                request=f"pageNo={request.number}&pageSize={request.size}",
                error=str(error),
            )
        return after, None

    async def _control(self, tail: Tail) -> bool:
        """Whether a position can be read that could be before."""
        for request in failing.controls(tail):
            try:
                await self._api.page(request.number, request.size, patient=False, retry=False)
            except ApiError as error:
                if not error.may_be_record:
                    return False
            else:
                return True
        return False
