"""The daemon among thousands of connections and logins of clients that mean no good."""

import asyncio
import base64
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import bcrypt
import httpx
import pytest
import trustme

from exporter.simulator.server import RunningSimulator
from exporter.web.connections import Limits
from tests.crash.harness import Program, attempts, running, started

pytestmark = pytest.mark.servers  # these tests are about time

CROWD = 5_000
BETWEEN = 250  # connections that come between two scrapes
PROMPT = 1.0  # seconds within which a scrape is answered
MEMORY = 96 << 20  # bytes: 512 connections of at most a buffer of an answer, or a head
TLS_MEMORY = 256 << 20  # bytes: asyncio and OpenSSL take some 300 KB for each TLS connection
SOON = 5.0  # seconds within which a right login is answered amid wrong ones
FLOOD = 200  # clients that log in wrongly, each again and again
SAYINGS = (
    b"",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Half:",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 4_000) for n in range(30)),
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


async def port_of(program: Program) -> int:
    return int((await program.logged(r"listening .*port=(\d+)"))[1])


async def come(port: int, number: int) -> socket.socket:
    """Connect, say something and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    with suppress(OSError):  # cut already
        client.send(SAYINGS[number % len(SAYINGS)])
    return client


@pytest.mark.parametrize("tls", [False, True])
async def test_five_thousand_connections_leave_a_scraper_its_answer(
    tls: bool, still: RunningSimulator, tmp_path: Path
) -> None:
    """Idle, slow and hostile connections: each scrape is answered within a second, memory stays bounded."""
    flags, verify = [], ssl.create_default_context()
    if tls:
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
        (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: all.pem, key_file: all.pem}\n")
        authority.configure_trust(verify)
        flags = ["--web.config-file=web.yml"]
    slowest = 0.0
    with descriptors(CROWD + 1_000), ExitStack() as stack:
        async with started(tmp_path, *running(still.url, *flags)) as program:
            port = await port_of(program)
            url = f"{'https' if tls else 'http'}://localhost:{port}"
            async with httpx.AsyncClient(base_url=url, verify=verify, trust_env=False) as scraper:
                assert (await scraper.get("/metrics")).is_success
                before = program.memory
                for number in range(CROWD):
                    stack.enter_context(await come(port, number))
                    if number % BETWEEN == 0:
                        began = time.monotonic()
                        assert (await scraper.get("/metrics")).is_success
                        slowest = max(slowest, time.monotonic() - began)
                async for _ in attempts("a bounded number of connections"):
                    if program.descriptors < Limits().connections + 50:
                        break
                assert program.memory < before + (TLS_MEMORY if tls else MEMORY)
            ended = await program.stop()
    assert slowest < PROMPT
    assert ended.status == 0
    assert "error" not in ended.stderr


async def test_a_right_login_is_answered_amid_a_flood_of_wrong_ones(
    still: RunningSimulator, tmp_path: Path
) -> None:
    """Two hundred addresses guess on without a pause; each first login of a user is answered in seconds."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    users = "".join(f"  user{number}: {hashed}\n" for number in range(6))
    (tmp_path / "web.yml").write_text(f"basic_auth_users:\n{users}")
    async with started(tmp_path, *running(still.url, "--web.config-file=web.yml")) as program:
        port = await port_of(program)
        flood = [asyncio.create_task(guess(port, number)) for number in range(FLOOD)]
        await asyncio.sleep(1)
        took = []
        for number in range(6):
            began = time.monotonic()
            assert await login(port, "127.0.0.1", f"user{number}:right") == 200
            took.append(time.monotonic() - began)
        assert not any(task.done() for task in flood)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        ended = await program.stop()
    assert ended.status == 0
    assert max(took) < SOON


async def guess(port: int, number: int) -> None:
    """Log in wrongly for ever, in turn as a user that is about to log in and as none at all."""
    for attempt in range(1_000_000):
        name = f"user{attempt % 6}" if attempt % 2 else f"nobody{number}"
        assert await login(port, f"127.0.1.{number + 1}", f"{name}:guess {number} {attempt}") == 401


async def login(port: int, source: str, credentials: str) -> int:
    """Ask with credentials from an address; give the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    given = base64.b64encode(credentials.encode()).decode()
    writer.write(f"GET / HTTP/1.0\r\nAuthorization: Basic {given}\r\n\r\n".encode())
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()
