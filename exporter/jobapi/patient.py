"""Requests of a command: pages within the duty, retries, and patience if the platform goes away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from exporter.discovery.pages import PROBE, PageRequest
from exporter.discovery.scan import Walk, heavy, next_page, skipped
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, CredentialsError, DeadlineError, RecordNotFound, TooLargeError
from exporter.jobapi.pacing import Pacer
from exporter.jobapi.protocol import GONE, Platform
from exporter.model import Page, backoff

PATIENCE = 600.0  # seconds to wait for a platform that went away: a restart takes less
MAX_PAUSE = 60.0  # seconds between two tries meanwhile
FIRST_TRIES = 4  # without any good answer: then it is not a job platform
TRIES = 8  # of a look-up that fails while the platform is there: half a minute in all
FIRST_PAUSE = 0.25  # seconds before the second of them; doubled each time
BLINK = 1.0  # seconds: rows that are being rewritten are back by then (observed: 0.1 s)

T = TypeVar("T")


class PatientApi:
    """Asks a platform until it answers. Raises ApiError if it does not, or rejects the credentials."""

    def __init__(
        self,
        api: Platform,
        *,
        duty: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`duty`: the share of the time that pages may take."""
        self._api, self._monotonic, self._sleep = api, monotonic, sleep
        self._pacer = Pacer(duty, monotonic=monotonic)
        self._has_answered = False
        self._lost_since: float | None = None  # monotonic
        self._failures = 0  # in a row

    async def total(self) -> int | None:
        """The number of records on the platform; None if it does not tell."""
        page, _ = await self.page(PROBE)
        return page.total

    async def next_page(self, walk: Walk, *, limit: int) -> tuple[Walk, tuple[Page, PageCost] | None]:
        """The next page of a walk and its cost.

        None if it is too large or too slow; the walk then asks for less, or leaves out the record.
        """
        request = next_page(walk, limit=limit)
        try:
            return walk, await self.page(request)
        except (TooLargeError, DeadlineError) as error:
            if request.size > 1:
                return heavy(walk, request), None
            if isinstance(error, DeadlineError):
                raise
            return skipped(walk, request), None

    async def page(self, request: PageRequest) -> tuple[Page, PageCost]:
        """A page. Raises DeadlineError and TooLargeError at once, because a smaller page may work."""
        while True:
            await self._sleep(self._pacer.wait())
            began, took = self._monotonic(), None
            try:
                page, cost = await self._api.page(request.number, request.size)
                took = cost.seconds
            except (DeadlineError, TooLargeError):
                raise
            except ApiError as error:
                failed = error
            else:
                self._answered()
                return page, cost
            finally:
                self._pacer.charge(self._monotonic() - began if took is None else took)
            await self._wait_out(failed)

    async def look_up(self, ask: Callable[[str], Awaitable[T]], record_id: str) -> T:
        """The answer to `ask` about a record.

        Raises RecordNotFound if the record was deleted. After another ApiError whose reason is not in GONE,
        the record is unreadable, and others may be readable.
        """
        tries = 0
        while True:
            try:
                answer = await ask(record_id)
            except ApiError as error:
                if error.reason in GONE:
                    await self._wait_out(error)
                    continue
                tries += 1
                if tries >= TRIES or isinstance(error, RecordNotFound | TooLargeError):
                    raise
                await self._sleep(backoff(tries, first=FIRST_PAUSE, longest=MAX_PAUSE))
            else:
                self._answered()
                return answer

    def _answered(self) -> None:
        self._has_answered, self._lost_since, self._failures = True, None, 0

    async def _wait_out(self, error: ApiError) -> None:
        """Wait before the next try."""
        now = self._monotonic()
        self._lost_since = now if self._lost_since is None else self._lost_since
        self._failures += 1
        is_wrong = not self._has_answered and (error.reason in GONE or self._failures >= FIRST_TRIES)
        if is_wrong or isinstance(error, CredentialsError) or now - self._lost_since >= PATIENCE:
            raise error
        pause = backoff(self._failures, first=2.0, longest=MAX_PAUSE)
        await self._sleep(max(pause, error.retry_after or 0.0))
