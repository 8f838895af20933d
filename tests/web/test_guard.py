"""Hostile clients: what each may cost, how it ends, and that a scrape is answered all the while."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web as aio
from structlog.testing import capture_logs

from exporter.web.connections import Limits
from exporter.web.server import text
from tests.harness.web import closed, connected, get, read_answer, request, serving, shown, until

SHORT = 0.3  # seconds: each test makes only the deadline short that it is about, and a busy machine may pause


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 4_100 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        request("/metrics", "X-Long: " + "a" * 4_100),
        request("/metrics", "X" * 5_000 + ": a"),
        request("/metrics", *(f"X-{number}: a" for number in range(70))),
    ],
    ids=["line", "value", "name", "many"],
)
async def test_an_oversized_head_is_refused_and_the_connection_closed(head: bytes) -> None:
    """Lines, headers and their number are limited: a 400 and nothing more."""
    async with serving() as web, connected(web.ports[0]) as (reader, writer):
        writer.write(head)
        assert await reader.read(12) in (b"HTTP/1.0 400", b"HTTP/1.1 400")
        assert await closed(reader)


@pytest.mark.parametrize(
    "raw",
    [b"GET /metrics?" + b"a" * 1_000_000, b"GET / HTTP/1.1\r\n" + b"X-More: a\r\n" * 100_000],
    ids=["line", "headers"],
)
async def test_a_head_without_end_is_cut(raw: bytes) -> None:
    """A client that goes on sending its head is not listened to."""
    async with serving() as web, connected(web.ports[0]) as (reader, writer):
        writer.write(raw)
        assert await closed(reader)


async def test_requests_sent_ahead_are_not_read_ahead() -> None:
    """While an answer is made, a few requests of the same client are kept; the rest stays in the kernel."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def slow(_request: aio.BaseRequest) -> aio.Response:
        reached.set()
        await release.wait()
        return text("done")

    async with serving(routes={"/slow": slow}) as web, connected(web.ports[0]) as (reader, writer):
        ahead = request("/-/healthy", close=False) * 200_000
        writer.write(request("/slow", close=False))
        await reached.wait()
        writer.write(ahead)
        for _ in range(20):
            await get(web)
        left = writer.transport.get_write_buffer_size()
        release.set()
        assert (await read_answer(reader)).text == "done\n"
    assert left > len(ahead) / 2


async def test_a_client_that_says_nothing_is_closed() -> None:
    """A connection without a request does not stay."""
    async with serving(limits=Limits(head=SHORT)) as web, connected(web.ports[0]) as (reader, _):
        assert await closed(reader)


async def test_a_head_that_trickles_is_cut() -> None:
    """A byte now and then does not prolong the deadline of the head."""
    async with serving(limits=Limits(head=4 * SHORT)) as web, connected(web.ports[0]) as (reader, writer):
        sent = 0
        while not await said_something(reader, SHORT / 5):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaa"[sent : sent + 1])
            sent += 1
    assert 2 < sent < 50


