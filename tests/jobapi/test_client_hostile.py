"""A platform that means no good: what it sends ends as a documented error, in bounded time and memory."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from exporter.jobapi.client import JobApi
from exporter.jobapi.errors import (
    ConnectError,
    CredentialsError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    TooLargeError,
)
from exporter.settings import SettingsError
from tests.harness.recorded import config
from tests.jobapi.test_client_socket import (
    CHUNKED,
    LIMIT,
    READ,
    ROWS,
    Raw,
    client,
    failure,
    rows,
    serving,
    speaking,
)

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 2\r\n\r\n[]"
A_KB = b"400\r\n" + b" " * 1024 + b"\r\n"  # as a chunk
FAILED = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MUCH = 16 << 20  # bytes that a request may hold above its limit: what a piece of 16 KB unpacks to


def endless(first: bytes, piece: bytes) -> Raw:
    """Send a beginning, then the same piece again and again."""

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(piece * (1 + 1000 // len(piece)))
            await writer.drain()

    return raw


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (endless(OK, b"X-Header: x\r\n"), ConnectError),
        (endless(OK + b"X: ", b"x"), ConnectError),
        (endless(b"HTTP/1.1 200 ", b"x"), ConnectError),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), DeadlineError),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), DeadlineError),
        (endless(CHUNKED + b"5;", b"x"), DeadlineError),
        (endless(CHUNKED + b"0\r\n", b"X-Trailer: x\r\n"), ConnectError),
        (endless(CHUNKED, A_KB), TooLargeError),
        (endless(OK + b"\r\n", b" "), TooLargeError),
        (endless(FAILED, A_KB), TooLargeError),
        (endless(b"", b"junk of HTTP/0.9"), ConnectError),
        (endless(UPGRADED, b"x"), HttpError),
    ],
    ids=[
        "headers", "header", "reason", "continue", "hints", "extension", "trailers", "chunks", "body",
        "error", "junk", "upgrade",
    ],
)  # fmt: skip
async def test_what_has_no_end_is_ended(raw: Raw, error: type[Exception]) -> None:
    """A response without end is stopped by the size limit or the deadline, and little of it is held."""
    tracemalloc.start()
    try:
        async with speaking(raw) as url:
            # Only what nothing else ends waits for the deadline: a limit may take a slow machine longer.
            deadline = 0.5 if error is DeadlineError else 30.0
            assert isinstance(await failure(url, timeout=deadline), error)
        assert tracemalloc.get_traced_memory()[1] < MUCH
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'{"status":"success"}', ConnectError),
        (b"HTTP/1.1 404 \xff\xfe\x01\r\n" + EMPTY, ConnectError),
        (b"HTTP/1.1 404 \xff\xfe\r\n" + EMPTY, ConnectError),
        (b"HTTP/1.1 1000 No\r\n" + EMPTY, ConnectError),
        (b"HTTP/1.1 999 No\r\n" + EMPTY, HttpError),
        (b"HTTP/1.1 204 No\r\n\r\n", HttpError),
        (OK + b"Content-Length: -5\r\n\r\n[]", ConnectError),
        (OK + b"Content-Length: 5\r\n" + EMPTY, ConnectError),
        (OK + b"Content-Length: 100\r\n\r\n[]", ConnectError),
        (OK + b"Content-Length: 1\r\n\r\n[]" + b"x" * 9_000, ConnectError),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", ConnectError),
        (CHUNKED + b"fffffffffffffffff\r\n[]", ConnectError),
        (CHUNKED + b"-2\r\n[]", ConnectError),
        (OK + b"Content-Encoding: br\r\n" + EMPTY, NotUnderstoodError),
        (OK + b"Content-Encoding: canary\r\n" + EMPTY, NotUnderstoodError),
        (OK + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n" + EMPTY, NotUnderstoodError),
        (OK + b"Content-Encoding: gzip\r\n" + EMPTY, NotUnderstoodError),
        (OK + b"Content-Encoding: deflate\r\n" + EMPTY, NotUnderstoodError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[\x01canary\r\n" + EMPTY, HttpError),
        (b"HTTP/1.1 302 Found\r\nLocation: //canary@elsewhere/\r\n" + EMPTY, HttpError),
        (b"HTTP/1.1 429 No\r\nRetry-After: " + b"9" * 5_000 + b"\r\n" + EMPTY, HttpError),
        (b"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:60 -9999\r\n" + EMPTY, HttpError),
    ],
)  # fmt: skip
async def test_answers_that_lie_or_are_none(answer: bytes, error: type[Exception]) -> None:
    """Each odd response is a documented error that does not quote it, and the next request succeeds."""
    answers = [answer, OK + f"Content-Length: {len(ROWS)}\r\n\r\n".encode() + ROWS]

    async def raw(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))
        await writer.drain()

    async with speaking(raw) as url, client(url, concurrency=1) as api:
        with pytest.raises(error) as caught:
            await api.results("r1")
        assert "canary" not in str(caught.value)
        assert await api.results("r1") == READ


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:60 -9999", "Mon, 01 Jan 0001 00:00:00 +9999", "x" * 8_000]
)
async def test_a_senseless_date_is_no_date(date: str) -> None:
    """An unreadable or impossible Date header is ignored."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=ROWS, headers={"Date": date})

    async with serving(handler) as url, client(url) as api:
        assert await api.results("r1") == READ


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("before", [b"", b'[{"stdout":"'])
async def test_a_bomb_is_given_up_before_it_fills_the_memory(
    encoding: str, compress: Callable[[bytes], bytes], before: bytes
) -> None:
    """200 KB that unpack to 200 MB are unpacked in small pieces, and no further than the limit."""
    bomb = compress(before + b" " * 200 * LIMIT)

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    async with serving(handler) as url:
        tracemalloc.start()
        try:
            assert isinstance(await failure(url), TooLargeError)
            assert tracemalloc.get_traced_memory()[1] < LIMIT + 4 * MUCH
        finally:
            tracemalloc.stop()


