"""The client against real sockets: what only a network can do."""

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import trustme
from aiohttp import web
from pydantic import SecretStr

from exporter.jobapi.client import JobApi
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    TooLargeError,
)
from exporter.jobapi.transport import RENEWAL
from exporter.model import HostResult, HostStatus, Results
from exporter.settings import SettingsError
from tests.harness.recorded import config

ROWS = b'{"status":"success","message":"","content":[{"hostId":"a","idcName":"x","status":"success"}]}'
READ = Results(rows=(HostResult(host_id="a", names=("a",), idc="x", status=HostStatus.SUCCESS),))
LIMIT = 1_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve HTTP on a free port of localhost; give the base URL."""
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    yield f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def speaking(raw: Raw) -> AsyncIterator[str]:
    """Serve bytes as they are on a free port of localhost; give the base URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await raw(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def no_pause(_: float) -> None:
    """Try again at once."""


@asynccontextmanager
async def client(base_url: str, **changes: Any) -> AsyncIterator[JobApi]:
    api = JobApi(config(base_url, **{"max_response_bytes": LIMIT, **changes}), sleep=no_pause)
    try:
        yield api
    finally:
        await api.aclose()


def saying(*pieces: bytes, hang: asyncio.Event | None = None) -> Raw:
    """Send the pieces, then close, or hang until the event."""

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if hang:
            await hang.wait()

    return raw


def dripping(head: bytes, body: bytes, *, pause: float = 0.01) -> Raw:
    """Send the head at once, then the body byte by byte."""

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)

    return raw


async def rows(_: web.Request) -> web.StreamResponse:
    return web.Response(body=ROWS, content_type="application/json")


async def failure(base_url: str, **changes: Any) -> ApiError:
    async with client(base_url, **changes) as api:
        with pytest.raises(ApiError) as caught:
            await api.results("r1")
    return caught.value


@pytest.mark.parametrize("record_id", ["r1", "a b+c&d=e#f?g/h%20i%2F", "语言", '"\n\t\\', "../x", "+"])
async def test_ids_survive_both_libraries(record_id: str) -> None:
    """An id arrives through httpx and aiohttp as one parameter, with the required headers."""
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await rows(request)

    async with serving(handler) as url, client(url) as api:
        assert await api.results(record_id) == READ
    (request,) = seen
    assert dict(request.query) == {"id": record_id}
    assert request.path == "/api/v1/job/record/result"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    assert len(request.headers.getall("User-Agent")) == 1


async def test_a_connection_is_used_again() -> None:
    """Successive requests share one connection."""
    ports = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        ports.add(request.transport.get_extra_info("peername") if request.transport else None)
        return await rows(request)

    async with serving(handler) as url, client(url) as api:
        for _ in range(5):
            await api.results("r1")
    assert len(ports) == 1


async def test_nobody_listens() -> None:
    """A refused connection names the address."""
    with closing(socket()) as idle:
        idle.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{idle.getsockname()[1]}"
        error = await failure(url)
    assert isinstance(error, ConnectError)
    assert url in str(error)
    assert "refused" in str(error)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((), "without an answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Len",), "without an answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b'{"status":"succ'), "cut short"),
        ((CHUNKED, b'5\r\n{"sta\r\n'), "cut short"),
        ((CHUNKED, b"secret\r\n"), "does not speak HTTP"),
        ((b"SSH-2.0-secret\r\n\r\n",), "does not speak HTTP"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",), "does not speak HTTP"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",), "what a proxy adds to the header"),
    ],
)
async def test_a_connection_that_breaks_anywhere(pieces: tuple[bytes, ...], said: str) -> None:
    """A connection closed early, cut short or without HTTP is a ConnectError that says which."""
    async with speaking(saying(*pieces)) as url:
        error = await failure(url)
    assert isinstance(error, ConnectError)
    assert said in str(error)
    assert "secret" not in str(error)


