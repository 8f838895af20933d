"""A whole HTTP response to the value it holds, or to the error it stands for."""

from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from exporter.jobapi import decoder
from exporter.jobapi.errors import (
    ApiError,
    CredentialsError,
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
    except decoder.DecodeError as error:
        raise NotUnderstoodError(error.message, endpoint=endpoint, advice=error.advice) from None
    except decoder.PlatformError as error:
        raise _platform_error(endpoint, error.text, decoder.one_line(masked(error.text))) from None


def http_date(value: str | None) -> float | None:
    """Read the date of a header, POSIX seconds; None: missing or unreadable."""
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value or "").timestamp()
    return None


def _platform_error(endpoint: Endpoint, text: str, message: str) -> ApiError:
    match text.lower():
        case "invalid user" | "invalid authorization data":
            return CredentialsError(f"the platform refused the credentials: {message}", endpoint=endpoint)
        case "record not found" if endpoint == "record":
            return RecordNotFound(message, endpoint=endpoint)
    return PlatformFailure(f"the platform answered with an error: {message}", endpoint=endpoint)


def _status_error(endpoint: Endpoint, response: httpx.Response, body: bytes, now: float) -> ApiError:
    status = response.status_code
    message, advice = f"HTTP {status}", _ADVICE.get(status, _REDIRECTS if 300 <= status < 400 else "")
    if status in {401, 403}:
        return CredentialsError(message, endpoint=endpoint, advice=advice)
    has_json = body.removeprefix(BOM).lstrip().startswith(b"{")
    if status in {400, 404} and endpoint == "record" and has_json:
        # The document does not say how an unknown id is told; the id is the only parameter, and never empty.
        return RecordNotFound(message, endpoint=endpoint)
    return HttpError(
        message,
        endpoint=endpoint,
        status=status,
        advice=advice,
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
