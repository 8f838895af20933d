"""The job API over HTTP: three questions, each answered with a value of the model or an ApiError.

Deadlines: `timeout` bounds connecting, the wait for the first byte, and each pause of the body. Pages may
take longer to begin, because the database of a large platform sorts all records for them. A body that keeps
coming has no deadline; `max_response_bytes` bounds the part that is held in memory.

Retries: a request is repeated with exponential backoff and full jitter only after a transient failure: no
connection, 5xx, 429 and, for look-ups by id, a timeout.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import aiohttp
import httpx
import structlog

from exporter.jobapi import decoder
from exporter.jobapi.answers import broken, classify, http_date
from exporter.jobapi.errors import (
    ApiError,
    CredentialsError,
    DeadlineError,
    Endpoint,
    NotUnderstoodError,
    Reason,
    RecordNotFound,
    TooLargeError,
)
from exporter.jobapi.json_filter import Body
from exporter.jobapi.transport import Requests, transport_of
from exporter.model import Page, Record, Results, backoff
from exporter.settings import ApiSettings, SettingsError

T = TypeVar("T")

PATHS: Mapping[Endpoint, str] = {
    "page": "/api/v1/job/record/page",
    "record": "/api/v1/job/record",
    "result": "/api/v1/job/record/result",
}

FIRST_BACKOFF = 0.2  # seconds; a dropped connection is back sooner, an overload lasts longer
MAX_BACKOFF = 5.0  # seconds; a third of the default poll interval
SHORT_ROUND_TRIP = 1.0  # seconds; after a longer one the Date header says too little about the clock
# Seconds until a page begins, at most: the slowest that was measured took 20 s on a busy machine. And at most
# so many times `timeout`, because a short timeout asks for early failures.
PATIENCE, PATIENCE_FACTOR = 60.0, 6
PACKED = {"gzip", "deflate"}  # a single layer: two could grow a millionfold
SMALLER_PAGES = "raise api.max-response-bytes or lower api.page-size"

log = structlog.get_logger()


class Observer(Protocol):
    """Is told of each HTTP request, retries included."""

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Take a request's duration in seconds and bytes of body; `reason`: why it failed, if it did."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCost:
    """The cost of a page: seconds from sending the request to the last byte, and bytes of the body."""

    seconds: float
    size: int


class JobApi:
    """The platform. Safe to use from many tasks of one event loop; close it with `aclose()`."""

    def __init__(
        self,
        config: ApiSettings,
        observer: Observer | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet. Raises SettingsError for files of the settings that cannot be used."""
        self._config, self._observer = config, observer
        self._sleep, self._wall, self._monotonic = sleep, wall, monotonic
        self._rng = rng or random.Random()  # noqa: S311  (spreads retries, protects nothing)
        self._slots = asyncio.Semaphore(config.concurrency)
        self._transport = transport or transport_of(config)
        self._requests = Requests(config, monotonic=monotonic)
        self._platform_ahead: float | None = None  # seconds, platform's clock minus our monotonic one

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def platform_now(self) -> float | None:
        """Return the platform's clock, POSIX seconds, independent of ours; None: not known yet."""
        return None if self._platform_ahead is None else self._monotonic() + self._platform_ahead

    @property
    def clock_skew(self) -> float | None:
        """The platform's clock minus ours, in seconds; None: not known yet."""
        now = self.platform_now()
        return None if now is None else now - self._wall()

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """Return page `number` (from 1) of `size` records, and its cost. Raises ApiError.

        `patient`: wait up to a minute for the first byte. `retry`: repeat it after a transient failure.
        """
        decode = partial(decoder.decode_page, number=number, size=size, zone=self._config.timezone)
        query = {"pageNo": str(number), "pageSize": str(size)}
        timeout = self._config.timeout
        first_byte = max(timeout, min(PATIENCE, PATIENCE_FACTOR * timeout)) if patient else timeout
        return await self._ask("page", query, decode, first_byte=first_byte, retry=retry)

    async def record(self, record_id: str) -> Record:
        """Return the record. Raises ApiError; RecordNotFound if the id is unknown."""
        decode = partial(decoder.decode_record, zone=self._config.timezone, asked=record_id)
        record, _ = await self._ask("record", {"id": record_id}, decode)
        return record

    async def results(self, record_id: str) -> Results:
        """Return the host rows of the record; no rows may also mean an unknown id. Raises ApiError."""
        results, _ = await self._ask("result", {"id": record_id}, decoder.decode_results)
        return results

    async def _ask(
        self,
        endpoint: Endpoint,
        query: dict[str, str],
        decode: Callable[[bytes], T],
        *,
        first_byte: float | None = None,
        retry: bool = True,
    ) -> tuple[T, PageCost]:
        """Send the request, and repeat it after transient failures."""
        first_byte = first_byte or self._config.timeout
        retries = self._config.retries if retry else 0
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._slots:
                    return await self._once(endpoint, query, decode, first_byte=first_byte)
            except ApiError as error:
                # To ask again for a page that was too slow could slow the platform further.
                is_slow_page = endpoint == "page" and isinstance(error, DeadlineError)
                if attempt > retries or not error.may_pass or is_slow_page:
                    raise
                if error.retry_after and error.retry_after > self._config.timeout:
                    raise  # too long for one request: the poll backs off as a whole
                pause = error.retry_after
            if pause is None:
                pause = self._rng.uniform(0, backoff(attempt, first=FIRST_BACKOFF, longest=MAX_BACKOFF))
            await self._sleep(pause)

    async def _once(
        self, endpoint: Endpoint, query: dict[str, str], decode: Callable[[bytes], T], *, first_byte: float
    ) -> tuple[T, PageCost]:
        """Send the request once, and report it to the observer."""
        started = self._monotonic()
        reason: Reason | None = None
        body = Body(limit=self._config.max_response_bytes)
        try:
            response = await self._receive(endpoint, query, body, first_byte=first_byte)
            cost = PageCost(seconds=self._monotonic() - started, size=body.received)
            now, masked = self._wall(), self._requests.masked
            return classify(endpoint, response, body.content(), decode, now=now, masked=masked), cost
        except ApiError as error:
            reason = None if isinstance(error, RecordNotFound) else error.reason
            raise
        finally:
            seconds, size = self._monotonic() - started, body.received
            if self._observer:
                self._observer.request(endpoint=endpoint, seconds=seconds, size=size, reason=reason)
            log.debug("api request", endpoint=endpoint, seconds=round(seconds, 4), size=size, reason=reason)

    async def _receive(
        self, endpoint: Endpoint, query: dict[str, str], body: Body, *, first_byte: float
    ) -> httpx.Response:
        """Send the request and read the response into `body`, within the deadlines. Raises ApiError."""
        started, loop = self._monotonic(), asyncio.get_running_loop()
        pause, limit = self._config.timeout, self._config.max_response_bytes
        waited = f"no answer within {first_byte:g} s"
        try:
            # The library's deadline starts again with each byte of the header; this one does not.
            async with asyncio.timeout(pause + first_byte) as deadline:
                url = self._config.base_url + PATHS[endpoint]
                request = self._requests.get(url, query, first_byte=first_byte)
                async with aclosing(await self._transport.handle_async_request(request)) as response:
                    self._read_clock(response, self._monotonic() - started)
                    waited = f"the answer stopped for {pause:g} s"
                    deadline.reschedule(loop.time() + pause)
                    encoding = response.headers.get("content-encoding", "").strip().lower()
                    if encoding not in {"", "identity", *PACKED}:
                        raise NotUnderstoodError("a body with an unsupported compression")
                    async for chunk in response.aiter_bytes():
                        deadline.reschedule(loop.time() + pause)
                        body.add(chunk)
                        # A compressed body may unpack to very much that is dropped, which keeps us busy.
                        if max(body.held, body.received if encoding in PACKED else 0) > limit:
                            raise TooLargeError(
                                f"a body with more than {limit} bytes to be read",
                                SMALLER_PAGES if endpoint == "page" else "",
                            )
        except SettingsError as error:
            raise CredentialsError(str(error)) from None
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, OSError, UnicodeError) as error:
            raise broken(error, base=self._config.base_url, waited=waited) from None
        return response

    def _read_clock(self, response: httpx.Response, round_trip: float) -> None:
        """Compare the platform's clock with ours at half the round trip."""
        if self._platform_ahead is not None and round_trip > SHORT_ROUND_TRIP:
            return
        date = http_date(response.headers.get("date"))
        if date is not None:
            theirs = date + 0.5  # the header has whole seconds: on average half of one has passed
            self._platform_ahead = theirs - (self._monotonic() - round_trip / 2)
