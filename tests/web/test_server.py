"""What is served where: paths, methods, headers, addresses, the start and the stop."""

import asyncio
import gzip
import socket
import time
from typing import Any

import pytest
from aiohttp import web as aio
from structlog.testing import capture_logs

from exporter.metrics.exposition import Exposition, Scrape
from exporter.model import Snapshot
from exporter.settings import ListenAddress, WebSettings
from exporter.web.config import WebError
from exporter.web.connections import Limits
from exporter.web.server import Web, text
from tests.harness.web import ask, closed, connected, get, read_answer, request, serving, shown

PATHS = ("/metrics", "/", "/-/healthy", "/-/ready")


def plain(*addresses: str) -> Web:
    listen = [address.rpartition(":") for address in addresses]
    settings = WebSettings(
        listen_address=tuple(ListenAddress(host=host.strip("[]"), port=int(port)) for host, _, port in listen)
    )
    return Web(settings, scrape=lambda _accept, _encoding: shown(), ready=lambda: None)


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_answers_get_and_head_alike(path: str) -> None:
    """HEAD gives the status and headers of GET, the length included, and no body."""
    async with serving() as web:
        got = await get(web, path)
        async with connected(web.ports[0]) as (reader, writer):
            writer.write(request(path, method="HEAD"))
            head = await read_answer(reader, head_only=True)
            assert await reader.read() == b""
    assert got.status == head.status == 200
    assert {**got.headers, "date": ""} == {**head.headers, "date": ""}
    assert int(head.headers["content-length"]) == len(got.body) > 0


async def test_a_scrape_passes_on_what_was_negotiated() -> None:
    """The two Accept headers reach the exposition, doubled ones joined; its type and encoding are sent."""
    asked: list[tuple[str, str]] = []

    def scrape(accept: str, encoding: str) -> Scrape:
        asked.append((accept, encoding))
        return shown(body=b"zipped", content_type="application/openmetrics-text", content_encoding="gzip")

    async with serving(scrape=scrape) as web:
        answer = await get(web, "/metrics", "Accept: a/b;q=0.5", "Accept: */*", "Accept-Encoding: gzip")
        await get(web)
    assert asked == [("a/b;q=0.5, */*", "gzip"), ("", "")]
    assert answer.body == b"zipped"
    assert answer.headers["content-type"] == "application/openmetrics-text"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


async def test_the_real_exposition_is_served_as_it_negotiates() -> None:
    """What the exposition chooses, type and gzip, arrives so."""
    exposition = Exposition()
    exposition.show(Snapshot())

    def scrape(accept: str, encoding: str) -> Scrape:
        return exposition.scrape(accept=accept, accept_encoding=encoding)

    async with serving(scrape=scrape) as web:
        plain_text = await get(web)
        openmetrics = await get(
            web, "/metrics", "Accept: application/openmetrics-text;version=1.0.0", "Accept-Encoding: gzip"
        )
    assert plain_text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain_text.body == scrape("", "").body
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(openmetrics.body).endswith(b"# EOF\n")


async def test_readiness_gives_the_reason_and_health_does_not_depend_on_it() -> None:
    """Not ready is 503 with the reason in plain text; the process is healthy all the same."""
    reasons: list[str | None] = ["the first poll is not done"]
    async with serving(ready=lambda: reasons[-1]) as web:
        not_yet, healthy = await get(web, "/-/ready"), await get(web, "/-/healthy")
        reasons.append(None)
        ready = await get(web, "/-/ready")
    assert (not_yet.status, not_yet.text) == (503, "not ready: the first poll is not done\n")
    assert not_yet.headers["content-type"].startswith("text/plain")
    assert (healthy.status, healthy.text) == (200, "healthy\n")
    assert (ready.status, ready.text) == (200, "ready\n")


@pytest.mark.parametrize(
    "path",
    [
        "/metric", "/metrics/", "/METRICS", "//metrics", "/./metrics", "/-/../metrics", "/../metrics",
        "/%6detrics", "/metrics%2f", "/metrics%00", "/metrics;x", "/-%2fhealthy", "/-/", "/-", "//", "*",
        "http:///metric", "http://exporter//metrics",
    ],
)  # fmt: skip
async def test_any_other_spelling_of_a_path_is_unknown(path: str) -> None:
    """Paths are compared byte for byte: no trick of slashes, dots or escapes reaches one."""
    async with serving() as web:
        assert (await get(web, path)).status in (404, 400)  # 400: not even a request target


