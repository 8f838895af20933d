"""The job API over HTTP: three questions, each answered with a value of the model or an ApiError.

    ApiError                    .reason, .endpoint, .retry_after
    ├── ConnectError            connect: unreachable, TLS, reset, cut short
    ├── DeadlineError           timeout: no whole answer in time
    ├── HttpError               http: another status than 200 (.status)
    ├── CredentialsError        auth: 401, 403, "invalid user" with HTTP 200, a secret file unreadable
    ├── PlatformFailure         api: HTTP 200 with status error
    │   └── RecordNotFound      an answer rather than a failure: the platform has no such record
    ├── NotUnderstoodError      decode: not the JSON that was asked for
    └── TooLargeError           too_large: more than `max_response_bytes` of it would have to be held

Tried again, with exponential backoff and full jitter, is only what may pass: no connection, 5xx, 429, and for
look-ups by id no answer in time (a page that was too slow once would burden the platform again).
The loop is our own: stamina's wait cannot be injected and its hook does not know the attempt, and tenacity
keeps its state in the retrier, which concurrent tasks would share.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import tzinfo
from email.utils import parsedate_to_datetime
from functools import partial
from typing import ClassVar, Literal, Protocol, TypeVar

import aiohttp
import httpx
import structlog

from exporter import wire
from exporter.connection import (
    ApiConfig,
    Authenticator,
    ConfigError,
    aiohttp_transport,
    base_url,
    http_client,
)
from exporter.model import Page, Record, Results
from exporter.sieve import WHOLE, Body

__all__ = [
    "ApiConfig",
    "ApiError",
    "ConfigError",
    "ConnectError",
    "CredentialsError",
    "DeadlineError",
    "HttpError",
    "JobApi",
    "NotUnderstoodError",
    "Observer",
    "PageCost",
    "PlatformFailure",
    "RecordNotFound",
    "Silent",
    "TooLargeError",
    "classify",
]

Endpoint = Literal["page", "record", "result"]
Reason = Literal["connect", "timeout", "http", "auth", "api", "decode", "too_large"]
T = TypeVar("T")

PATHS: Mapping[Endpoint, str] = {
    "page": "/api/v1/job/record/page",
    "record": "/api/v1/job/record",
    "result": "/api/v1/job/record/result",
}

MAX_RETRY_AFTER = 60.0  # seconds; a poll backs off no further than that, whatever the platform wants
FIRST_BACKOFF = 0.2  # seconds; a restart of a connection takes less, an overload more
MAX_BACKOFF = 5.0  # seconds; a third of the usual poll interval
SHORT_ROUND_TRIP = 1.0  # seconds; a longer one says too little about the platform's clock
ENCODINGS = {"", "identity", "gzip", "deflate"}  # one layer only: two could grow a millionfold

log = structlog.get_logger()


class ApiError(Exception):
    """A request that brought no value; the message says what happened and what to do."""

    reason: ClassVar[Reason]

    def __init__(self, message: str, *, endpoint: Endpoint, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.retry_after = retry_after  # seconds the platform asked us to wait, at most 60; None: it did not

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return False


class ConnectError(ApiError):
    """The platform could not be reached, or the connection broke."""

    reason = "connect"

    @property
    def may_pass(self) -> bool:
        """A connection that broke may stand the next time."""
        return True


class DeadlineError(ApiError):
    """The answer was not complete in time."""

    reason = "timeout"

    @property
    def may_pass(self) -> bool:
        """A look-up by id is nearly free for the platform; a page may be what makes it slow."""
        return self.endpoint != "page"


class HttpError(ApiError):
    """An HTTP status that carries no answer."""

    reason = "http"

    def __init__(
        self, message: str, *, endpoint: Endpoint, status: int, retry_after: float | None = None
    ) -> None:
        super().__init__(message, endpoint=endpoint, retry_after=retry_after)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Server errors and overload pass; what the platform refuses it refuses again."""
        return self.status >= 500 or self.status == 429


class CredentialsError(ApiError):
    """The platform refused our credentials, or they could not be read."""

    reason = "auth"


class PlatformFailure(ApiError):  # noqa: N818  (the platform's failure, told by it in an answer)
    """The platform answered that it failed."""

    reason = "api"


class RecordNotFound(PlatformFailure):
    """The platform has no record of this id: an answer, not counted as a failure."""


class NotUnderstoodError(ApiError):
    """The answer is not what was asked for."""

    reason = "decode"


class TooLargeError(ApiError):
    """More of the answer than the limit would have to be held; it was not read to its end."""

    reason = "too_large"


