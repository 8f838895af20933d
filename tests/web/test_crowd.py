"""Many at once: whose connection gives way, what those who do not read hold, whose turn it is."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import trustme
from aiohttp import web as aio
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.clients import Places, client_of
from exporter.web.listener import Limits
from exporter.web.server import PIECE, Web, text
from tests.harness.web import Answer, closed, connected, get, read_answer, request, serving, shown, until

BIG = shown(body=b"x" * 8_000_000)  # more than the kernel takes for a client that does not read


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_who_is_one_client(address: str, client: str) -> None:
    """An IPv4 address, however it is written, or the 64 bits of an IPv6 address that a customer is given."""
    assert client_of(address) == client


@dataclass(frozen=True, kw_only=True)
class Held:
    served: bool
    since: float


held = st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 9))
places = st.lists(held, min_size=1, max_size=30)


@given(places, st.sampled_from("abcd"))
def test_the_client_with_most_places_loses_one(given: list[tuple[str, bool, int]], newcomer: str) -> None:
    """And of its own the oldest that is not being served, else the one served for longest."""
    taken: Places[int] = Places()
    for number, (client, served, since) in enumerate(given):
        taken.take(number, Held(served=served, since=since), client)
    lost = taken.loser(newcomer)
    share = {one: sum(client == one for client, _, _ in given) + (one == newcomer) for one in "abcd"}
    client, _, since = given[lost]
    assert share[client] == max(share[one] for one, _, _ in given)
    mates = [number for number, each in enumerate(given) if each[0] == client]
    silent = [number for number in mates if not given[number][1]]
    assert lost == min(silent, default=lost)
    assert silent or since == min(given[number][2] for number in mates)
    for number in range(len(given)):
        taken.leave(number)
        taken.leave(number)
        assert len(taken) == len(taken.keys()) == len(given) - number - 1


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


async def test_one_client_takes_places_from_itself_only() -> None:
    """An idle connection of another client outlives any number of connections from one address."""
    async with serving(limits=Limits(connections=8)) as web, AsyncExitStack() as stack:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.ports[0], local_addr=("127.0.0.2", 0))
        stack.callback(writer.transport.abort)
        writer.write(request(close=False))
        await read_answer(reader)
        for _ in range(50):
            await stack.enter_async_context(connected(web.ports[0]))
        assert (await get(web)).status == 200
        writer.write(request())
        assert (await read_answer(reader)).status == 200


async def test_who_has_just_begun_to_be_served_is_the_last_to_be_cut() -> None:
    """Where all share an address and all are being served, the one that has been so longest gives way."""
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
        for writer in (two, one):  # the older connection is served since later
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
async def test_who_does_not_read_makes_us_hold_a_piece_of_the_answer(tls: bool, tmp_path: Path) -> None:
    """Twenty clients that do not read 8 MB each cost a few pieces of memory, not twenty copies."""
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
    assert grown < 20 * 8 * PIECE < len(BIG.body) * 20 / 4


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