@pytest.mark.parametrize(
    "path", ["/metrics?name[]=a", "http://exporter/metrics", "https://e:1/metrics?x", "/?"]
)
async def test_a_query_is_ignored_and_a_whole_url_understood(path: str) -> None:
    """A query changes nothing, and a proxy may put the whole URL into the request line."""
    async with serving() as web:
        assert (await get(web, path)).status == 200
        assert (await get(web, "http://exporter")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", PATHS)
async def test_another_method_is_told_which_are_allowed(method: str, path: str) -> None:
    """405 with Allow, on every path."""
    async with serving() as web:
        answer = await ask(web, request(path, method=method))
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_connect_and_upgrade_lead_nowhere() -> None:
    """The server is no proxy, and speaks nothing but HTTP/1."""
    async with serving() as web:
        assert (await ask(web, b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n")).status in (400, 404)
        upgrade = await get(web, "/metrics", "Upgrade: websocket", "Connection: Upgrade")
    assert (upgrade.status, upgrade.body) == (200, shown().body)


@pytest.mark.parametrize(
    "raw", [request(), request("/"), request("/no"), request(method="POST"), b"GARBAGE\r\n\r\n"]
)
async def test_every_answer_has_the_security_headers_and_no_banner(raw: bytes) -> None:
    """Whatever the status, the page cannot be framed, sniffed or scripted, and no library is named."""
    async with serving() as web:
        answer = await ask(web, raw)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "deny"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["server"] == "job-exporter"


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", request("/", "X: <canary>\x01")]
)
async def test_what_is_no_http_gets_a_short_400(raw: bytes) -> None:
    """The answer quotes nothing of the request, nothing is logged, and the connection is closed."""
    async with serving() as web:
        with capture_logs() as logs:
            async with connected(web.ports[0]) as (reader, writer):
                writer.write(raw + b"\r\n\r\n")
                answer = await read_answer(reader)
                assert await closed(reader)
    assert (answer.status, answer.text) == (400, "Bad Request\n")
    assert logs == []


async def test_a_failing_handler_is_one_500_and_one_line() -> None:
    """A fault of ours tells the client nothing of it, is logged, and the next request is answered."""

    def broken() -> str | None:
        raise RuntimeError("canary")

    async with serving(ready=broken) as web:
        with capture_logs() as logs:
            failed = await get(web, "/-/ready", "Authorization: Basic secret")
        assert (await get(web)).status == 200
    assert (failed.status, failed.text) == (500, "Internal Server Error\n")
    assert [(line["event"], line["path"]) for line in logs] == [("request failed", "/-/ready")]
    assert "secret" not in str(logs)


async def test_further_routes_can_be_given() -> None:
    """A page brings its own policy; further routes stand under the same rules and keep their headers."""

    async def landing(_request: aio.BaseRequest) -> aio.Response:
        return text("hello", headers={"Content-Security-Policy": "default-src 'self'"})

    async def failures(_request: aio.BaseRequest) -> aio.Response:
        return text("[]", headers={"Cache-Control": "max-age=5"})

    async with serving(routes={"/": landing, "/failures.json": failures}) as web:
        page, more = await get(web, "/"), await get(web, "/failures.json")
        refused = await ask(web, request("/failures.json", method="POST"))
    assert (page.text, page.headers["content-security-policy"]) == ("hello\n", "default-src 'self'")
    assert (more.text, more.headers["cache-control"]) == ("[]\n", "max-age=5")
    assert more.headers["x-frame-options"] == "deny"
    assert refused.status == 405


async def test_the_telemetry_path_can_be_chosen() -> None:
    """Metrics are at the chosen path only."""
    async with serving(telemetry_path="/probe/metrics") as web:
        assert (await get(web, "/probe/metrics")).body == shown().body
        assert (await get(web, "/metrics")).status == 404


async def test_several_addresses_serve_the_same() -> None:
    """Each address has its port, in order; all interfaces means IPv4 and, where there is one, IPv6."""
    web = plain("127.0.0.1:0", ":0", "localhost:0", *(["[::1]:0"] if socket.has_dualstack_ipv6() else []))
    assert list(web.ports) == []
    await web.start()
    try:
        assert len(set(web.ports)) == len(web.ports) >= 3
        for port in web.ports[:3]:
            async with connected(port) as (reader, writer):
                writer.write(request())
                assert (await read_answer(reader)).body == shown().body
    finally:
        await web.stop()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("192.0.2.1:0", "192.0.2.1:0: .*assign"),
        ("no-such-host.invalid:0", "host name"),
    ],
)
async def test_an_address_that_cannot_be_is_refused(address: str, message: str) -> None:
    """One line names the address and what is wrong, and the addresses before it are given back."""
    web = plain("127.0.0.1:0", address)
    with pytest.raises(WebError, match=message) as raised:
        await web.start()
    assert address in str(raised.value)
    assert "\n" not in str(raised.value)
    assert web.ports == ()
    await web.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
