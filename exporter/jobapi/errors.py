"""What an answer of the job API means, and what can go wrong before there is one.

ApiError                    .reason, .endpoint, .message, .advice, .retry_after, .may_pass, .may_be_record
├── ConnectError            connect: unreachable, TLS, reset, cut short
├── DeadlineError           timeout: no first byte in time, or a pause that was too long
├── HttpError               http: another status than 200 (.status)
├── CredentialsError        auth: 401, 403, "invalid user" with HTTP 200, a secret file unreadable
├── PlatformFailure         api: HTTP 200 with status error
│   └── RecordNotFound      an answer rather than a failure: the platform has no such record
├── NotUnderstoodError      decode: not the JSON that was asked for
└── TooLargeError           too_large: more than `max_response_bytes` of it would have to be held
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import ClassVar, Literal, TypeVar

import aiohttp
import httpx
from aiohttp.http_exceptions import LineTooLong

from exporter.jobapi import decoder
from exporter.jobapi.schema import BOM

Endpoint = Literal["page", "record", "result"]
Reason = Literal["connect", "timeout", "http", "auth", "api", "decode", "too_large"]
T = TypeVar("T")

MAX_RETRY_AFTER = 60.0  # seconds; a poll backs off no further than that, whatever the platform wants


class ApiError(Exception):
    """A request that brought no value; its text says what happened, then what to do."""

    reason: ClassVar[Reason]

    def __init__(
        self, message: str, *, endpoint: Endpoint, advice: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(f"{message}: {advice}" if advice else message)
        self.message = message
        self.advice = advice  # "": none but what fits the reason
        self.endpoint = endpoint
        self.retry_after = retry_after  # seconds the platform asked us to wait, at most 60; None: it did not

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return False

    @property
    def may_be_record(self) -> bool:
        """Whether one record may cause this failure: other requests can still succeed."""
        return False


class ConnectError(ApiError):
    """The platform could not be reached, or the connection broke."""

    reason = "connect"

    @property
    def may_pass(self) -> bool:
        """A connection that broke may stand the next time."""
        return True


class DeadlineError(ApiError):
    """The answer did not begin in time, or stopped for too long."""

    reason = "timeout"

    @property
    def may_pass(self) -> bool:
        """A look-up by id is nearly free for the platform; a page may be what makes it slow."""
        return self.endpoint != "page"

    @property
    def may_be_record(self) -> bool:
        """The platform may never finish the answer about one record."""
        return True


class HttpError(ApiError):
    """An HTTP status that carries no answer."""

    reason = "http"

    def __init__(
        self,
        message: str,
        *,
        endpoint: Endpoint,
        status: int,
        advice: str = "",
        retry_after: float | None = None,
        of_platform: bool = True,
    ) -> None:
        """`of_platform`: False for a 404 that no job API sent, since its body is no JSON."""
        super().__init__(message, endpoint=endpoint, advice=advice, retry_after=retry_after)
        self.status = status
        self._of_platform = of_platform

    @property
    def may_pass(self) -> bool:
        """Server errors and overload pass; what the platform refuses it refuses again."""
        return self.status >= 500 or self.status == 429

    @property
    def may_be_record(self) -> bool:
        """Not where the platform is overloaded, asks for credentials, or does not answer at all."""
        return 400 <= self.status < 600 and self.status not in {401, 403, 429, 503} and self._of_platform


class CredentialsError(ApiError):
    """The platform refused our credentials, or they could not be read."""

    reason = "auth"


class PlatformFailure(ApiError):  # noqa: N818  (the platform's failure, told by it in an answer)
    """The platform answered that it failed."""

    reason = "api"

    @property
    def may_be_record(self) -> bool:
        """The database may fail on one record."""
        return True


class RecordNotFound(PlatformFailure):
    """The platform has no record of this id: an answer, not counted as a failure."""


class NotUnderstoodError(ApiError):
    """The answer is not what was asked for."""

    reason = "decode"

    @property
    def may_be_record(self) -> bool:
        """One field may break the JSON around it."""
        return True


class TooLargeError(ApiError):
    """More of the answer than the limit would have to be held; it was not read to its end."""

    reason = "too_large"

    @property
    def may_be_record(self) -> bool:
        """One record may be larger than the limit."""
        return True


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
        raise NotUnderstoodError(error.message, endpoint=endpoint, advice=error.advice) from None
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
    said = f"HTTP {status}"
    if status in {401, 403}:
        advice = "the credentials are refused, or their role may not read jobs"
        return CredentialsError(said, endpoint=endpoint, advice=advice)
    has_json = body.removeprefix(BOM).lstrip().startswith(b"{")
    if status in {400, 404} and endpoint == "record" and has_json:
        # The document has no word for an unknown id; the id is the only parameter, and never empty.
        return RecordNotFound(said, endpoint=endpoint)
    redirects = "redirects are not followed; set api.base-url to the address that it redirects to"
    return HttpError(
        said,
        endpoint=endpoint,
        status=status,
        advice=_ADVICE.get(status, redirects if 300 <= status < 400 else ""),
        retry_after=_retry_after(response, now),
        of_platform=status != 404 or has_json,
    )


_ADVICE = {
    304: "a cache between here and the platform answers; let it pass the job API through",
    400: "the platform does not take our parameters",
    404: "is api.base-url right? Nothing but the job API must follow it",
    407: "the proxy wants credentials; give them in api.proxy-url",
    415: "something on the way drops the Content-Type header",
    429: "too many requests; lower api.concurrency",
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


def broken(error: Exception, endpoint: Endpoint, *, base: str, waited: str) -> ApiError:
    """Say what failed below HTTP in a request to `base`; `waited`: what was waited for, and how long.

    Texts of lower layers may quote content and are not used.
    """
    if isinstance(error, httpx.DecodingError):
        return NotUnderstoodError("a compressed body that cannot be decompressed", endpoint=endpoint)
    # httpx-aiohttp calls any loss of the connection a ConnectTimeout: the cause knows better
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    is_late = isinstance(cause, aiohttp.ServerTimeoutError | httpx.TimeoutException)
    if (is_late and not isinstance(cause, _NO_CONNECTION)) or type(error) is TimeoutError:
        return DeadlineError(
            waited, endpoint=endpoint, advice="is the platform overloaded? Else raise api.timeout"
        )
    said, advice = _what_broke(cause)
    return ConnectError(f"cannot reach {_origin(base)}: {said}", endpoint=endpoint, advice=advice)


def too_large(endpoint: Endpoint, limit: int) -> TooLargeError:
    """Refuse a body of which more than `limit` bytes would have to be held."""
    advice = "raise api.max-response-bytes" + (" or lower api.page-size" if endpoint == "page" else "")
    return TooLargeError(f"a body with more than {limit} bytes to be read", endpoint=endpoint, advice=advice)


_NO_CONNECTION = (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)
_SCHEME = "check the port in api.base-url, and whether it wants https"
_ADDRESS = "check api.base-url, the network and firewalls"
_BROKEN: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    # the first that fits: what it means, what to do
    (
        aiohttp.ClientConnectorCertificateError,
        "its certificate is not trusted",
        "set api.ca-file, or use in api.base-url the name that the certificate has",
    ),
    (
        aiohttp.ClientSSLError,
        "no TLS there",
        "write http instead of https in api.base-url, or set api.cert-file if it wants a client certificate",
    ),
    (aiohttp.ClientHttpProxyError, "the proxy refused to connect", "check api.proxy-url and the proxy"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached", "check api.proxy-url"),
    (_NO_CONNECTION, "no connection in time", _ADDRESS),
    (aiohttp.ClientPayloadError, "the body was cut short", ""),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer", ""),
    ((aiohttp.ClientResponseError, UnicodeError), "what answers does not speak HTTP", _SCHEME),
    (BaseException, "the connection broke", ""),
)


def _what_broke(cause: BaseException) -> tuple[str, str]:
    known = isinstance(cause, aiohttp.ClientSSLError | aiohttp.ClientProxyConnectionError)
    if isinstance(cause, aiohttp.ClientConnectorError) and not known:
        number = cause.os_error.errno or 0  # asyncio's own text names the call, not what happened
        return (os.strerror(number) if number > 0 else cause.os_error.strerror or "no connection"), _ADDRESS
    if any(isinstance(one, LineTooLong) for one in _chain(cause)):
        return "its header has a line that is too long", "see what adds such a header between here and there"
    return next((text, advice) for kind, text, advice in _BROKEN if isinstance(cause, kind))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that led to it."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _origin(base: str) -> str:
    url = httpx.URL(base)
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
