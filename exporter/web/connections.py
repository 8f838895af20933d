"""Connections: a cap on their number, a deadline for the first head of each, and the TLS handshake.

aiohttp limits the size of heads, idle connections and requests sent ahead. Here, a client has `limits.head`
seconds for the TLS handshake and the first head together. Above `limits.connections`, a new connection closes
the one without progress for longest. Progress is being accepted, or a whole head. A client whose handshake
fails gets OpenSSL's alert; the log gets the reason.
"""

import asyncio
import contextlib
import ssl
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web

from exporter.web.tls import Tls

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LINGER = 1.0  # seconds for a client to read an alert, or to complete the TLS shutdown
QUIET = 60.0  # seconds between two log lines with the same reason: scanners must not fill the log
NO_TLS = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nHTTP request to an HTTPS server\n"

Failure = Callable[[web.BaseRequest, int, BaseException | None], web.Response]
_refused: ContextVar[Callable[[str], None]] = ContextVar("refused")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may cost; times in seconds, sizes in bytes."""

    connections: int = 512  # each holds up to 200 KB; the usual limit of open files is 1024
    head: float = 10.0  # a scraper sends its head in one packet; TLS over the slowest line takes under 2
    send: float = 60.0  # Prometheus gives up after 10 by default; at 4 Mbit/s a browser gets 30 MB
    idle: float = 120.0  # longer than a scrape interval of a minute, so that connections are used again
    buffer: int = 65536  # of a response, written and not sent yet
    line: int = 4096  # request line: the paths here are short
    header: int = 4096  # one header: credentials take 200, a browser's cookies more
    headers: int = 32  # a browser sends about 20
    stop: float = 0.5  # for a response in flight at shutdown; twice that in all


class Connection(web.RequestHandler):
    """aiohttp's protocol for one client, with a deadline for the first head, and our own error pages."""

    def __init__(self, server: "Server", tls: Tls | None) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as aiohttp's own runner does to have none
            keepalive_timeout=limits.idle,
            max_line_size=limits.line,
            max_field_size=limits.header,
            max_headers=limits.headers,
            lingering_time=LINGER,
            auto_decompress=False,  # bodies are dropped; unpacking would only help a bomb
        )
        self._server, self._limits, self._tls = server, limits, tls
        self._early: list[bytes] | None = []  # data that came before HTTP began; None: it has begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline; then HTTP, or TLS first."""
        self._raw = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(self._limits.head, self.abort)
        if len(self._server.open) >= self._limits.connections:
            next(iter(self._server.open)).abort()
        self._server.open[self] = None
        if self._tls is None:
            self._begin(self._raw)
        else:
            self._securing = asyncio.create_task(self._secure(self._raw, self._tls))

    def data_received(self, data: bytes) -> None:
        """Pass on HTTP; hold back what comes before HTTP has begun."""
        if self._early is None:
            super().data_received(data)
        else:
            self._early.append(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place."""
        self._leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002, it quotes the client's bytes
    ) -> web.StreamResponse:
        """Respond to a request that is no HTTP, or whose handler failed; then close the connection."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client is gone, or part of a response is sent")
        response = self._server.failure(request, status, exc)
        response.force_close()
        return response

    def head_received(self) -> None:
        """End the deadline: the client has sent a whole head."""
        self._deadline.cancel()
        if self in self._server.open:
            self._server.open.move_to_end(self)

    def abort(self) -> None:
        """Close the connection now, whatever is unsent."""
        self._leave()
        self._raw.abort()

    def _leave(self) -> None:
        self._deadline.cancel()
        self._server.open.pop(self, None)

    def _begin(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=self._limits.buffer)
        early, self._early = self._early or [], None
        super().connection_made(transport)
        for data in early:
            super().data_received(data)

    async def _secure(self, raw: asyncio.Transport, tls: Tls) -> None:
        """Begin HTTP over TLS, or close the connection. Data may come early, with the handshake's end."""
        tls.context.sslobject_class = Session
        _refused.set(self._refuse)  # each handshake is a task, with a context of its own
        transport = None
        with contextlib.suppress(OSError):  # the client left, or time is up
            transport = await asyncio.get_running_loop().start_tls(
                raw,
                self,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self._limits.head,
                ssl_shutdown_timeout=LINGER,
            )
        if transport is not None and not raw.is_closing():
            if tls.admits(transport.get_extra_info("peercert")):
                self._begin(transport)
                return
            self._server.log_refusal("certificate without an allowed SAN", raw)
            transport.close()
        raw.close()
        self._leave()  # asyncio reports no end of a connection whose handshake fails

    def _refuse(self, reason: str) -> None:
        self._server.log_refusal(reason, self._raw)
        if reason == "http request":  # for which OpenSSL has no alert
            self._raw.write(NO_TLS)
        self._raw.pause_reading()  # closing now would reset the connection before the client reads the alert
        asyncio.get_running_loop().call_later(LINGER, self._raw.abort)


class Server(web.Server):
    """Makes the connections of all addresses, and keeps their number below the cap."""

    def __init__(
        self, handler: Any, *, tls: Callable[[], Tls | None], failure: Failure, limits: Limits
    ) -> None:
        """`tls` is called per connection: a new certificate needs no restart. `failure` makes error pages."""
        super().__init__(handler, handler_cancellation=True)
        self.failure, self.limits, self._tls = failure, limits, tls
        self.open: OrderedDict[Connection, None] = OrderedDict()  # in the order of their last progress
        self._quiet_until: dict[str, float] = {}  # by reason

    def __call__(self) -> Connection:
        """Make the protocol of a connection that was accepted."""
        return Connection(self, self._tls())

    def log_refusal(self, reason: str, transport: asyncio.BaseTransport) -> None:
        """Log why a TLS client is refused; each reason at most once per QUIET seconds."""
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until.get(reason, now):
            self._quiet_until[reason] = now + QUIET
            address = (transport.get_extra_info("peername") or ("unknown",))[0]
            log.warning("TLS client refused", reason=reason, client=address)


class Session(ssl.SSLObject):
    """The server side of one TLS connection; sends the alert of a failed handshake.

    When a handshake fails, asyncio closes the connection and drops the alert that OpenSSL still has to send.
    While a handshake waits for the client, asyncio does send. So a failed handshake pretends to wait, and
    `Connection` closes the connection later.
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
