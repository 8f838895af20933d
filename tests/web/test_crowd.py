"""Many at once: whose connection gives way, what those who do not read hold, whose turn it is."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trustme
from aiohttp import web as aio

from exporter.web.connections import Limits
from exporter.web.server import Web, text
from tests.harness.web import Answer, closed, connected, get, read_answer, request, serving, shown, until

BIG = shown(body=b"x" * 8_000_000)  # more than the kernel takes for a client that does not read


async def dialled(port: int, source: str = "127.0.0.1") -> socket.socket:
    """Connect from an address of the loopback, with hardly any room for what comes back."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    client.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


@asynccontextmanager
async def not_reading(web: Web, number: int, source: str = "127.0.0.1") -> AsyncIterator[list[socket.socket]]:
    """Hold so many connections that ask for the metrics and do not read them."""
    clients = []
    try:
        for _ in range(number):
            clients.append(await dialled(web.ports[0], source))
            await asyncio.get_running_loop().sock_sendall(clients[-1], request())
        yield clients
    finally:
        for client in clients:
            client.close()


async def asked_from(web: Web, source: str, raw: bytes) -> Answer:
    """Send a request from an address of the loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.ports[0], local_addr=(source, 0))
    writer.write(raw)
    try:
        return await read_answer(reader)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
async def test_slow_readers_in_every_place_lock_nobody_out(source: str) -> None:
    """While all places are taken by clients that do not read, each scrape is answered, whole."""
    async with (
        serving(limits=Limits(connections=8), scrape=lambda _a, _e: BIG) as web,
        not_reading(web, 40, source="127.0.0.1"),
    ):
        for _ in range(5):
            assert (await asked_from(web, source, request())).body == BIG.body


async def test_who_has_just_begun_to_be_served_is_the_last_to_be_cut() -> None:
    """Where all are being served, the connection whose request came first gives way."""
    reached, release = asyncio.Semaphore(0), asyncio.Event()

    async def slow(_request: aio.BaseRequest) -> aio.Response:
        reached.release()
        await release.wait()
        return text("done")

    async with (
        serving(limits=Limits(connections=2), routes={"/slow": slow}) as web,
        connected(web.ports[0]) as (first, one),
        connected(web.ports[0]) as (second, two),
    ):
        for writer in (two, one):  # the older connection is the later one to ask
            writer.write(request("/slow"))
            await reached.acquire()
        assert (await get(web)).status == 200
        assert await closed(second)
        release.set()
        assert (await read_answer(first)).text == "done\n"


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Make the TLS side of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("tls", [False, True])
async def test_who_does_not_read_makes_us_hold_a_part_of_the_answer(tls: bool, tmp_path: Path) -> None:
    """Twenty clients that do not read 8 MB each cost a few buffers of memory, not twenty copies."""
    file, context = None, None
    if tls:
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
        file = tmp_path / "web.yml"
        file.write_text("tls_server_config: {cert_file: all.pem, key_file: all.pem}\n")
        context = trusting(authority)
    asked = 0

    def scrape(_accept: str, _encoding: str) -> object:
        nonlocal asked
        asked += 1
        return BIG

    async with serving(file=file, scrape=scrape) as web, AsyncExitStack() as stack:
        before = psutil.Process().memory_info().rss
        for _ in range(20):
            _, writer = await stack.enter_async_context(connected(web.ports[0], context))
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # not even into our own buffer
            writer.write(request())
        await until(lambda: asked == 20)
        assert (await get(web, "/-/healthy", tls=context)).status == 200
        grown = psutil.Process().memory_info().rss - before
    assert grown < 20 * 16 * Limits().buffer < len(BIG.body) * 20 / 4


async def test_pipelined_requests_wait_for_their_turn() -> None:
    """However many requests lie ahead on one connection, others are answered between any two of them."""
    served = 0

    async def counted(_request: aio.BaseRequest) -> aio.Response:
        nonlocal served
        served += 1
        return text("x")

    async with serving(routes={"/x": counted}) as web, connected(web.ports[0]) as (_, writer):
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        await until(lambda: served > 0)
        while (before := served) < 1_000:
            await asyncio.sleep(0)
            assert served <= before + 1
