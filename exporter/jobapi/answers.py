"""A response to the value it holds or the error it stands for, and a lost connection to its cause."""

import os
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp
import httpx

from exporter.jobapi import decoder
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    CredentialsError,
    DeadlineError,
    Endpoint,
    HttpError,
    NotUnderstoodError,
    PlatformFailure,
    RecordNotFound,
)
from exporter.jobapi.schema import BOM

T = TypeVar("T")

MAX_RETRY_AFTER = 60.0  # seconds; polls back off no longer than this

_ADVICE = {
    304: "a cache between here and the platform answers; exclude the job API from it",
    400: "the platform rejects our parameters; if its port wants https, correct api.base-url",
    401: "the credentials are refused, or their role may not read jobs",
    403: "the credentials are refused, or their role may not read jobs",
    404: "check api.base-url: it must be the address of the job API without a path of its endpoints",
    407: "the proxy wants credentials; set them in api.proxy-url",
    415: "something between here and the platform drops the Content-Type header",
    429: "too many requests; lower api.concurrency",
}
_REDIRECTS = "redirects are not followed; set api.base-url to the address that it redirects to"

_NO_CONNECTION = (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)
# The first type that fits: what it means, and what to do.
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (
        aiohttp.ClientConnectorCertificateError,
        "its certificate is not trusted",
        "set api.ca-file, or use in api.base-url the name that the certificate has",
    ),
    (
        aiohttp.ClientSSLError,
        "it does not answer with TLS",
        "write http instead of https in api.base-url, or set api.cert-file if it wants a client certificate",
    ),
    (aiohttp.ClientHttpProxyError, "the proxy refused to connect", "check api.proxy-url and the proxy"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached", "check api.proxy-url"),
    (aiohttp.ClientConnectorError, "", ""),  # the operating system names the cause
    (_NO_CONNECTION, "no connection in time", ""),
    (aiohttp.ClientPayloadError, "the body was cut short", ""),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer", ""),
    (
        (aiohttp.ClientResponseError, UnicodeError),
        "it does not speak HTTP",
        "check the port in api.base-url, whether it wants https, and what a proxy adds to the header",
    ),
    (BaseException, "the connection broke", ""),
)


def classify(
    endpoint: Endpoint,
    response: httpx.Response,
    body: bytes,
    decode: Callable[[bytes], T],
    *,
    now: float,
    masked: Callable[[str], str],
) -> T:
    """Return the value of a response, or raise its ApiError.

    `now` is our clock, POSIX seconds, for a Retry-After with a date. `masked` removes our secrets from a
    message of the platform.
    """
    if response.status_code != 200:
        raise _status_error(endpoint, response, body, now)
    try:
        return decode(body)
    except decoder.PlatformError as error:
        message = decoder.one_line(masked(str(error)))
        said = str(error).lower()
    if said in {"invalid user", "invalid authorization data"}:
        raise CredentialsError(f"the platform refused the credentials: {message}")
    if endpoint == "record" and said == "record not found":
        raise RecordNotFound(message)
    raise PlatformFailure(f"the platform answered with an error: {message}")


def http_date(value: str | None) -> float | None:
    """Read the date of a header, POSIX seconds; None: missing or unreadable."""
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value or "").timestamp()
    return None


def _status_error(endpoint: Endpoint, response: httpx.Response, body: bytes, now: float) -> ApiError:
    status = response.status_code
    message, advice = f"HTTP {status}", _ADVICE.get(status, _REDIRECTS if 300 <= status < 400 else "")
    if status in {401, 403}:
        return CredentialsError(message, advice=advice)
    has_json = body.removeprefix(BOM).lstrip().startswith(b"{")
    if status in {400, 404} and endpoint == "record" and has_json:
        # The document does not say how an unknown id is told; the id is the only parameter, and never empty.
        return RecordNotFound(message)
    return HttpError(
        message,
        advice,
        status=status,
        retry_after=_retry_after(response, now) if status in {429, 503} else None,
        of_platform=status != 404 or has_json,
    )


def _retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds to wait by Retry-After, which is a number of them or a date on the platform's clock."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(MAX_RETRY_AFTER, float(value))
    until = http_date(value)
    if until is None:
        return None
    theirs = http_date(response.headers.get("date"))
    return min(MAX_RETRY_AFTER, max(0.0, until - (now if theirs is None else theirs)))


def broken(error: Exception, *, base: str, waited: str) -> ApiError:
    """Name the cause of a failed request to `base`; `waited` says what was awaited, and for how long.

    The texts of libraries are not used, because they may quote content.
    """
    if isinstance(error, httpx.DecodingError):
        return NotUnderstoodError("a compressed body that cannot be decompressed")
    # httpx-aiohttp reports any loss of the connection as a ConnectTimeout: its cause tells them apart.
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    is_late = isinstance(cause, aiohttp.ServerTimeoutError | httpx.TimeoutException)
    if type(error) is TimeoutError or (is_late and not isinstance(cause, _NO_CONNECTION)):
        return DeadlineError(waited)
    what, advice = next((what, advice) for kind, what, advice in _CAUSES if isinstance(cause, kind))
    if isinstance(cause, aiohttp.ClientConnectorError) and not what:
        number = cause.os_error.errno or 0  # asyncio's own text names the call, not the cause
        what = os.strerror(number) if number > 0 else cause.os_error.strerror or "no connection"
    url = httpx.URL(base)
    return ConnectError(f"cannot reach {url.scheme}://{url.netloc.decode('ascii')}: {what}", advice)
