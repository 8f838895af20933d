"""Connections: how many there are, and how long a client may take.

aiohttp reads and writes HTTP. It bounds lines, headers and requests that are sent ahead. This module adds:

| what | limit |
|---|---|
| the TLS handshake and the head of the first request, together | `head` seconds, however slowly bytes come |
| the head of a further request | `idle` seconds after the last answer; aiohttp's keep-alive |
| sending an answer | `send` seconds; held by `server.py` |
| connections at once | `connections`; one more cuts the one without progress for longest |

Progress is being accepted, and a whole head. So whoever holds many connections, silent or slow, does not
keep a scraper out: these are the oldest. There is no fairness between clients.
"""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web

from exporter.web.handshake import LINGER, Refusals, shake_hands
from exporter.web.tls import Tls

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Failure = Callable[[web.BaseRequest, int, BaseException | None], web.Response]
BACKLOG = 128  # TCP connections that wait for accept, and that asyncio accepts at once
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may cost. Times in seconds, sizes in bytes."""

    connections: int = 512  # each holds up to 200 KB; the usual limit of open files is 1024
    head: float = 10.0  # a scraper sends its head in one packet; TLS over the slowest line takes under 2
    send: float = 60.0  # Prometheus gives up after 10 by default; at 4 Mbit/s a browser gets 30 MB
    idle: float = 120.0  # longer than a scrape interval of a minute, so that connections are used again
    buffer: int = 65536  # of an answer, written and not sent yet
    line: int = 4096  # request line: the paths here are short
    header: int = 4096  # one header: credentials take 200, a browser's cookies more
    headers: int = 32  # a browser sends about 20
    stop: float = 0.5  # for an answer under way at the stop; twice that in all


class Connection(web.RequestHandler):
    """aiohttp's protocol for one client, with a deadline for the first head, and our own error pages."""

    def __init__(self, server: "Server", limits: Limits, tls: Tls | None) -> None:
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
        self._raw: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._securing: asyncio.Task[None] | None = None
        self._early: list[bytes] | None = []  # data that came before HTTP began; None: it has begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline; then HTTP, or TLS first."""
        self._raw = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(self._limits.head, self.abort)
        self._server.enter(self)
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
        """Give the place back."""
        self._leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002, it quotes the client's bytes
    ) -> web.StreamResponse:
        """Answer a request that is no HTTP or whose handler failed. It is the last one of the connection."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client is gone, or part of an answer is sent")
        response = self._server.failure(request, status, exc)
        response.force_close()
        return response

    def head_received(self) -> None:
        """End the deadline: the client has sent a whole head."""
        if self._deadline:
            self._deadline.cancel()
        self._server.progress(self)

    def abort(self) -> None:
        """Cut the connection now, whatever is unsent."""
        self._leave()
        if self._raw:
            self._raw.abort()

    def _leave(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._server.leave(self)

    def _begin(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=self._limits.buffer)
        early, self._early = self._early, None
        super().connection_made(transport)
        for data in early or ():
            super().data_received(data)

    async def _secure(self, raw: asyncio.Transport, tls: Tls) -> None:
        transport = await shake_hands(
            raw, self, tls, seconds=self._limits.head, refusals=self._server.refusals
        )
        if transport:
            self._begin(transport)
        else:
            self._leave()  # asyncio reports no end of a connection whose handshake fails
            if not raw.is_closing():
                raw.close()


class Server(web.Server):
    """Makes the connections of all addresses, and holds their number at `limits.connections`."""

    def __init__(
        self, handler: Any, *, tls: Callable[[], Tls | None], failure: Failure, limits: Limits
    ) -> None:
        """`tls` is called per connection: a new certificate needs no restart. `failure` makes error pages."""
        super().__init__(handler, handler_cancellation=True)
        self.failure = failure
        self.refusals = Refusals()
        self._tls, self._limits = tls, limits
        self._quiet_until = 0.0
        self._open: dict[Connection, None] = {}  # the one without progress for longest comes first

    def __call__(self) -> Connection:
        """Make the protocol of a connection that was accepted."""
        return Connection(self, self._limits, self._tls())

    def enter(self, connection: Connection) -> None:
        """Take a place. If there is none left, the oldest connection is cut."""
        if len(self._open) >= self._limits.connections:
            next(iter(self._open)).abort()
        self._open[connection] = None

    def progress(self, connection: Connection) -> None:
        """Make a connection the newest."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def leave(self, connection: Connection) -> None:
        """Give a place back, if it is still held."""
        self._open.pop(connection, None)

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.abort()

    def accept_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle exceptions of the event loop: failed accepts are one line; asyncio retries in a second."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in EXHAUSTED and "socket" in context):
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + 0.9
            log.warning("cannot accept a connection", error=error.strerror)