async def test_a_reset_is_tried_again() -> None:
    """A request is retried after a reset connection."""
    resets = 1
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ROWS)}\r\n\r\n".encode()

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        if resets:
            resets -= 1
            writer.transport.abort()
            return
        writer.write(head + ROWS)
        await writer.drain()

    async with speaking(raw) as url, client(url, retries=1) as api:
        assert await api.results("r1") == READ
    assert resets == 0


async def test_a_long_header_line_is_read() -> None:
    """Header lines of many kilobytes, as gateways add them, are read."""
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + f"\r\nContent-Length: {len(ROWS)}\r\n\r\n".encode()
    async with speaking(saying(head, ROWS)) as url, client(url) as api:
        assert await api.results("r1") == READ


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((), "no answer within 0.05 s"),
        ((b"HTTP/1.1 200 OK\r\n",), "no answer within 0.05 s"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",), "the answer stopped for 0.05 s"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b'{"status":'), "the answer stopped for 0.05 s"),
    ],
)
async def test_the_first_byte_and_each_pause_have_a_deadline(pieces: tuple[bytes, ...], said: str) -> None:
    """No response, half a header and half a body all end in a DeadlineError that says what was missing."""
    hang = asyncio.Event()
    async with speaking(saying(*pieces, hang=hang)) as url:
        error = await failure(url, timeout=0.05)
        hang.set()
    assert isinstance(error, DeadlineError)
    assert str(error).startswith(said)


async def test_headers_that_drip_end_too() -> None:
    """A header that arrives byte by byte ends too, because the whole header has a deadline."""
    async with speaking(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000)) as url:
        error = await failure(url, timeout=0.2)
    assert isinstance(error, DeadlineError)


async def test_a_body_that_keeps_coming_has_no_deadline() -> None:
    """A body that arrives slowly for three times the timeout is read to its end."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ROWS)}\r\n\r\n".encode()
    began = asyncio.get_running_loop().time()
    async with speaking(dripping(head, ROWS, pause=0.04)) as url, client(url, timeout=1.0) as api:
        assert await api.results("r1") == READ
    assert asyncio.get_running_loop().time() - began > 3.0


async def test_a_page_may_take_longer_to_begin() -> None:
    """A page may begin after six times the timeout, unless the caller is impatient."""

    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.9)
        return web.Response(body=b'{"list":[],"totalCount":3}')

    async with serving(handler) as url, client(url, timeout=0.5) as api:
        assert (await api.page(1, 1))[0].total == 3
        with pytest.raises(DeadlineError, match=r"within 0.5 s"):
            await api.page(1, 1, patient=False)


async def test_connecting_has_the_timeout_for_pages_too() -> None:
    """Connecting has the plain timeout for pages too, and no record can cause its failure."""
    with closing(socket()) as full, closing(socket()) as first, closing(socket()) as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):  # what comes then gets no answer: the queue is full
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        async with client(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.3) as api:
            with pytest.raises(ConnectError, match="no connection in time") as caught:
                await api.page(1, 1)
    assert not caught.value.may_be_record


async def test_the_cost_of_a_page_begins_with_its_slot() -> None:
    """The cost of a page leaves out the time in our own queue."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/result"):
            await release.wait()
            return await rows(request)
        return web.Response(body=b'{"list":[],"totalCount":3}')

    async with serving(handler) as url, client(url, concurrency=1) as api:
        first = asyncio.create_task(api.results("r1"))
        await asyncio.sleep(0)
        page = asyncio.create_task(api.page(1, 1))
        await asyncio.sleep(1.0)
        release.set()
        _, cost = await page
        await first
    assert cost.seconds < 0.9


