"""The daemon under 10,000 connections of clients that mean no good."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from exporter.simulator.server import RunningSimulator
from exporter.web.listener import Limits
from tests.crash.harness import running, started

CROWD = 10_000
BETWEEN = 500  # connections that come between two scrapes
MEMORY = 64 << 20  # bytes: 512 connections of at most a piece of an answer and some KB of requests each
SAYINGS = (
    b"",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Half:",
    b"GET /reference HTTP/1.1\r\nHost: x\r\n\r\n" * 30,  # most of a megabyte to read, which nobody does
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + b"x" * 20_000,
    b"\x16\x03\x01\x02\x00\x01",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n",
)


@contextmanager
def descriptors(wanted: int) -> Iterator[None]:
    """Raise the limit of open files of this process as far as it may be; at least to `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"this machine lets a process open {hard} files, and {wanted} are needed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("addresses", [1, 200], ids=["one-address", "many-addresses"])
async def test_ten_thousand_connections_leave_scrapes_answered(
    addresses: int, still: RunningSimulator, tmp_path: Path
) -> None:
    """From one address or from many: all scrapes are answered, memory and descriptors stay bounded."""
    loop = asyncio.get_running_loop()
    with descriptors(CROWD + 1_000), ExitStack() as stack:
        async with started(tmp_path, *running(still.url)) as program:
            await program.ready()
            port = int((await program.url()).rpartition(":")[2])
            before = program.memory
            for number in range(CROWD):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                client.bind((f"127.0.1.{number % addresses + 1}", 0))
                await loop.sock_connect(client, ("127.0.0.1", port))
                with suppress(ConnectionError):  # cut already
                    client.send(SAYINGS[number % len(SAYINGS)])
                if number % BETWEEN == 0:
                    assert (await program.get("/metrics")).status_code == 200
            assert (await program.get("/-/healthy")).status_code == 200
            assert program.descriptors < Limits().connections + 50
            assert program.memory < before + MEMORY
            ended = await program.stop()
    assert ended.status == 0
    assert "error" not in ended.stderr
