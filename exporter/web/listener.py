"""Sockets and connections: how many, how long, and over TLS or not.

aiohttp reads and writes HTTP; it limits the length of lines and headers, but waits 3,630 s for a client
that connects and says nothing, for ever for one that reads nothing, and takes any number of them, each
with 32 heads of half a megabyte in hand. So a connection may send `ahead` bytes before it is answered,
and stands under one deadline, which changes with its state:

| state | until | deadline, then the connection is cut |
|---|---|---|
| opening | the TLS handshake is done | `handshake` |
| head | a request's head has come whole | `head`, however slowly it trickles |
| serving | the answer has gone to the kernel's buffer | `serve`: also for who does not read |
| idle | the first byte of the next request | `idle` |

At the limit of connections a new one displaces one of the client that holds most of them, by the rules
at the head of `clients.py`: whoever holds hundreds open, says nothing or reads slowly, cannot lock a
scraper out (whose own idle connection it simply opens anew).
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import cast

import structlog
from aiohttp import web

from exporter.web.clients import Places, client_of
from exporter.web.config import WebError
from exporter.web.tls import Tls

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
ACCEPT_PAUSE = 0.5  # seconds, when accept fails for want of these: some must be given back first
BACKLOG = 512  # handshakes of TCP waiting for accept; the kernel has its own, lower or higher, limit


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client, and all of them, may cost. Times in seconds, sizes in bytes."""

    connections: int = 512  # with `ahead` and `web.PIECE` this bounds the memory that strangers can hold
    ahead: int = 32768  # sent before an answer: a head, a small body, requests pipelined
    handshake: float = 10.0  # TLS over the slowest line takes under 2
    head: float = 10.0  # a scraper sends its head in one packet
    serve: float = 30.0  # Prometheus gives up after 10 by default; a person's 30 MB at 8 Mbit/s
    idle: float = 120.0  # longer than a scrape interval of a minute, so that connections are used again
    line: int = 4096  # request line: the paths here are short
    header: int = 4096  # one header: credentials take 200, a browser's cookies of the host some more
    headers: int = 64  # a browser sends about 20
    linger: float = 1.0  # a body that nobody asked for is read and dropped so long, then cut
    stop: float = 0.5  # an answer under way at the stop may take so long; twice that in all


class State(Enum):
    """Where a connection is; the deadlines are at the head of the module."""

    OPENING = auto()
    HEAD = auto()
    SERVING = auto()
    IDLE = auto()