async def said_something(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait so long for a byte or the end."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(1) is not None
    except ConnectionError:
        return True
    except TimeoutError:
        return False


async def test_a_trickling_second_head_is_cut_too() -> None:
    """After an answer the next head has to be complete within the time of an idle connection."""
    async with serving(limits=Limits(idle=SHORT)) as web, connected(web.ports[0]) as (reader, writer):
        writer.write(request(close=False))
        await read_answer(reader)
        writer.write(b"G")
        assert await closed(reader)


async def test_half_a_head_behind_a_request_is_cut() -> None:
    """What came while an answer was made counts as the begin of the next head."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def slow(_request: aio.BaseRequest) -> aio.Response:
        reached.set()
        await release.wait()
        return text("done")

    async with (
        serving(limits=Limits(idle=SHORT), routes={"/slow": slow}) as web,
        connected(web.ports[0]) as (reader, writer),
        connected(web.ports[0]) as (other, asking),
    ):
        writer.write(request("/slow", close=False))
        await reached.wait()
        writer.write(b"GET /half")
        asking.write(request(close=False))
        await read_answer(other)  # a round trip: the half has arrived
        release.set()
        assert (await read_answer(reader)).text == "done\n"
        assert await closed(reader)


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    """Keep-alive is for who comes back."""
    async with serving(limits=Limits(idle=SHORT)) as web, connected(web.ports[0]) as (reader, writer):
        for _ in range(3):
            writer.write(request(close=False))
            await read_answer(reader)
        assert await closed(reader)


# Both are more than the kernel holds for a connection, which is up to 4 MB.
@pytest.mark.parametrize("size", [20_000_000, 6_000_000])
async def test_a_client_that_does_not_read_is_cut(size: int) -> None:
    """An answer that is not taken in time ends the connection, and what was unsent is let go."""
    exposition = shown(body=b"x" * size)
    async with serving(limits=Limits(send=SHORT), scrape=lambda _a, _e: exposition) as web:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", web.ports[0]))
        await loop.sock_sendall(client, request())
        # Nothing is read until the server has given up; then less than all is there.
        assert (await get(web, "/-/healthy")).status == 200
        await until(lambda: connections(web.ports[0]) == 0)
        received = 0
        try:
            while data := await loop.sock_recv(client, 1 << 20):
                received += len(data)
        except ConnectionError:
            pass
        client.close()
    assert received < size


def connections(port: int) -> int:
    """Count the established connections of a port, as the kernel sees them from the server's side."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def test_a_body_without_end_is_cut() -> None:
    """Who goes on sending after the answer is read for a moment, then closed."""
    async with (
        serving() as web,
        connected(web.ports[0]) as (reader, writer),
    ):
        writer.write(request("/metrics", "Content-Length: 1000000000", close=False) + b"x")
        assert (await read_answer(reader)).status == 200
        assert await closed(reader)


async def test_at_the_limit_the_oldest_connection_gives_way() -> None:
    """Whoever holds every connection and says nothing does not lock a scraper out."""
    async with serving(limits=Limits(connections=4)) as web, AsyncExitStack() as stack:
        silent = [(await stack.enter_async_context(connected(web.ports[0])))[0] for _ in range(4)]
        assert (await get(web)).status == 200
        assert await closed(silent[0])
        assert not any(reader.at_eof() for reader in silent[1:])


async def test_a_flood_of_connections_leaves_scrapes_answered() -> None:
    """2,000 silent connections against a limit of 64: every scrape in between is answered."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        async with serving(limits=Limits(connections=64)) as web:
            for _ in range(20):
                for _ in range(100):
                    client = stack.enter_context(socket.socket())
                    client.setblocking(False)
                    await loop.sock_connect(client, ("127.0.0.1", web.ports[0]))
                assert (await get(web)).status == 200
            await until(lambda: connections(web.ports[0]) <= 64)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Lower the limit of open files to those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_file_descriptors_it_waits_and_goes_on() -> None:
    """Without descriptors accept pauses, says so, and takes the waiting connection once there are some."""
    async with serving() as web:
        client = socket.socket()
        client.setblocking(False)
        with capture_logs() as logs, no_descriptors_left():
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", web.ports[0]))
            await until(lambda: bool(logs))
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(request())
        assert (await read_answer(reader)).status == 200
        writer.close()
    assert logs == [
        {"event": "cannot accept a connection", "error": "Too many open files", "log_level": "warning"}
    ]


async def test_a_silent_tls_handshake_is_cut(tmp_path: Path) -> None:
    """A client that connects to the TLS port and says nothing, or no TLS, does not stay; it counts too."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: all.pem, key_file: all.pem}\n")
    limits = Limits(head=2 * SHORT, connections=2)
    async with (
        serving(file=tmp_path / "web.yml", limits=limits) as web,
        connected(web.ports[0]) as (silent, _),
        connected(web.ports[0]) as (talker, writer),
        connected(web.ports[0]) as (third, _),
    ):
        writer.write(request())
        for reader in (silent, talker, third):
            assert await closed(reader)
