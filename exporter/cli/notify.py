"""Tell systemd that the daemon serves: the protocol of sd_notify(3), for units of Type=notify."""

import socket
from collections.abc import Mapping

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def ready(environ: Mapping[str, str]) -> None:
    """Send READY=1 to the socket that NOTIFY_SOCKET names; does nothing without one.

    A failure is logged only: a variable that was left over must not end the daemon.
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