class Connection(web.RequestHandler):
    """aiohttp's protocol of one client, under a deadline, and without words of its own on errors."""

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        tls: Tls | None,
        failure: Callable[[web.BaseRequest, int, BaseException | None], web.Response],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # as aiohttp's own runner does to have none
            keepalive_timeout=limits.idle,
            max_line_size=limits.line,
            max_field_size=limits.header,
            max_headers=limits.headers,
            lingering_time=limits.linger,
            auto_decompress=False,  # bodies are dropped: unpacking one would only help a bomb
        )
        self.state = State.OPENING
        self.since = loop.time()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._limits = limits
        self._tls = tls
        self._failure = failure
        self._deadline: asyncio.TimerHandle | None = None
        self._raw: asyncio.Transport | None = None
        self._ahead = 0  # bytes since the last request began to be served

    @property
    def served(self) -> bool:
        """Whether a request is being answered."""
        return self.state is State.SERVING

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head; a client certificate of the wrong name ends it here."""
        self._raw = cast("asyncio.Transport", transport)
        encrypted = self._raw.get_extra_info("ssl_object")
        if self._tls and not self._tls.admits(encrypted.getpeercert()):
            self.cut()
            return
        # Writing waits until all has gone to the kernel: only then is an answer known to be taken.
        self._raw.set_write_buffer_limits(high=0)
        super().connection_made(transport)
        self._enter(State.HEAD, self._limits.head)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first after a pause start the clock of a new head, too many are the end."""
        self._ahead += len(data)
        if self._ahead > self._limits.ahead:
            self.cut()
            return
        if self.state is State.IDLE:
            self._enter(State.HEAD, self._limits.head)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock and tell that the connection has ended."""
        if self._deadline:
            self._deadline.cancel()
        if not self.ended.done():
            self.ended.set_result(None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002, it quotes the client's bytes
    ) -> web.StreamResponse:
        """Answer a request that is no HTTP, or whose handler failed; it is the connection's last."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        response = self._failure(request, status, exc)
        response.force_close()
        return response

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Hold the connection in the state `serving`."""
        self._ahead = 0
        self._enter(State.SERVING, self._limits.serve)
        try:
            yield
        finally:
            if self._ahead:  # a pipelined head, perhaps only its first half
                self._enter(State.HEAD, self._limits.head)
            else:
                self._enter(State.IDLE, self._limits.idle)

    def cut(self) -> None:
        """End the connection now, whatever is unsent."""
        if self._raw:
            self._raw.abort()

    def _enter(self, state: State, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.state, self.since = state, loop.time()
        if self._deadline:
            self._deadline.cancel()
        if not self.ended.done():
            self._deadline = loop.call_later(seconds, self.cut)


class Gate:
    """Listens on addresses and gives each client a Connection, at most `limits.connections` at once."""

    def __init__(
        self, connect: Callable[[Tls | None], Connection], tls: Callable[[], Tls | None], limits: Limits
    ) -> None:
        """`connect` makes a connection; `tls` is asked for each: a new certificate needs no restart."""
        self._connect = connect
        self._tls = tls
        self._limits = limits
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._places: Places[asyncio.Task[None]] = Places()

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports listened on, one an address, in the order of the addresses."""
        return tuple(each.getsockname()[1] for each in self._sockets)

    def open(self, addresses: Iterable[str]) -> None:
        """Listen on every address, or on none; raises WebError that names the address."""
        try:
            for address in addresses:
                self._sockets.append(listen(address))
        except WebError:
            self._close_sockets()
            raise
        self._accepting = [asyncio.create_task(self._accept(each)) for each in self._sockets]

    def close(self) -> None:
        """Take no more connections."""
        for task in self._accepting:
            task.cancel()
        self._close_sockets()

    async def drop(self) -> None:
        """Cut every connection there is, and wait until they have ended."""
        await asyncio.sleep(0)  # a task cancelled before its first step would leave its socket open
        tasks = [*self._accepting, *self._places.keys()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("cannot accept a connection", error=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE if error.errno in EXHAUSTED else 0.01)
                continue
            self._admit(client, client_of(address[0]))
            await asyncio.sleep(0)  # a flood of connections must not keep scrapes waiting

    def _admit(self, opened: socket.socket, client: str) -> None:
        """Give a new connection its place; if all are taken, another one's."""
        if len(self._places) >= self._limits.connections:
            task = self._places.loser(client)
            self._places.leave(task)
            task.cancel()
        tls = self._tls()
        connection = self._connect(tls)
        self._places.take(asyncio.create_task(self._hold(opened, connection, tls)), connection, client)

    async def _hold(self, client: socket.socket, connection: Connection, tls: Tls | None) -> None:
        """Keep a connection from accept to its end; to cancel this is to cut it."""
        times = {"ssl_handshake_timeout": self._limits.handshake, "ssl_shutdown_timeout": self._limits.linger}
        try:
            with suppress(OSError):  # a handshake that fails is the client's affair
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection, client, ssl=tls.context if tls else None, **(times if tls else {})
                )
                await connection.ended
        finally:
            connection.cut()
            self._places.leave(cast("asyncio.Task[None]", asyncio.current_task()))


def listen(address: str) -> socket.socket:
    """Open a listening socket on `:port` (every interface, IPv4 and IPv6), `host:port` or `[ipv6]:port`.

    Raises WebError, in one line that names the address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise WebError(f"listen address {address!r} must be host:port, :port or [IPv6]:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise WebError(f"listen address {address!r}: an IPv6 address stands in brackets, as in [::1]:16868")
    try:
        return _bind(host, int(port))
    except OSError as error:
        raise WebError(f"cannot listen on {address}: {_reason(error)}") from None


def _bind(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        opened = socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    else:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104, as asked
        family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)  # IPv4 first, as Go
        opened = socket.create_server(where[:2], family=family, backlog=BACKLOG)
    opened.setblocking(False)
    return opened


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name is not known here"
    if isinstance(error, PermissionError):
        return "not permitted; ports under 1024 need a right that this process lacks"
    text = (error.strerror or "").partition(" (while")[0].lower()
    if "in use" in text:
        return "the port is in use, perhaps by another job-exporter; stop that or choose another port"
    return text or type(error).__name__
