"""Listening sockets."""

import socket
from collections.abc import Iterable

from exporter.settings import ListenAddress
from exporter.web.config import WebError

ANY = "0.0.0.0"  # noqa: S104, the default of every exporter


def listen(addresses: Iterable[ListenAddress], backlog: int) -> list[socket.socket]:
    """Listen on every address or on none; raises WebError, one line that names the address.

    aiohttp's TCPSite would open an IPv4 and an IPv6 socket for `:port`. Here one socket serves both, so that
    there is one port even where the system chooses it.
    """
    opened: list[socket.socket] = []
    for address in addresses:
        try:
            opened.append(_bind(address, backlog))
        except OSError as error:
            for each in opened:
                each.close()
            raise WebError(f"cannot listen on {address}: {_reason(error)}") from None
    return opened


def _bind(address: ListenAddress, backlog: int) -> socket.socket:
    host, port = address.host, address.port
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    found = socket.getaddrinfo(host or ANY, port, type=socket.SOCK_STREAM)
    family, _, _, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)  # IPv4 first, as Go does
    return socket.create_server(where[:2], family=family, backlog=backlog)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host name"
    if isinstance(error, PermissionError):
        return "not permitted; ports under 1024 need a right that this process lacks"
    text = (error.strerror or "").partition(" (while")[0].lower()
    if "in use" in text:
        return "the port is in use, perhaps by another job-exporter; stop that or choose another port"
    return text or type(error).__name__
