"""Listening sockets, and what happens when one cannot accept a connection."""

import asyncio
import errno
import socket
from collections.abc import Iterable
from typing import Any

import structlog

from exporter.settings import ListenAddress
from exporter.web.config import WebError

ACCEPT_FAILURES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
BACKLOG = 128  # connections that wait to be accepted; asyncio accepts as many at once
ANY = "0.0.0.0"  # noqa: S104  the default of all exporters

HINTS = {
    errno.EADDRINUSE: "the port is in use, perhaps by another job-exporter; stop it or choose another port",
    errno.EACCES: "permission denied; ports below 1024 need a privilege that this process does not have",
}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def log_failed_accepts(loop: asyncio.AbstractEventLoop) -> None:
    """Make each failed accept one line in the log; asyncio accepts again after a second."""
    quiet_until = 0.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal quiet_until
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in ACCEPT_FAILURES and "socket" in context):
            loop.default_exception_handler(context)
        elif loop.time() >= quiet_until:  # one line for all addresses
            quiet_until = loop.time() + 0.9
            log.warning("cannot accept a connection", error=error.strerror)

    loop.set_exception_handler(handle)


def listen(addresses: Iterable[ListenAddress]) -> list[socket.socket]:
    """Listen on all addresses, or on none. Raises WebError, which names the address.

    aiohttp's TCPSite would open an IPv4 and an IPv6 socket for `:port`. Here, one socket serves both. So
    there is one port, also when the system chooses it.
    """
    opened: list[socket.socket] = []
    for address in addresses:
        try:
            opened.append(_bind(address))
        except OSError as error:
            for each in opened:
                each.close()
            is_unknown = isinstance(error, socket.gaierror)
            reason = "unknown host name" if is_unknown else HINTS.get(error.errno or 0, error.strerror)
            raise WebError(f"cannot listen on {address}: {reason}") from None
    return opened


def _bind(address: ListenAddress) -> socket.socket:
    host, port = address.host, address.port
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    found = socket.getaddrinfo(host or ANY, port, type=socket.SOCK_STREAM)
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)  # IPv4 first, as Go does
    return socket.create_server(where[:2], family=family, backlog=BACKLOG)
