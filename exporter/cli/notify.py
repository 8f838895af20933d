"""Notifies systemd that the daemon is ready, with the sd_notify(3) protocol, for units with Type=notify."""

import socket
from collections.abc import Mapping

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def ready(environ: Mapping[str, str]) -> None:
    """Send READY=1 to the socket in NOTIFY_SOCKET; do nothing if it is not set.

    A failure is only logged: a stale variable must not stop the daemon.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the NUL byte of the abstract namespace.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", target)
    except OSError as error:
        log.warning("service manager not notified", socket=address, error=error.strerror or str(error))