class Observer(Protocol):
    """What is told of each HTTP request sent, retries included."""

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Take note: duration in seconds, body bytes received; `reason` None if it was answered."""
        ...


class Silent:
    """Observes nothing: what happened is told in another way."""

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Take no note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCost:
    """What a page took: seconds until its last byte, and bytes of its body."""

    seconds: float
    size: int


class JobApi:
    """The platform. Safe to use from many tasks of one event loop; close it with `aclose()`."""

    def __init__(
        self,
        config: ApiConfig,
        observer: Observer,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet. Raises ConfigError for settings that cannot work."""
        self._config = config
        self._observer = observer
        self._rng = rng or random.Random()  # noqa: S311  (spreads retries, guards nothing)
        self._sleep = sleep
        self._wall = wall
        self._monotonic = monotonic
        self._base = base_url(config.base_url)
        self._authenticator = Authenticator(config)
        self._slots = asyncio.Semaphore(config.concurrency)
        self._client = http_client(transport or aiohttp_transport(config))
        self.clock_skew: float | None = None  # seconds, platform's clock minus ours; None: not known yet

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def page(self, number: int, size: int) -> tuple[Page, PageCost]:
        """Return page `number` (from 1) of `size` records, and what it took. Raises ApiError."""
        decode = partial(wire.decode_page, number=number, size=size, zone=self._config.zone)
        return await self._ask("page", {"pageNo": str(number), "pageSize": str(size)}, decode)

    async def record(self, record_id: str) -> Record:
        """Return the record. Raises ApiError, RecordNotFound among them."""
        decode = partial(_decode_asked, record_id=record_id, zone=self._config.zone)
        record, _ = await self._ask("record", {"id": record_id}, decode)
        return record

    async def results(self, record_id: str) -> Results:
        """Return the host rows of the record; none may also mean an unknown id. Raises ApiError."""
        decode = partial(wire.decode_results, zone=self._config.zone)
        results, _ = await self._ask("result", {"id": record_id}, decode)
        return results

    async def _ask(
        self, endpoint: Endpoint, query: dict[str, str], decode: Callable[[bytes], T]
    ) -> tuple[T, PageCost]:
        """Send the request until it is answered, refused, or tried often enough."""
        attempt = 0
        while True:
            try:
                async with self._slots:
                    return await self._once(endpoint, query, decode)
            except ApiError as error:
                if attempt >= self._config.retries or not error.may_pass:
                    raise
                pause = error.retry_after
                if pause is None:
                    pause = self._rng.uniform(0, min(MAX_BACKOFF, FIRST_BACKOFF * 2**attempt))
                elif pause > self._config.timeout:
                    raise  # the poll must not hang on it; it backs off as a whole
            attempt += 1
            await self._sleep(pause)

    async def _once(
        self, endpoint: Endpoint, query: dict[str, str], decode: Callable[[bytes], T]
    ) -> tuple[T, PageCost]:
        """Send one request, and tell the observer how it went."""
        started = self._monotonic()
        response: httpx.Response | None = None
        reason: Reason | None = None
        size = 0
        try:
            async with self._open(endpoint, query) as response:
                self._read_clock(response, self._monotonic() - started)
                body = await self._read(endpoint, response)
            size = body.received
            cost = PageCost(seconds=self._monotonic() - started, size=size)
            masked = self._authenticator.masked
            content = body.content()
            return classify(endpoint, response, content, decode, now=self._wall(), masked=masked), cost
        except RecordNotFound:
            raise
        except ApiError as error:
            reason = error.reason
            raise
        finally:
            seconds = self._monotonic() - started
            size = size or (response.num_bytes_downloaded if response else 0)
            self._observer.request(endpoint=endpoint, seconds=seconds, size=size, reason=reason)
            log.debug("api request", endpoint=endpoint, seconds=round(seconds, 4), size=size, reason=reason)

    @asynccontextmanager
    async def _open(self, endpoint: Endpoint, query: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """Send the request, give its response while the deadline lasts, and tell failures apart."""
        try:
            async with asyncio.timeout(self._config.timeout):
                headers = self._authenticator.headers()
                url = self._base + PATHS[endpoint]
                async with self._client.stream("GET", url, params=query, headers=headers) as response:
                    yield response
        except ConfigError as error:
            raise CredentialsError(str(error), endpoint=endpoint) from None
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, OSError, UnicodeError) as error:
            raise self._failure(error, endpoint) from None

    async def _read(self, endpoint: Endpoint, response: httpx.Response) -> Body:
        """Read the body, a large one without what nobody reads; stop as soon as too much is held."""
        limit = self._config.max_response_bytes
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            named = encoding if encoding in {"br", "zstd", "compress"} else "something else"
            raise NotUnderstoodError(f"a body compressed as {named!r}: none was asked", endpoint=endpoint)
        body = Body(whole=min(WHOLE, limit))
        async for chunk in response.aiter_bytes():
            body.add(chunk)
            # A little that unpacks to much would keep us busy until the deadline, though little is held.
            if body.held > limit or (encoding and body.received > limit):
                raise _too_large(endpoint, limit)
        return body

    def _read_clock(self, response: httpx.Response, round_trip: float) -> None:
        """Compare the platform's clock with ours at half the round trip."""
        if self.clock_skew is not None and round_trip > SHORT_ROUND_TRIP:
            return
        date = _http_date(response.headers.get("date"))
        if date is not None:
            theirs = date + 0.5  # the header has whole seconds: on average half of one has passed
            self.clock_skew = theirs - (self._wall() - round_trip / 2)

    def _failure(self, error: Exception, endpoint: Endpoint) -> ApiError:
        """Tell what a failure below HTTP was; texts of lower layers may quote content and are not used."""
        if isinstance(error, httpx.DecodingError):
            return NotUnderstoodError("a compressed body that cannot be decompressed", endpoint=endpoint)
        # httpx-aiohttp calls any loss of the connection a ConnectTimeout: the cause knows better
        cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
        late = isinstance(cause, aiohttp.ServerTimeoutError | httpx.TimeoutException)
        if late or type(error) is TimeoutError:
            limit = f"no whole answer within {self._config.timeout:g} s: raise api.timeout?"
            return DeadlineError(limit, endpoint=endpoint)
        return ConnectError(f"cannot reach {_origin(self._base)}: {_what_broke(cause)}", endpoint=endpoint)


