"""A real process and a platform that cannot show one of its records: all others count within a minute."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from aiohttp import web

from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator
from tests.crash.harness import Program, attempts, running, started, total

FINISHED = "job_records_finished_total"
OTHERS = 12  # records that finish beside the one that cannot be shown, before it and after it
SOON = 60.0  # seconds

Spoil = Callable[[bytes], Awaitable[web.Response]]


async def with_status_500(_body: bytes) -> web.Response:
    """The server fails."""
    return web.Response(status=500, text="internal error")


async def with_an_error(_body: bytes) -> web.Response:
    """The envelope tells of an error."""
    return web.json_response({"status": "error", "message": "invalid character", "content": None})


async def cut_short(body: bytes) -> web.Response:
    """The JSON ends in the middle."""
    return web.Response(body=body[: len(body) // 2])


async def never(_body: bytes) -> web.Response:
    """No answer comes."""
    await asyncio.sleep(3600)
    return web.Response()


class Poisoned:
    """Passes requests on, but spoils each answer that shows one of these records."""

    def __init__(self, platform: str, spoil: Spoil) -> None:
        self.ids: set[str] = set()
        self._platform, self._spoil = platform, spoil

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve, and give the address."""
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        async with httpx.AsyncClient(base_url=self._platform, trust_env=False) as self._client:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": "application/json"}
        answer = await self._client.get(request.path_qs, headers=headers)
        asked = parse_qs(urlsplit(request.path_qs).query).get("id", [""])[0]
        if any(id_ == asked or id_.encode() in answer.content for id_ in self.ids):
            return await self._spoil(answer.content)
        return web.Response(body=answer.content, status=answer.status_code)


def ran(platform: RunningSimulator) -> str:
    """Let a record begin and end now; its id."""
    inner = platform.platform
    inner.tick()
    hosts = next(iter(inner.world)).spec.hosts
    record = inner.world.add(RecordSpec(hosts=hosts), inner.clock.now())
    inner.world.finish(record, "fail", inner.clock.now())
    return record


async def counted(program: Program, number: int) -> None:
    """Wait until so many records are counted."""
    async for _ in attempts(f"{number} records", patience=SOON):
        if total(await program.scrape(), FINISHED) == number:
            return


@pytest.mark.parametrize("spoil", [with_status_500, with_an_error, cut_short, never])
async def test_a_record_that_no_page_can_show_costs_no_other(
    still: RunningSimulator, tmp_path: Path, spoil: Spoil
) -> None:
    """Polls stay good, the record is counted as unreadable, and it counts once it can be had."""
    poisoned = Poisoned(still.url, spoil)
    flags = ("--poll.settle-grace=2s", "--api.timeout=1s", "--poll.recheck-interval=10s")
    async with poisoned.served() as url, started(tmp_path, *running(url, *flags)) as program:
        await program.begun()
        for number in range(OTHERS):
            ran(still)
            if number == OTHERS // 2:
                poisoned.ids.add(ran(still))
            await asyncio.sleep(0.5)
        await counted(program, OTHERS)
        async for _ in attempts("the record that cannot be read", patience=SOON):
            if await program.value("job_exporter_unreadable_records") == 1:
                break
        assert await program.value("job_exporter_platform_up") == 1
        assert await program.value("job_exporter_poll_failures_total") == 0
        assert (await program.get("/-/ready")).status_code == 200
        poisoned.ids.clear()
        await counted(program, OTHERS + 1)
        assert await program.value("job_exporter_unreadable_records") == 0


async def test_twenty_records_that_cannot_be_looked_up_cost_no_other(
    still: RunningSimulator, tmp_path: Path
) -> None:
    """Their look-ups fail for ever; pages show them. What finishes beside them counts at once."""
    bad: set[str] = set()

    class LookUps(Poisoned):
        async def _handle(self, request: web.Request) -> web.Response:
            asked = parse_qs(urlsplit(request.path_qs).query).get("id", [""])[0]
            if asked in bad:
                return web.Response(status=500, text="internal error")
            return await super()._handle(request)

    flags = ("--poll.settle-grace=2s", "--api.timeout=1s", "--api.retries=0")
    async with (
        LookUps(still.url, with_status_500).served() as url,
        started(tmp_path, *running(url, *flags)) as program,
    ):
        await program.begun()
        bad.update(ran(still) for _ in range(20))
        async for _ in attempts("twenty records that cannot be read", patience=SOON):
            if await program.value("job_exporter_unreadable_records") == len(bad):
                break
        for _ in range(5):
            ran(still)
        await counted(program, 5)
        assert await program.value("job_exporter_platform_up") == 1
        assert await program.value("job_exporter_poll_failures_total") == 0
        bad.clear()
        await counted(program, 25)


async def test_a_page_without_a_total_is_an_error(still: RunningSimulator, tmp_path: Path) -> None:
    """No empty platform is made of it: the platform is not up, and the reason is told."""

    async def without_total(body: bytes) -> web.Response:
        told = json.loads(body)
        content = {key: value for key, value in told["content"].items() if key.lower() != "totalcount"}
        return web.json_response({**told, "content": content})

    platform = Poisoned(still.url, without_total)
    platform.ids = {record.id for record in still.platform.world}
    async with platform.served() as url, started(tmp_path, *running(url)) as program:
        async for _ in attempts("a failed poll", patience=SOON):
            if await program.value("job_exporter_poll_failures_total") >= 1:
                break
        assert await program.value("job_exporter_platform_up") == 0
        failed = {"endpoint": "page", "reason": "decode"}
        assert await program.value("job_exporter_api_request_failures_total", **failed) >= 1
        assert (await program.get("/-/ready")).status_code == 503
