"""A server under test on real sockets, and a client that says exactly the bytes it is given."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp.web
import bcrypt

from exporter.metrics.exposition import Scrape
from exporter.settings import ListenAddress, WebSettings
from exporter.web.auth import Logins
from exporter.web.server import Web, text

LOOPBACK = ListenAddress(host="127.0.0.1", port=0)
PATIENCE = 30.0  # seconds until a test that hangs fails


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def shown(**changes: Any) -> Scrape:
    """Make an answer of the exposition."""
    given = {"body": b"job_records 1\n", "content_type": "text/plain; version=0.0.4; charset=utf-8"}
    return Scrape(**{**given, **changes})


class Counting:
    """bcrypt, counting how often each password was compared."""

    def __init__(self) -> None:
        self.asked: Counter[bytes] = Counter()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.asked[password] += 1
        return bcrypt.checkpw(password, hashed)


def hashed(password: str) -> str:
    """Hash at the least cost there is: the tests are of the rules, not of the strength."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@asynccontextmanager
async def serving(
    *, file: Path | None = None, telemetry_path: str = "/metrics", verify: Any = None, **given: Any
) -> AsyncIterator[Web]:
    """Serve on a free port of the loopback until the block ends."""
    settings = WebSettings(listen_address=(LOOPBACK,), config_file=file, telemetry_path=telemetry_path)
    given = {"scrape": lambda _accept, _encoding: shown(), "ready": lambda: None, **given}
    given["routes"] = {"/": _landing, **given.get("routes", {})}
    if verify:
        given["logins"] = Logins(verify=verify)
    web = Web(settings, **given)
    await web.start()
    try:
        yield web
    finally:
        await web.stop()


async def _landing(_request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
    return text("the page")


def request(path: str = "/metrics", *headers: str, method: str = "GET", close: bool = True) -> bytes:
    """Write a request; unless told otherwise the server is to close after it."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: exporter",
        *headers,
        *(["Connection: close"] if close else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def connected(
    port: int, tls: ssl.SSLContext | None = None, *, patience: float = PATIENCE
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and cut the connection at the end of the block."""
    async with asyncio.timeout(patience):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """Read one answer; raises IncompleteReadError when the server has closed."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b"" if head_only else await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(status=int(status.split()[1]), headers=headers, body=body)


async def ask(web: Web, raw: bytes, *, tls: ssl.SSLContext | None = None) -> Answer:
    """Send bytes on a connection of their own, and read one answer."""
    async with connected(web.ports[0], tls) as (reader, writer):
        writer.write(raw)
        return await read_answer(reader, head_only=raw.startswith(b"HEAD"))


async def get(web: Web, path: str = "/metrics", *headers: str, **given: Any) -> Answer:
    """GET a path on a connection of its own."""
    return await ask(web, request(path, *headers), **given)


async def closed(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has closed, dropping what it says before."""
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
    return True


def rewrite(path: Path, text: str) -> None:
    """Replace a file as a careful operator does: a new one, moved over the old."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def until(true: Callable[[], bool]) -> None:
    """Let the event loop run until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110, what is waited for has no event of its own
            await asyncio.sleep(0)