async def test_connections_are_made_anew_now_and_then() -> None:
    """Connections are renewed, so that a changed address is noticed; a running response is not cut."""
    now, ports = 0.0, []
    asked, release = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername"))
        if request.query["id"] == "slow":
            asked.set()
            await release.wait()
        return await rows(request)

    async with serving(handler) as url:
        api = JobApi(config(url), monotonic=lambda: now)
        for now in (0.0, RENEWAL - 1):  # noqa: B007  the client's clock
            await api.results("r1")
        assert len(set(ports)) == 1
        slow = asyncio.create_task(api.results("slow"))
        await asked.wait()
        now = RENEWAL
        await api.results("r1")
        assert ports[3] != ports[2] == ports[0]
        release.set()
        assert await slow == READ
        await api.results("r1")
        now += RENEWAL / 2
        await api.results("r1")
        await api.results("r1")
        assert ports[2] == ports[4] != ports[5] == ports[6]
        await api.aclose()


async def test_a_proxy_is_used_where_it_is_set() -> None:
    """The proxy gets its credentials, and nobody else does."""
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ROWS)}\r\n\r\n".encode() + ROWS)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client("http://platform.invalid:6868", proxy_url=SecretStr(address)) as api:
        assert await api.results("r1") == READ
    (head,) = heads
    assert head.startswith(b"GET http://platform.invalid:6868/api/v1/job/record/result?id=r1 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in head


async def test_a_proxy_that_is_not_there_is_named() -> None:
    """An unreachable proxy is named as the cause, without its password."""
    with closing(socket()) as idle:
        idle.bind(("127.0.0.1", 0))
        address = SecretStr(f"http://user:secret@127.0.0.1:{idle.getsockname()[1]}")
        error = await failure("http://platform.invalid:6868", proxy_url=address)
    assert isinstance(error, ConnectError)
    assert "the proxy cannot be reached: check api.proxy-url" in str(error)
    assert "secret" not in str(error)


async def test_waiting_for_a_slot_does_not_count() -> None:
    """The deadline begins when the request is sent, not when it queues."""
    hang = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query["id"] == "slow":
            await hang.wait()
        return await rows(request)

    async with serving(handler) as url, client(url, concurrency=1, timeout=1.0) as api:
        first, second = await asyncio.gather(api.results("slow"), api.results("r1"), return_exceptions=True)
        hang.set()
    assert isinstance(first, DeadlineError)
    assert second == READ


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """Credentials go to the configured origin only."""
    asked: list[web.Request] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return await rows(request)

    async with serving(elsewhere) as other:

        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": f"{other}/x"})

        async with serving(handler) as url:
            error = await failure(url, username="u", password=SecretStr("p"))
    assert isinstance(error, HttpError)
    assert error.status == status
    assert asked == []


async def test_the_environment_configures_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies and netrc of the environment are not used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login u password p\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await rows(request)

    async with serving(handler) as url, client(url) as api:
        assert await api.results("r1") == READ
    assert "Authorization" not in seen[0].headers


async def test_outputs_do_not_count_against_the_limit() -> None:
    """A body far above the limit is read, because outputs are dropped as they arrive."""
    row = b'{"hostId":"a","stdout":"%b","idcName":"x","status":"success"}' % (b"[32mok\\r\\n" * 1000)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"[" + b",".join([row] * 1000) + b"]")

    async with serving(handler) as url, client(url) as api:
        results = await api.results("r1")
    assert results == Results(rows=READ.rows * 1000)


