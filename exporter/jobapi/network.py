"""A failure below HTTP to the error that names its cause and the setting to check."""

import os

import aiohttp
import httpx

from exporter.jobapi.errors import ApiError, ConnectError, DeadlineError, Endpoint, NotUnderstoodError

_NO_CONNECTION = (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)
_ADDRESS = "check api.base-url, the network and firewalls"
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
    (_NO_CONNECTION, "no connection in time", _ADDRESS),
    (aiohttp.ClientPayloadError, "the body was cut short", ""),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer", ""),
    (
        (aiohttp.ClientResponseError, UnicodeError),
        "it does not speak HTTP",
        "check the port in api.base-url, whether it wants https, and what a proxy adds to the header",
    ),
    (BaseException, "the connection broke", ""),
)


def broken(error: Exception, endpoint: Endpoint, *, base: str, waited: str) -> ApiError:
    """Name the cause of a failed request to `base`; `waited` says what was awaited, and for how long.

    The texts of libraries are not used, because they may quote content.
    """
    if isinstance(error, httpx.DecodingError):
        return NotUnderstoodError("a compressed body that cannot be decompressed", endpoint=endpoint)
    # httpx-aiohttp reports any loss of the connection as a ConnectTimeout: its cause tells them apart.
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    is_late = isinstance(cause, aiohttp.ServerTimeoutError | httpx.TimeoutException)
    if type(error) is TimeoutError or (is_late and not isinstance(cause, _NO_CONNECTION)):
        advice = "check whether the platform is overloaded, or raise api.timeout"
        return DeadlineError(waited, endpoint=endpoint, advice=advice)
    what, advice = _what_broke(cause)
    url = httpx.URL(base)
    address = f"{url.scheme}://{url.netloc.decode('ascii')}"
    return ConnectError(f"cannot reach {address}: {what}", endpoint=endpoint, advice=advice)


def _what_broke(cause: BaseException) -> tuple[str, str]:
    is_named = isinstance(cause, aiohttp.ClientSSLError | aiohttp.ClientProxyConnectionError)
    if isinstance(cause, aiohttp.ClientConnectorError) and not is_named:
        number = cause.os_error.errno or 0  # asyncio's own text names the call, not the cause
        return (os.strerror(number) if number > 0 else cause.os_error.strerror or "no connection"), _ADDRESS
    return next((what, advice) for kind, what, advice in _CAUSES if isinstance(cause, kind))
