"""The TLS handshake of a connection. A refused client gets OpenSSL's alert; the log gets the reason."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from contextvars import ContextVar

import structlog

from exporter.web.tls import Tls

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LINGER = 1.0  # seconds for a client to read an alert, or to complete the TLS shutdown
QUIET = 60.0  # seconds between two log lines with the same reason: scanners must not fill the log
NO_TLS = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nHTTP request to an HTTPS server\n"

_refused: ContextVar[Callable[[str], None]] = ContextVar("refused")


class Session(ssl.SSLObject):
    """The server side of one TLS connection; sends the alert of a failed handshake.

    When a handshake fails, asyncio closes the connection and drops the alert that OpenSSL still has to send.
    While a handshake waits for the client, asyncio does send. So a failed handshake pretends to wait, and
    `shake_hands` closes the connection later.
    """

    def do_handshake(self) -> None:
        """Continue the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            _refused.get()(_reason(error))
            raise ssl.SSLWantReadError from error


def _reason(error: ssl.SSLError) -> str:
    words = (error.reason or "unknown").replace("_", " ").lower()
    detail = getattr(error, "verify_message", "")
    return f"{words}: {detail}" if detail else words


class Refusals:
    """Logs why clients are refused; each reason at most once per QUIET seconds."""

    def __init__(self) -> None:
        self._quiet_until: dict[str, float] = {}

    def log(self, reason: str, transport: asyncio.BaseTransport) -> None:
        """Log a refusal."""
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until.get(reason, now):
            self._quiet_until[reason] = now + QUIET
            address = (transport.get_extra_info("peername") or ("unknown",))[0]
            log.warning("TLS client refused", reason=reason, client=address)


async def shake_hands(
    raw: asyncio.Transport, protocol: asyncio.Protocol, tls: Tls, seconds: float, refusals: Refusals
) -> asyncio.Transport | None:
    """Turn an accepted connection into a TLS connection; None: that failed, and the connection closes.

    `protocol` may get data before this returns: what the client sent with the end of the handshake.
    """
    loop = asyncio.get_running_loop()

    def refuse(reason: str) -> None:
        refusals.log(reason, raw)
        if reason == "http request":  # for which OpenSSL has no alert
            raw.write(NO_TLS)
        raw.pause_reading()  # closing now would reset the connection before the client has read the alert
        loop.call_later(LINGER, raw.abort)

    tls.context.sslobject_class = Session
    _refused.set(refuse)  # each handshake is a task, with a context of its own
    transport = None
    with contextlib.suppress(OSError):  # the client left, or time is up
        transport = await loop.start_tls(
            raw,
            protocol,
            tls.context,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=LINGER,
        )
    if transport is not None and not raw.is_closing():
        if tls.admits(transport.get_extra_info("peercert")):
            return transport
        refusals.log("certificate without an allowed SAN", raw)
        transport.close()
    raw.close()
    return None
