"""Notification of systemd: READY=1 once the daemon serves, and never a failure of the daemon."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.cli.commands import notify_ready


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        listening.settimeout(10)
        yield listening


@pytest.mark.parametrize("address", ["{}/notify", "@{}/notify"], ids=["path", "abstract"])
def test_the_service_manager_is_told(address: str, tmp_path: Path) -> None:
    """One datagram, to a socket on the disk or in the abstract namespace."""
    address = address.format(tmp_path)
    with manager(address) as listening:
        notify_ready({"NOTIFY_SOCKET": address})
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_service_manager_nothing_happens(environ: dict[str, str]) -> None:
    """No variable, no word."""
    with capture_logs() as logged:
        notify_ready(environ)
    assert logged == []


def test_a_socket_that_is_gone_is_logged(tmp_path: Path) -> None:
    """The daemon goes on; the log names the socket."""
    with capture_logs() as logged:
        notify_ready({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    (line,) = logged
    assert (line["log_level"], line["socket"]) == ("warning", str(tmp_path / "gone"))