async def test_a_port_in_use_is_named(host: str) -> None:
    """The error says which address, and what to do."""
    first = plain(f"{host}:0")
    await first.start()
    address = f"{host}:{first.ports[0]}"
    second = plain(address)
    with pytest.raises(WebError, match=f"cannot listen on {address}: the port is in use"):
        await second.start()
    await first.stop()
    await second.start()
    await second.stop()


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent at once are answered one after the other, each by its own path."""
    paths = ["/metrics", "/-/healthy", "/no", "/-/ready"] * 25
    async with serving() as web, connected(web.ports[0]) as (reader, writer):
        writer.write(b"".join(request(path, close=False) for path in paths))
        answers = [(await read_answer(reader)).text for _ in paths]
    assert answers == [shown().body.decode(), "healthy\n", "Not found\n", "ready\n"] * 25


@pytest.mark.parametrize("size", [0, 10, 30_000])
async def test_a_body_is_ignored_and_the_connection_goes_on(size: int) -> None:
    """A body on GET changes nothing, though it claims to be packed; the next request is answered."""
    body = f"Content-Length: {size}"
    async with serving() as web, connected(web.ports[0]) as (reader, writer):
        for _ in range(2):
            writer.write(request("/metrics", body, "Content-Encoding: gzip", close=False) + b"x" * size)
            assert (await read_answer(reader)).body == shown().body


async def test_parallel_scrapes_are_all_equal() -> None:
    """500 clients at once get the same bytes."""
    exposition = shown(body=b"job_records 1\n" * 5_000)
    async with serving(scrape=lambda _accept, _encoding: exposition) as web:
        answers = await asyncio.gather(*(get(web) for _ in range(500)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, exposition.body)}


async def test_the_stop_is_quick_with_connections_open() -> None:
    """Keep-alive, silent, half-said and not-reading connections do not hold the stop for two seconds."""
    big = shown(body=b"x" * 20_000_000)
    async with serving(scrape=lambda _accept, _encoding: big) as web:
        async with (
            connected(web.ports[0]) as (kept, keeper),
            connected(web.ports[0]) as (silent, _),
            connected(web.ports[0]) as (half, halver),
            connected(web.ports[0]) as (slow, not_reading),
        ):
            keeper.write(request("/-/healthy", close=False))
            await read_answer(kept)
            halver.write(b"GET / HT")
            not_reading.write(request())
            await slow.readexactly(1)
            began = time.monotonic()
            await web.stop()
            assert time.monotonic() - began < 2.0
            for reader in (kept, silent, half, slow):
                assert await closed(reader)
        assert web.ports == ()


async def test_an_answer_under_way_is_finished_at_the_stop() -> None:
    """A request that is being handled when the stop comes still gets its answer, then the connection ends."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def slow(_request: aio.BaseRequest) -> aio.Response:
        reached.set()
        await release.wait()
        return text("done")

    async with (
        serving(routes={"/slow": slow}, limits=Limits(stop=5.0)) as web,
        connected(web.ports[0]) as (reader, writer),
    ):
        writer.write(request("/slow", close=False))
        await reached.wait()
        stopping = asyncio.create_task(web.stop())
        release.set()
        assert (await read_answer(reader)).text == "done\n"
        assert await closed(reader)
        await stopping


async def test_reload_without_a_file_changes_nothing(tmp_path: Any) -> None:
    """SIGHUP without a file is harmless."""
    web = plain("127.0.0.1:0")
    await web.start()
    assert web.reload() is True
    assert (await get(web)).status == 200
    await web.stop()
