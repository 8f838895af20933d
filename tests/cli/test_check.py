"""`check`: what the table says of platforms of all kinds, and the exit status."""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from rich.console import Console

from exporter.cli.check import Finding, Verdict, _cost, check
from exporter.discovery.tail import PAGE_BYTES
from exporter.jobapi.client import PageCost
from exporter.simulator.dialect import Dialect
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
        date = "" if self.skew is None else f"Date: {formatdate(time() + self.skew, usegmt=True)}\r\n"
        return OK + f"{date}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(platform: Platform) -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(platform.answer(head.split()[1].decode()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def checked(platform: Platform) -> tuple[int, dict[str, str]]:
    """Check a platform; the status, and the lines of the table by what they are about."""
    text = io.StringIO()
    async with serving(platform) as url:
        status = await check(config(url), console=Console(file=text, width=240))
    found = re.findall(r"^(\w[\w ]*?) +(ok|note|bad) +(.*)$", text.getvalue(), re.MULTILINE)
    return status, {what: " ".join(f"{verdict} {rest}".split()) for what, verdict, rest in found}


def world(records: int = 25, *, order: Order = "asc", rowless: int = 0) -> World:
    made = World(order=order)
    for number in range(records):
        rows = number < records - rowless
        record = made.add(RecordSpec(hosts=HOSTS[:2], start=NOW - 60 * (records - number), rows=rows), NOW)
        made.finish(record, "success", NOW)
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
    assert lines["result"] == "ok 2 hosts, 2 expected"


async def test_an_empty_platform_is_no_fault() -> None:
    """There is nothing to look at: status 0, and what to do."""
    status, lines = await checked(Platform(World()))
    assert (status, lines["tail"]) == (0, "note no records nothing to look at: run a job, then check again")


@pytest.mark.parametrize(("skew", "shown"), [(3600.0, "+3"), (-3600.0, "-3")])
async def test_a_wrong_clock_is_noted(skew: float, shown: str) -> None:
    """With its sign; it is no reason to fail."""
    status, lines = await checked(Platform(world(), skew=skew))
    assert status == 0
    assert lines["clock"].startswith(f"note {shown}")
    assert "set both clocks by NTP" in lines["clock"]


async def test_a_platform_without_a_date_is_noted() -> None:
    """Its clock cannot be told."""
    status, lines = await checked(Platform(world(), skew=None))
    assert (status, lines["clock"][:21]) == (0, "note no Date header o")


async def test_invisible_records_are_noted() -> None:
    """Positions of the last page that show nothing."""
    _, lines = await checked(Platform(world(rowless=2)))
    assert lines["visible"].startswith("note 2 of 5 are not")


@pytest.mark.parametrize("records", [1, 2])
async def test_the_order_may_be_unknown_yet(records: int) -> None:
    """With one record, or all of one second."""
    made = World()
    for _ in range(records):
        made.add(RecordSpec(hosts=HOSTS[:1], start=NOW), NOW)
    status, lines = await checked(Platform(made))
    assert (status, lines["order"]) == (0, "note not to be told yet it will be")


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
    assert lines["result"] == "ok 1 hosts, not told expected"


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
        ("page", b"<html>hello</html>", "reachable", "is api.base-url the job API"),
        ("page", b'{"status":"error","message":"invalid user","content":null}', "reachable", "api.username"),
        ("page", b'{"status":"error","message":"db down","content":null}', "reachable", "look at its log"),
        ("record", b"[]", "record", "decode"),
        ("record", b'{"status":"error","message":"record not found","content":null}', "record", "went away"),
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
        (PageCost(seconds=0.1, size=1000), Verdict.OK, ""),
        (PageCost(seconds=2.0, size=1000), Verdict.NOTE, "one at most each 20 s"),
        (PageCost(seconds=0.1, size=PAGE_BYTES + 1), Verdict.NOTE, "records are heavy"),
    ],
)
def test_a_dear_page_is_noted(cost: PageCost, verdict: Verdict, advice: str) -> None:
    """Slow ones are asked seldom, heavy ones smaller."""
    finding: Finding = _cost(page(1, 10, 10), cost)
    assert finding.verdict is verdict
    assert finding.advice.startswith(advice)
    assert bool(finding.advice) == bool(advice)
