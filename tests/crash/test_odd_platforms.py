"""A real process and platforms that write JSON in their own ways: what finishes there counts soon."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from exporter.simulator.server import RunningSimulator
from tests.crash.harness import Program, attempts, running, started, total
from tests.crash.test_replicas import counted, finish_one

MB = 1_000_000
Alter = Callable[[str, bytes], bytes]


@asynccontextmanager
async def altered(
    platform: str, alter: Alter, *, ask: Callable[[str], str] = str, slow: bool = False
) -> AsyncIterator[str]:
    """Serve a platform whose answers are changed on their way, and give its address.

    `ask` changes what is asked for; `slow`: each result takes seconds to come.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = await client.get(ask(request.path_qs), headers={"Content-Type": "application/json"})
        body = alter(request.path_qs, answer.content)
        if not slow or "/result?" not in request.path_qs:
            return web.Response(body=body, status=answer.status_code)
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(body), MB):
            await response.write(body[start : start + MB])
            await asyncio.sleep(0.1)
        return response

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    async with httpx.AsyncClient(base_url=platform, trust_env=False) as client:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def with_half_an_emoji(_target: str, body: bytes) -> bytes:
    """Outputs that were cut by their length, in the middle of an emoji."""
    return re.sub(rb'"(stdout|message)": *"', rb'"\1":"\\ud83d', body)


def with_a_mark(_target: str, body: bytes) -> bytes:
    """A byte order mark, as servers on Windows write it."""
    return b"\xef\xbb\xbf" + body


def with_slashes(_target: str, body: bytes) -> bytes:
    """Times as people write them, without a zone."""
    return re.sub(rb'"(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)(?:Z|\+00:00)"', rb'"\1/\2/\3 \4"', body)


class Numbers:
    """Ids as JSON numbers; they are asked for as they are told."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def __call__(self, _target: str, body: bytes) -> bytes:
        return re.sub(rb'"(id|recordId)": *"([^"]*)"', self._numbered, body)

    def _numbered(self, match: re.Match[bytes]) -> bytes:
        text = match[2].decode()
        if text not in self.known:
            self.known.append(text)
        return b'"%b":%d' % (match[1], 1000 + self.known.index(text))

    def back(self, target: str) -> str:
        """Name the record that the platform knows."""
        return re.sub(r"id=(\d{4})$", lambda match: f"id={self.known[int(match[1]) - 1000]}", target)


async def hosts(program: Program) -> float:
    """How many hosts were counted as successful."""
    return total(await program.scrape(), "job_host_results_total", status="success")


@pytest.mark.parametrize("alter", [with_half_an_emoji, with_a_mark, with_slashes])
async def test_what_is_written_in_an_odd_way_counts(
    still: RunningSimulator, tmp_path: Path, alter: Alter
) -> None:
    """With its hosts and its duration, and every poll stays good."""
    async with (
        altered(still.url, alter) as url,
        started(tmp_path, *running(url, "--poll.settle-grace=2s")) as program,
    ):
        await program.begun()
        finish_one(still)
        await counted(program, 1)
        assert await hosts(program) > 0
        assert await program.value("job_exporter_poll_failures_total") == 0
        assert await program.value("job_exporter_records_incomplete_total", reason="bad_times") == 0


async def test_a_large_body_that_keeps_coming_counts(still: RunningSimulator, tmp_path: Path) -> None:
    """60 MB of outputs take three times the timeout; polls and scrapes go on meanwhile."""

    def padded(target: str, body: bytes) -> bytes:
        rows = json.loads(body)["content"] if "/result?" in target else []
        if not rows:
            return body
        for row in rows:
            row["stdout"] = "x" * (60 * MB // len(rows))
        return json.dumps({"status": "success", "message": "", "content": rows}).encode()

    flags = ("--poll.settle-grace=2s", "--api.timeout=2s")
    async with (
        altered(still.url, padded, slow=True) as url,
        started(tmp_path, *running(url, *flags)) as program,
    ):
        await program.begun()
        finish_one(still)
        await counted(program, 1)
        assert await hosts(program) > 0
        assert await program.value("job_exporter_poll_failures_total") == 0
        failed = {"endpoint": "result", "reason": "timeout"}
        assert await program.value("job_exporter_api_request_failures_total", **failed) == 0
        assert await program.value("job_exporter_api_response_bytes_total", endpoint="result") > 60 * MB


async def test_ids_that_are_numbers_count(still: RunningSimulator, tmp_path: Path) -> None:
    """They are asked for and remembered as text: a restart counts nothing again."""
    numbers = Numbers()
    async with altered(still.url, numbers, ask=numbers.back) as url:
        arguments = running(url, "--poll.settle-grace=2s")
        async with started(tmp_path, *arguments) as program:
            await program.begun()
            finish_one(still)
            await counted(program, 1)
            assert await hosts(program) > 0
        async with started(tmp_path, *arguments) as program:
            await program.ready()
            async for _ in attempts("three polls"):
                if await program.value("job_exporter_polls_total") >= 3:
                    break
            await counted(program, 1)