def classify(
    endpoint: Endpoint,
    response: httpx.Response,
    body: bytes,
    decode: Callable[[bytes], T],
    *,
    now: float,
    masked: Callable[[str], str],
) -> T:
    """Make of a whole response the value it holds, or raise the ApiError it stands for.

    `now` is our clock, POSIX seconds, for a Retry-After that names a time; `masked` takes our secrets out
    of what the platform says.
    """
    if response.status_code != 200:
        raise _status_error(endpoint, response, body, now)
    try:
        return decode(body)
    except wire.DecodeError as error:
        raise NotUnderstoodError(str(error), endpoint=endpoint) from None
    except wire.PlatformError as error:
        raise _platform_error(endpoint, error, wire.one_line(masked(error.text))) from None


def _platform_error(endpoint: Endpoint, error: wire.PlatformError, said: str) -> ApiError:
    if isinstance(error, wire.AuthError):
        return CredentialsError(f"the platform refused the credentials: {said}", endpoint=endpoint)
    if isinstance(error, wire.NotFound):
        failure = RecordNotFound if endpoint == "record" else PlatformFailure
        return failure(said, endpoint=endpoint)
    return PlatformFailure(f"the platform answered with an error: {said}", endpoint=endpoint)


def _status_error(endpoint: Endpoint, response: httpx.Response, body: bytes, now: float) -> ApiError:
    status = response.status_code
    if status in {401, 403}:
        advice = "the credentials are refused, or their role may not read jobs"
        return CredentialsError(f"HTTP {status}: {advice}", endpoint=endpoint)
    if status in {400, 404} and endpoint == "record" and body.lstrip().startswith(b"{"):
        # The document has no word for an unknown id; the id is the only parameter, and never empty.
        return RecordNotFound(f"HTTP {status}", endpoint=endpoint)
    advice = _ADVICE.get(status, "")
    if 300 <= status < 400:
        advice = ": redirects are not followed, set api.base-url to where it leads"
    return HttpError(
        f"HTTP {status}{advice}", endpoint=endpoint, status=status, retry_after=_retry_after(response, now)
    )


_ADVICE = {
    400: ": the platform does not take our parameters",
    404: ": is api.base-url right? Nothing but the job API must follow it",
    415: ": something on the way drops the Content-Type header",
    429: ": too many requests, lower api.concurrency",
}


def _retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds to wait by Retry-After, which counts them or names a time on the platform's clock."""
    if response.status_code not in {429, 503}:
        return None
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(MAX_RETRY_AFTER, float(value))
    until = _http_date(value)
    if until is None:
        return None
    theirs = _http_date(response.headers.get("date"))
    return min(MAX_RETRY_AFTER, max(0.0, until - (now if theirs is None else theirs)))


def _http_date(value: str | None) -> float | None:
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value or "").timestamp()
    return None


def _too_large(endpoint: Endpoint, limit: int) -> TooLargeError:
    advice = "raise api.max-response-bytes" + (" or lower api.page-size" if endpoint == "page" else "")
    return TooLargeError(f"a body with more than {limit} bytes to be read: {advice}", endpoint=endpoint)


_BROKEN: tuple[tuple[type[BaseException], str], ...] = (  # the first that fits
    (
        aiohttp.ClientConnectorCertificateError,
        "its certificate is not trusted: set api.ca-file, or check the name in api.base-url",
    ),
    (aiohttp.ClientSSLError, "no TLS: does it want http, or another client certificate?"),
    (aiohttp.ClientPayloadError, "the body was cut short"),
    (aiohttp.ClientResponseError, "what answers does not speak HTTP: does it want https?"),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer"),
    (UnicodeError, "what answers does not speak HTTP"),  # bytes in a status line that are no text
    (BaseException, "the connection broke"),
)


def _what_broke(cause: BaseException) -> str:
    if isinstance(cause, aiohttp.ClientConnectorError) and not isinstance(cause, aiohttp.ClientSSLError):
        number = cause.os_error.errno or 0  # asyncio's own text names the call, not what happened
        return os.strerror(number) if number > 0 else cause.os_error.strerror or "no connection"
    return next(text for kind, text in _BROKEN if isinstance(cause, kind))


def _origin(base: str) -> str:
    url = httpx.URL(base)
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _decode_asked(body: bytes, *, record_id: str, zone: tzinfo) -> Record:
    record = wire.decode_record(body, zone=zone)
    if record.id != record_id:
        raise wire.DecodeError("a record with another id than the one asked")
    return record
