"""The job API over HTTP: three questions, each answered with a value of the model or an ApiError.

`errors` draws the tree of errors and says what becomes one.

Deadlines: `timeout` bounds connecting, the wait for the first byte, and each pause of the body. A body that
keeps coming has no deadline; `max_response_bytes` bounds what is held of it. Pages may take longer to begin:
the database of a large platform sorts all records for them.

A request is retried with exponential backoff and full jitter only after a transient failure: no connection,
5xx, 429, and for look-ups by id a timeout (a slow page would burden the platform again).
The loop is our own: stamina's wait cannot be injected and its hook does not know the attempt, and tenacity
keeps its state in the retrier, which concurrent tasks would share.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from typing import Protocol, TypeVar

import aiohttp
import httpx
import structlog

from exporter.jobapi import decoder
from exporter.jobapi.errors import (
    ApiError,
    CredentialsError,
    Endpoint,
    NotUnderstoodError,
    Reason,
    RecordNotFound,
    broken,
    classify,
    http_date,
    too_large,
)
from exporter.jobapi.json_filter import WHOLE, Body
from exporter.jobapi.transport import (
    Authenticator,
    ConfigError,
    Connections,
    Requests,
    transports,
)
from exporter.model import Page, Record, Results
from exporter.settings import ApiSettings

T = TypeVar("T")

PATHS: Mapping[Endpoint, str] = {
    "page": "/api/v1/job/record/page",
    "record": "/api/v1/job/record",
    "result": "/api/v1/job/record/result",
}

FIRST_BACKOFF = 0.2  # seconds; a restart of a connection takes less, an overload more
MAX_BACKOFF = 5.0  # seconds; a third of the usual poll interval
SHORT_ROUND_TRIP = 1.0  # seconds; a longer one says too little about the platform's clock
PATIENCE = (
    60.0  # seconds until a page begins, at most: the dearest that was measured took 20 s on a busy machine
)
PATIENCE_FACTOR = 6  # and so many times `timeout`: whoever sets a short one wants to hear of trouble soon
ENCODINGS = {"", "identity", "gzip", "deflate"}  # one layer only: two could grow a millionfold

log = structlog.get_logger()


class Observer(Protocol):
    """What is told of each HTTP request sent, retries included."""

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Take note: duration in seconds, body bytes received; `reason` None if it was answered."""
        ...


class NullObserver:
    """Observes nothing: what happened is told in another way."""

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Take no note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCost:
    """What a page took: seconds from when it was sent until its last byte, and bytes of its body."""

    seconds: float
    size: int