CREDENTIALS: dict[str, dict[str, Any]] = {
    "password": {"username": "u", "password": SecretStr("canary-password")},
    "long": {"username": "u", "password": SecretStr("canary-" * 40)},
    "headers": {"headers": "Authorization: Bearer canary-token\nX-Key: canary key"},
}


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("ahead", [0, 100, 195])
async def test_credentials_that_are_echoed_are_masked(credentials: dict[str, Any], ahead: int) -> None:
    """An error of the platform that quotes our credentials is masked, wherever it is cut."""

    async def echo(request: web.Request) -> web.StreamResponse:
        sent = [request.headers["Authorization"], request.headers.get("X-Key", "")]
        given = credentials["password"].get_secret_value() if "password" in credentials else ""
        message = "-" * ahead + " ".join([*sent, sent[0].partition(" ")[2], given])
        return web.json_response({"status": "error", "message": message, "content": None})

    async with serving(echo) as url:
        said = str(await failure(url, **credentials))
    assert "--***" in said or ahead == 0
    assert not any(piece in said for piece in ("canary", "dTpj"))


@pytest.mark.parametrize("content", ["tökén", "a\x01b", "a\x7fb", "a\u2028b"])
def test_a_token_must_be_what_a_header_can_hold(tmp_path: Path, content: str) -> None:
    """A token with characters that no header can hold is refused at the start; a password may be any text."""
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"api\.token-file: it holds characters") as caught:
        JobApi(config(token_file=path))
    assert content not in str(caught.value)
    JobApi(config(username="u", password_file=path))


async def test_a_token_that_becomes_unsendable_is_told_as_such(tmp_path: Path) -> None:
    """A secret file that becomes unusable while the program runs is a failure of the credentials."""
    path = tmp_path / "token"
    path.write_text("fine")
    async with serving(rows) as url, client(url, token_file=path) as api:
        assert await api.results("r1") == READ
        path.write_text("not sö fine")
        with pytest.raises(CredentialsError, match="no header can hold"):
            await api.results("r1")