async def test_a_body_without_end_is_cut_at_the_limit() -> None:
    """A chunked body is refused as soon as it exceeds the limit, and its connection is closed."""
    sent = 0

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with speaking(raw) as url:
        assert isinstance(await failure(url), TooLargeError)
    assert LIMIT - 0x20000 < sent < 20 * LIMIT


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_read_though_none_was_asked(
    encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """A compressed body is read, because some proxies compress without being asked."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=compress(ROWS), headers={"Content-Encoding": encoding})

    async with serving(handler) as url, client(url) as api:
        assert await api.results("r1") == READ


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_compressed_body_has_the_same_limit(layers: int) -> None:
    """A compressed body is cut at the limit, and a doubly compressed one is refused."""
    bomb = b" " * 50 * LIMIT
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    encoding = ", ".join(["gzip"] * layers)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    async with serving(handler) as url:
        error = await failure(url)
    assert isinstance(error, TooLargeError if layers == 1 else NotUnderstoodError)


async def test_a_body_that_only_claims_to_be_compressed_is_not_understood() -> None:
    """A body that cannot be decompressed is a NotUnderstoodError that says so."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=ROWS, headers={"Content-Encoding": "gzip"})

    async with serving(handler) as url:
        error = await failure(url)
    assert isinstance(error, NotUnderstoodError)
    assert "decompressed" in str(error)


async def test_after_failures_the_client_still_works() -> None:
    """Failed requests give back their slot and their connection."""
    kinds = iter(["hang", "large", "broken", "fine"] * 3)
    hang = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        kind = next(kinds)
        if kind == "hang":
            await hang.wait()
        if kind == "large":
            return web.Response(body=b" " * (LIMIT + 1))
        return await rows(request) if kind == "fine" else web.Response(status=500)

    async with serving(handler) as url, client(url, concurrency=1, timeout=1.0) as api:
        for expected in (DeadlineError, TooLargeError, HttpError) * 2:
            with pytest.raises(expected):
                await api.results("r1")
            if expected is HttpError:
                assert await api.results("r1") == READ
        hang.set()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def files(folder: Path, authority: trustme.CA, leaf: trustme.LeafCert | None = None) -> dict[str, Path]:
    authority.cert_pem.write_to_path(folder / "ca.pem")
    found = {"ca_file": folder / "ca.pem"}
    if leaf:
        leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        found |= {"cert_file": folder / "cert.pem", "key_file": folder / "key.pem"}
    return found


async def test_tls_with_an_authority_of_ones_own(authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate of the configured authority is trusted."""
    async with (
        serving(rows, server_context(authority)) as url,
        client(url, **files(tmp_path, authority)) as api,
    ):
        assert await api.results("r1") == READ


async def test_tls_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    """A certificate of an unknown authority is refused, and the message names api.ca-file."""
    async with serving(rows, server_context(authority)) as url:
        error = await failure(url)
    assert isinstance(error, ConnectError)
    assert "api.ca-file" in str(error)


async def test_tls_for_another_name_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    """A trusted certificate for another host name is refused."""
    async with serving(rows, server_context(authority, "other.test")) as url:
        error = await failure(url, **files(tmp_path, authority))
    assert isinstance(error, ConnectError)
    assert "the name that the certificate has" in str(error)


async def test_tls_where_none_is_spoken() -> None:
    """An https URL with a plain HTTP port is an error that says so."""
    async with serving(rows) as url:
        error = await failure(url.replace("http:", "https:"))
    assert isinstance(error, ConnectError)
    assert "write http instead of https" in str(error)


async def test_http_where_tls_is_spoken(authority: trustme.CA) -> None:
    """An http URL of an https port fails as a connection or a status, and quotes no credentials."""
    async with serving(rows, server_context(authority)) as url:
        error = await failure(url.replace("https:", "http:"), username="u", password=SecretStr("secret"))
    assert error.reason in {"connect", "http"}
    assert "secret" not in str(error)


async def test_a_client_certificate_is_shown(authority: trustme.CA, tmp_path: Path) -> None:
    """A platform that requires a client certificate gets the configured one, and refuses requests without."""
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    mine = files(tmp_path, authority, authority.issue_cert("exporter@example.org"))
    async with serving(rows, context) as url:
        async with client(url, **mine) as api:
            assert await api.results("r1") == READ
        assert isinstance(await failure(url, ca_file=mine["ca_file"]), ConnectError)


def test_an_encrypted_key_is_refused_instead_of_asked_for(authority: trustme.CA, tmp_path: Path) -> None:
    """An encrypted key is refused, because OpenSSL would ask for its password on a terminal."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (only here)

    mine = files(tmp_path, authority, authority.issue_cert("exporter@example.org"))
    key = serialization.load_pem_private_key(mine["key_file"].read_bytes(), password=None)
    mine["key_file"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(SettingsError, match="encrypted"):
        JobApi(config("https://platform.test", **mine))
