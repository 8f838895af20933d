"""What an answer of the job API means, and what may go wrong before there is one.

ApiError                    .reason, .endpoint, .retry_after
├── ConnectError            connect: unreachable, TLS, reset, cut short
├── DeadlineError           timeout: no whole answer in time
├── HttpError               http: another status than 200 (.status)
├── CredentialsError        auth: 401, 403, "invalid user" with HTTP 200, a secret file unreadable
├── PlatformFailure         api: HTTP 200 with status error
│   └── RecordNotFound      an answer rather than a failure: the platform has no such record
├── NotUnderstoodError      decode: not the JSON that was asked for
└── TooLargeError           too_large: more than `max_response_bytes` of it would have to be held
"""

import os
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import ClassVar, Literal, TypeVar

import aiohttp
import httpx

from exporter.jobapi import decoder

Endpoint = Literal["page", "record", "result"]
Reason = Literal["connect", "timeout", "http", "auth", "api", "decode", "too_large"]
T = TypeVar("T")

MAX_RETRY_AFTER = 60.0  # seconds; a poll backs off no further than that, whatever the platform wants


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
    except decoder.DecodeError as error:
        raise NotUnderstoodError(str(error), endpoint=endpoint) from None
    except decoder.PlatformError as error:
        raise _platform_error(endpoint, error, decoder.one_line(masked(error.text))) from None


def _platform_error(endpoint: Endpoint, error: decoder.PlatformError, said: str) -> ApiError:
    if isinstance(error, decoder.AuthError):
        return CredentialsError(f"the platform refused the credentials: {said}", endpoint=endpoint)
    if isinstance(error, decoder.NotFound):
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
    until = http_date(value)
    if until is None:
        return None
    theirs = http_date(response.headers.get("date"))
    return min(MAX_RETRY_AFTER, max(0.0, until - (now if theirs is None else theirs)))


def http_date(value: str | None) -> float | None:
    """Read a time of a header, POSIX seconds; None: there is none that can be read."""
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value or "").timestamp()
    return None


def broken(error: Exception, endpoint: Endpoint, *, base: str, timeout: float) -> ApiError:
    """Tell what a failure below HTTP was, of a request to `base` with a deadline of `timeout` seconds.

    Texts of lower layers may quote content and are not used.
    """
    if isinstance(error, httpx.DecodingError):
        return NotUnderstoodError("a compressed body that cannot be decompressed", endpoint=endpoint)
    # httpx-aiohttp calls any loss of the connection a ConnectTimeout: the cause knows better
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    late = isinstance(cause, aiohttp.ServerTimeoutError | httpx.TimeoutException)
    if late or type(error) is TimeoutError:
        limit = f"no whole answer within {timeout:g} s: raise api.timeout?"
        return DeadlineError(limit, endpoint=endpoint)
    return ConnectError(f"cannot reach {_origin(base)}: {_what_broke(cause)}", endpoint=endpoint)


def too_large(endpoint: Endpoint, limit: int) -> TooLargeError:
    """Refuse a body of which more than `limit` bytes would have to be held."""
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
