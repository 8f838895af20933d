"""`check`: what the table says of platforms of all kinds, and the exit status."""

import asyncio
import io
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import trustme
from rich.console import Console

from exporter.cli import check as command
from exporter.cli import findings
from exporter.cli.check import examine
from exporter.cli.findings import Finding
from exporter.jobapi.client import PageCost
from exporter.model import ExecuteStatus, PageItem, Record
from exporter.simulator.dialect import Answer, Dialect, Endpoint
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order, World
from tests.harness.core import HOSTS, NOW, page
from tests.harness.recorded import config

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


@dataclass
class Platform:
    """A platform that answers one request a connection; `odd` answers in its place where it gives bytes."""

    world: World
    dialect: Dialect = field(default_factory=ObservedDialect)
    skew: float | None = 0.0  # of its Date header; None: it has none
    odd: Callable[[str, dict[str, str]], bytes | None] = lambda _endpoint, _query: None

    def answer(self, target: str) -> bytes:
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        endpoint = {"page": "page", "record": "record", "result": "result"}[url.path.rpartition("/")[2]]
        if (odd := self.odd(endpoint, query)) is not None:
            return odd
        body = self.dialect.answer(self.world, endpoint, query).body  # type: ignore[arg-type]
        date = "" if self.skew is None else f"Date: {formatdate(NOW + self.skew, usegmt=True)}\r\n"
        return OK + f"{date}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(platform: Platform, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            head = await reader.read(65536)
            is_http = head.startswith(b"GET ")
            writer.write(platform.answer(head.split()[1].decode()) if is_http else b"HTTP/1.1 400 No\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def checked(platform: Platform, *, page_size: int = 500) -> tuple[int, dict[str, str]]:
    """Check a platform; the status, and the lines of the table by what they are about."""
    async with serving(platform) as url:
        return await checked_at(url, page_size=page_size)


async def checked_at(url: str, *, page_size: int = 500, **changes: object) -> tuple[int, dict[str, str]]:
    """The same of whatever is at this address."""
    text = io.StringIO()
    status = await examine(
        config(url, page_size=page_size, duty=0.2, **changes),
        console=Console(file=text, width=240),
        wall=lambda: NOW,
    )
    found = re.findall(r"^(\w[\w ]*?) +(ok|note|bad) +(.*)$", text.getvalue(), re.MULTILINE)
    return status, {what: " ".join(f"{verdict} {rest}".split()) for what, verdict, rest in found}


def world(records: int = 25, *, order: Order = "asc", rowless: int = 0, now: float = NOW) -> World:
    made = World(order=order)
    for number in range(records):
        rows = number < records - rowless
        record = made.add(RecordSpec(hosts=HOSTS[:2], start=now - 60 * (records - number), rows=rows), now)
        made.finish(record, "success", now)
    return made


@pytest.mark.parametrize(("order", "told"), [("asc", "oldest first"), ("desc", "newest first")])
@pytest.mark.parametrize("dialect", [ObservedDialect(), DocumentedDialect(items="rows")])
async def test_a_good_platform_has_nothing_but_good_lines(order: Order, told: str, dialect: Dialect) -> None:
    """Each endpoint in either dialect and order: status 0."""
    status, lines = await checked(Platform(world(order=order), dialect=dialect))
    assert status == 0
    assert lines["reachable"].startswith("ok answers in ")
    assert lines["credentials"] == "ok accepted for pages"
    assert lines["records"] == "ok 25"
    assert lines["clock"].startswith("ok ")
    assert lines["order"] == f"ok {told}"
    assert lines["visible"] == "ok all 5 of the last page"
    assert lines["record"] == "ok understood, done"
    assert lines["times"].startswith("ok the newest are ")
    assert lines["result"] == "ok 2 hosts, 2 expected"


async def test_an_empty_platform_is_no_fault() -> None:
    """There is nothing to look at: status 0, and what to do."""
    status, lines = await checked(Platform(World()))
    assert (status, lines["tail"]) == (0, "note no records nothing to check: run a job, then check again")


@pytest.mark.parametrize(("skew", "shown"), [(3600.0, "+3"), (-3600.0, "-3")])
async def test_a_wrong_clock_is_noted(skew: float, shown: str) -> None:
    """With its sign; it is no reason to fail."""
    status, lines = await checked(Platform(world(now=NOW + skew), skew=skew))
    assert status == 0
    assert lines["clock"].startswith(f"note {shown}")
    assert "synchronise both clocks with NTP" in lines["clock"]


async def test_a_platform_without_a_date_is_noted() -> None:
    """Its clock cannot be told."""
    status, lines = await checked(Platform(world(), skew=None))
    assert (status, lines["clock"][:21]) == (0, "note no Date header o")


async def test_invisible_records_are_noted() -> None:
    """Positions of the last page that show nothing."""
    _, lines = await checked(Platform(world(rowless=2)))
    assert lines["visible"].startswith("note 2 of 5 of the last page are not")


async def test_a_wait_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error, while the platform has not answered yet."""
    monkeypatch.setattr(command, "PATIENCE", 0.0)
    status, _ = await checked(Platform(world()))
    assert status == 0
    assert capsys.readouterr().err == f"{command.WAITING}\n"


@pytest.mark.parametrize("records", [1, 2])
async def test_the_order_may_be_unknown_yet(records: int) -> None:
    """With one record, or all of one second."""
    made = World()
    for _ in range(records):
        made.add(RecordSpec(hosts=HOSTS[:1], start=NOW), NOW)
    status, lines = await checked(Platform(made))
    assert (status, lines["order"]) == (0, "note unknown yet the exporter finds it when newer records arrive")


async def test_where_nothing_is_visible_nothing_is_looked_up() -> None:
    """No id is known; the rest of the table stands."""
    status, lines = await checked(Platform(world(3, rowless=3)))
    assert status == 0
    assert "record" not in lines
    assert lines["visible"].startswith("note 3 of 3")


async def test_unknown_values_are_noted() -> None:
    """By field, and where they are counted."""
    made = World()
    record = made.add(RecordSpec(hosts=HOSTS[:1], hosts_listed=False), NOW)
    made.finish(record, "exploded", NOW)
    status, lines = await checked(Platform(made))
    assert status == 0
    assert lines["record"].startswith("note unknown values in result_status")
    assert lines["result"] == "ok 1 hosts, an unknown number expected"


def failing(
    endpoint: str, body: bytes, *, tail_only: bool = False
) -> Callable[[str, dict[str, str]], bytes | None]:
    def odd(asked: str, query: dict[str, str]) -> bytes | None:
        if asked != endpoint or (tail_only and query.get("pageSize") == "1"):
            return None
        return OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body

    return odd


@pytest.mark.parametrize(
    ("endpoint", "body", "line", "said"),
    [
        ("page", b"<html>hello</html>", "reachable", "check that api.base-url is the job API"),
        ("page", b'{"status":"error","message":"invalid user","content":null}', "reachable", "api.username"),
        ("page", b'{"status":"error","message":"db down","content":null}', "reachable", "check its log"),
        ("record", b"[]", "record", "decode"),
        (
            "record",
            b'{"status":"error","message":"record not found","content":null}',
            "record",
            "record was deleted",
        ),
        ("result", b'{"status":"success","message":"","content":7}', "result", "decode"),
        ("result", b" " * 2_000_000, "result", "raise api.max-response-bytes"),
    ],
)
async def test_what_is_bad_is_said_with_advice(endpoint: str, body: bytes, line: str, said: str) -> None:
    """Status 1; what was found good before stays in the table."""
    status, lines = await checked(Platform(world(), odd=failing(endpoint, body)))
    assert status == 1
    assert lines[line].startswith("bad ")
    assert said in lines[line]
    assert (endpoint == "page") == ("records" not in lines)


async def test_a_last_page_that_fails_is_bad() -> None:
    """The first page was read, the newest cannot be: nothing would be counted."""
    status, lines = await checked(Platform(world(), odd=failing("page", b"oops", tail_only=True)))
    assert (status, lines["last page"][:4]) == (1, "bad ")
    assert lines["records"] == "ok 25"


@pytest.mark.parametrize(
    ("cost", "verdict", "advice"),
    [
        (PageCost(seconds=0.1, size=1000), "ok", ""),
        (PageCost(seconds=2.0, size=1000), "note", "one page each 10 s (api.duty 0.2)"),
        (PageCost(seconds=0.1, size=4001), "note", "records are large"),
    ],
)
def test_a_dear_page_is_noted(cost: PageCost, verdict: str, advice: str) -> None:
    """Slow ones are asked seldom, heavy ones smaller."""
    finding: Finding = findings.cost(page(1, 10, 10), cost, duty=0.2, page_bytes=4000)
    assert finding.verdict == verdict
    assert finding.advice.startswith(advice)
    assert bool(finding.advice) == bool(advice)


def altered(
    change: Callable[[bytes], bytes], *endpoints: str
) -> Callable[[str, dict[str, str]], bytes | None]:
    """Answer as a good platform would, but for its body; the newest record ended just now."""
    good = Platform(world())

    def odd(endpoint: str, query: dict[str, str]) -> bytes | None:
        if endpoint not in endpoints:
            return None
        body = change(good.dialect.answer(good.world, endpoint, query).body)  # type: ignore[arg-type]
        date = formatdate(NOW, usegmt=True)
        return OK + f"Date: {date}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return odd


def replacing(pattern: str, by: str) -> Callable[[bytes], bytes]:
    return lambda body: re.sub(pattern.encode(), by.encode(), body)


TIME = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)"'


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (replacing(r'"TotalCount":\s*\d+', '"Total":25'), "reachable", "a page without totalCount"),
        (
            replacing(r'"TotalCount":\s*\d+', '"TotalCount":NaN'),
            "reachable",
            "malformed JSON: invalid character",
        ),
        (replacing(TIME, '"23.11.26 10h"'), "times", "start_time and end_time in an unknown format"),
        (replacing(TIME, '""'), "times", "the newest record has no start"),
        (replacing('"end_?[tT]ime": *' + TIME, '"endTime":""'), "times", "the newest record has no end"),
        (replacing(r'"(id|recordId)": *"', r'"\1":"' + "x" * 60), "visible", "have no id of at most 64"),
    ],
    ids=["no total", "NaN", "format", "no times", "no end", "long ids"],
)
async def test_what_would_be_miscounted_fails(change: Callable[[bytes], bytes], line: str, said: str) -> None:
    """A platform that answers well, but in a way that records or times are lost."""
    status, lines = await checked(Platform(world(), odd=altered(change, "page", "record")))
    assert status == 1
    assert lines[line].startswith("bad ")
    assert said in lines[line]


async def test_ids_may_be_numbers() -> None:
    """They are read as text, also where a record is looked up by one."""
    numbered = replacing(r'"(id|recordId)": *"[^"]*"', r'"\1":77')
    good = Platform(world(1))

    def odd(endpoint: str, query: dict[str, str]) -> bytes:
        if query.get("id") == "77":
            query = {"id": good.world.page(1, 1).records[0].id}
        head, _, body = good.answer(f"/{endpoint}?{urlencode(query)}").partition(b"\r\n\r\n")
        return re.sub(rb"Content-Length: \d+", b"X: y", head) + b"\r\n\r\n" + numbered(body)

    status, lines = await checked(Platform(good.world, odd=odd))
    assert (status, lines["record"]) == (0, "ok understood, done")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (-8 * 3600.0, "8 h ahead of the platform's clock"),
        (-310.0, "5 min 10 s ahead"),
        (-290.0, ""),
        (0.0, ""),
        (1000.0, ""),
        (8 * 3600.0 + 100.0, "8 h 1 min behind the platform's clock, as if from another time zone"),
        (5.5 * 3600.0, "5 h 30 min behind"),
        (8 * 3600.0 + 600.0, ""),
        (26 * 3600.0, ""),
        (1e6, ""),
    ],
)
@pytest.mark.parametrize("by", ["start", "end", "page"])
def test_times_are_those_of_the_platforms_clock(age: float, said: str, by: str) -> None:
    """In the future they can't be; whole half hours behind they hardly are. Idle for long is no fault."""
    old = min(NOW - age, NOW - 1e6)
    start, end = (NOW - age if by == one else old for one in ("start", "end"))
    read = Record(id="a", execute_status=ExecuteStatus.DONE, start=start, end=end)
    shown = [PageItem(id="a", start=NOW - age if by == "page" else None)]
    found = findings.times(read, shown, now=NOW)
    assert found.is_bad == bool(said)
    assert said in found.found
    assert ("api.timezone" in found.advice) == bool(said)


async def test_a_wrong_zone_fails() -> None:
    """Times of the platform without a zone, hours away from what `api.timezone` says."""
    local = replacing(TIME, f'"{datetime.fromtimestamp(NOW - 30 + 8 * 3600, UTC):%Y-%m-%d %H:%M:%S}"')
    status, lines = await checked(Platform(world(), odd=altered(local, "page", "record")))
    assert (status, lines["times"][:4]) == (1, "bad ")
    assert "set api.timezone" in lines["times"]


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_platform_that_caps_its_pages_fails(is_told: bool) -> None:
    """Whether it says so, or only shows less: pages would be read with gaps."""

    class Capping(ObservedDialect):
        def answer(self, world: World, endpoint: Endpoint, query: Mapping[str, str]) -> Answer:
            size = int(query.get("pageSize", "1"))
            answer = super().answer(world, endpoint, {**query, "pageSize": str(min(size, 20))})
            body = answer.body if is_told else answer.body.replace(b'"PageSize":20', b'"PageSize":%d' % size)
            return replace(
                answer, body=body.replace(b'"PageCount":3', b'"PageCount":1') if not is_told else body
            )

    status, lines = await checked(Platform(world(60), dialect=Capping()))
    assert status == 1
    assert lines["page size"].startswith("bad ")
    assert "set api.page-size to 20" in lines["page size"]
    assert (await checked(Platform(world(60), dialect=Capping()), page_size=20))[0] == 0


async def test_invisible_records_are_no_capped_page() -> None:
    """Pages may show less than was asked for because records have no rows."""
    status, lines = await checked(Platform(world(60, rowless=45)))
    assert status == 0
    assert "page size" not in lines


async def test_the_newest_record_is_looked_at_in_either_order() -> None:
    """Its times are compared with the clock: the oldest say nothing of a zone."""
    made = world(order="desc")
    asked: list[str] = []

    def noting(endpoint: str, query: dict[str, str]) -> bytes | None:
        asked.extend([query["id"]] if endpoint == "record" else [])
        return None

    await checked(Platform(made, odd=noting))
    assert asked == [made.page(1, 1).records[0].id]


@pytest.mark.parametrize(
    ("answer", "found", "advice"),
    [
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "http: HTTP 304", "a cache between"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP", "check the port in api.base-url"),
    ],
)
async def test_what_answers_otherwise_is_named(answer: bytes, found: str, advice: str) -> None:
    """The true cause, and one advice."""
    status, lines = await checked(Platform(world(), odd=lambda _endpoint, _query: answer))
    assert status == 1
    assert found in lines["reachable"]
    assert advice in lines["reachable"]


async def test_https_to_a_plain_port_has_one_advice() -> None:
    """That it speaks no TLS."""
    async with serving(Platform(world())) as url:
        status, lines = await checked_at(url.replace("http:", "https:"))
    assert status == 1
    assert "write http instead of https" in lines["reachable"]
    assert "firewall" not in lines["reachable"]


async def test_an_untrusted_certificate_has_one_advice() -> None:
    """About certificates, not about networks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with serving(Platform(world()), context) as url:
        status, lines = await checked_at(url.replace("http:", "https:").replace("127.0.0.1", "localhost"))
    assert status == 1
    assert "set api.ca-file" in lines["reachable"]
    assert "firewall" not in lines["reachable"]