class JobApi:
    """The platform. Safe to use from many tasks of one event loop; close it with `aclose()`."""

    def __init__(
        self,
        config: ApiSettings,
        observer: Observer,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet. Raises ConfigError for files of the settings that cannot be used."""
        self._config = config
        self._observer = observer
        self._rng = rng or random.Random()  # noqa: S311  (spreads retries, guards nothing)
        self._sleep = sleep
        self._wall = wall
        self._monotonic = monotonic
        self._base = config.base_url
        self._authenticator = Authenticator(config)
        self._slots = asyncio.Semaphore(config.concurrency)
        make = transports(config)
        self._connections = Connections((lambda: transport) if transport else make, monotonic=monotonic)
        self._requests = Requests(self._authenticator, connect=config.timeout)
        self._platform_ahead: float | None = None  # seconds, platform's clock minus our monotonic one

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    def platform_now(self) -> float | None:
        """Platform's clock, POSIX seconds, whatever happens to ours; None: not known yet."""
        return None if self._platform_ahead is None else self._monotonic() + self._platform_ahead

    @property
    def clock_skew(self) -> float | None:
        """Platform's clock minus ours in seconds; None: not known yet."""
        now = self.platform_now()
        return None if now is None else now - self._wall()

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """Return page `number` (from 1) of `size` records, and what it took. Raises ApiError.

        A `patient` caller waits up to a minute for its first byte. Without `retry` one failure is enough.
        """
        decode = partial(decoder.decode_page, number=number, size=size, zone=self._config.timezone)
        query = {"pageNo": str(number), "pageSize": str(size)}
        timeout = self._config.timeout
        first_byte = max(timeout, min(PATIENCE, PATIENCE_FACTOR * timeout)) if patient else timeout
        return await self._ask("page", query, decode, first_byte=first_byte, retry=retry)

    async def record(self, record_id: str) -> Record:
        """Return the record. Raises ApiError, RecordNotFound among them."""
        decode = partial(_decode_asked, record_id=record_id, zone=self._config.timezone)
        record, _ = await self._ask("record", {"id": record_id}, decode)
        return record

    async def results(self, record_id: str) -> Results:
        """Return the host rows of the record; none may also mean an unknown id. Raises ApiError."""
        decode = partial(decoder.decode_results, zone=self._config.timezone)
        results, _ = await self._ask("result", {"id": record_id}, decode)
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
        """Send the request until it is answered, refused, or tried often enough."""
        wait = self._config.timeout if first_byte is None else first_byte
        retries = self._config.retries if retry else 0
        attempt = 0
        while True:
            try:
                async with self._slots:
                    return await self._once(endpoint, query, decode, first_byte=wait)
            except ApiError as error:
                if attempt >= retries or not error.may_pass:
                    raise
                pause = error.retry_after
                if pause is None:
                    pause = self._rng.uniform(0, min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(attempt, 10)))
                elif pause > self._config.timeout:
                    raise  # the poll must not hang on it; it backs off as a whole
            attempt += 1
            await self._sleep(pause)

    async def _once(
        self, endpoint: Endpoint, query: dict[str, str], decode: Callable[[bytes], T], *, first_byte: float
    ) -> tuple[T, PageCost]:
        """Send one request, and tell the observer how it went."""
        started = self._monotonic()
        reason: Reason | None = None
        body = Body(whole=min(WHOLE, self._config.max_response_bytes))
        try:
            response = await self._receive(endpoint, query, body, first_byte=first_byte)
            cost = PageCost(seconds=self._monotonic() - started, size=body.received)
            masked = self._authenticator.masked
            content = body.content()
            return classify(endpoint, response, content, decode, now=self._wall(), masked=masked), cost
        except RecordNotFound:
            raise
        except ApiError as error:
            reason = error.reason
            raise
        finally:
            seconds, size = self._monotonic() - started, body.received
            self._observer.request(endpoint=endpoint, seconds=seconds, size=size, reason=reason)
            log.debug("api request", endpoint=endpoint, seconds=round(seconds, 4), size=size, reason=reason)

    async def _receive(
        self, endpoint: Endpoint, query: dict[str, str], body: Body, *, first_byte: float
    ) -> httpx.Response:
        """Send the request and take its answer into `body`, keeping the deadlines. Raises ApiError."""
        started, pause, loop = self._monotonic(), self._config.timeout, asyncio.get_running_loop()
        waited = f"no answer within {first_byte:g} s"
        try:
            # The head as a whole has a deadline too: headers that drip in would renew that of the first byte.
            async with (
                asyncio.timeout(pause + first_byte) as deadline,
                self._connections.transport() as transport,
            ):
                request = self._requests.get(self._base + PATHS[endpoint], query, first_byte=first_byte)
                response = await transport.handle_async_request(request)
                async with aclosing(response):
                    self._read_clock(response, self._monotonic() - started)
                    waited = f"the answer stopped for {pause:g} s"
                    deadline.reschedule(loop.time() + pause)
                    async for _ in self._pieces(endpoint, response, body):
                        deadline.reschedule(loop.time() + pause)
        except ConfigError as error:
            raise CredentialsError(str(error), endpoint=endpoint) from None
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, OSError, UnicodeError) as error:
            raise broken(error, endpoint, base=self._base, waited=waited) from None
        return response

    async def _pieces(self, endpoint: Endpoint, response: httpx.Response, body: Body) -> AsyncIterator[None]:
        """Take in the body piece by piece; stop as soon as too much is held. Raises ApiError."""
        limit = self._config.max_response_bytes
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            named = encoding if encoding in {"br", "zstd", "compress"} else "something else"
            raise NotUnderstoodError(f"a body compressed as {named!r}: none was asked", endpoint=endpoint)
        async for chunk in response.aiter_bytes():
            body.add(chunk)
            # A little that unpacks to much would keep us busy for long, though little is held.
            if body.held > limit or (encoding and body.received > limit):
                raise too_large(endpoint, limit)
            yield

    def _read_clock(self, response: httpx.Response, round_trip: float) -> None:
        """Compare the platform's clock with ours at half the round trip."""
        if self._platform_ahead is not None and round_trip > SHORT_ROUND_TRIP:
            return
        date = http_date(response.headers.get("date"))
        if date is not None:
            theirs = date + 0.5  # the header has whole seconds: on average half of one has passed
            self._platform_ahead = theirs - (self._monotonic() - round_trip / 2)


def _decode_asked(body: bytes, *, record_id: str, zone: tzinfo) -> Record:
    record = decoder.decode_record(body, zone=zone)
    if record.id != record_id:
        raise decoder.DecodeError("a record with another id than the one asked")
    return record
