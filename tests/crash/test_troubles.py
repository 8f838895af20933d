"""A platform that does not do what it should: the process lives on, says so, counts it, and recovers."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.server import serve
from tests.crash.harness import Program, attempts, running, started, total

HOSTS = make_fleet({"杭州": 20})["杭州"]  # so many that their rows exceed 2 KiB without any output
FAILURES = "job_exporter_api_request_failures_total"
POLLS = "job_exporter_polls_total"
OBSERVED_RECORD = (
    '{"status":"success","message":"","content":'
    '{"id":"%s","executeStatus":%s,"resultStatus":"success","hosts":"[]","timeout":60,'
    '"startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:01Z"}}'
)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A platform that fails one way: how it is made to, and what of it is seen."""

    reason: str  # label of the failures
    says: str  # in the log and on /-/ready
    platform: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


TROUBLES = {
    "wrong password": Trouble(
        reason="auth",
        says="refused the credentials",
        platform={"username": "me", "password": "right"},
        flags=("--api.username=me", "--api.password=wrong"),
    ),
    "no credentials": Trouble(
        reason="auth", says="refused the credentials", platform={"username": "me", "password": "right"}
    ),
    "wrong token": Trouble(
        reason="auth",
        says="the credentials are refused",
        platform={"token": "right", "dialect": "documented"},
    ),
    "role may not": Trouble(reason="auth", says="HTTP 403", faults={"forbid": True}),
    "HTML": Trouble(reason="decode", says="HTML", faults={"rate": 1.0, "kinds": ["not-json"]}),
    "body above the limit": Trouble(
        reason="too_large",
        says="api.max-response-bytes",
        platform={"stdout_bytes": 100_000},
        flags=("--api.max-response-bytes=2KiB",),
    ),
    "database down": Trouble(reason="api", says="answered with an error", faults={"database_down": True}),
    "server error": Trouble(reason="http", says="HTTP 500", faults={"rate": 1.0, "kinds": ["server-error"]}),
    "resets": Trouble(reason="connect", says="cannot reach http://127.0.0.1", faults={"down": True}),
    "cut short": Trouble(
        reason="connect", says="cannot reach http://127.0.0.1", faults={"rate": 1.0, "kinds": ["truncated"]}
    ),
    "too slow": Trouble(
        reason="timeout", says="api.timeout", faults={"page_delay": 30.0}, flags=("--api.timeout=300ms",)
    ),
    "too many requests": Trouble(reason="http", says="HTTP 429", faults={"retry_after": 1}),
}


async def ready_state(program: Program) -> tuple[int, str]:
    """What `/-/ready` answers."""
    answer = await program.get("/-/ready")
    return answer.status_code, answer.text


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=[name.replace(" ", "-") for name in TROUBLES])
async def test_a_platform_that_fails_is_counted_said_and_lived_through(
    trouble: Trouble, tmp_path: Path
) -> None:
    """One warning a poll, 503 with the reason on /-/ready, up 0, no gauge of the platform; a clean end."""
    config = SimulatorConfig(port=0, traffic=False, **trouble.platform)
    async with await serve(config) as platform:
        world, clock = platform.platform.world, platform.platform.clock
        for _ in range(20):
            world.finish(world.add(RecordSpec(hosts=HOSTS), clock.now()), "success", clock.now())
        platform.platform.faults.change(trouble.faults)
        flags = ("--api.retries=0", *trouble.flags)
        async with started(tmp_path, *running(platform.url, *flags)) as program:
            line = await program.logged("level=warning event=.poll failed.*")
            async for _ in attempts("the failure is shown"):
                status, text = await ready_state(program)
                if trouble.says in text:
                    break
            assert status == 503
            assert (await program.get("/-/healthy")).status_code == 200
            scrape = await program.scrape()
            assert total(scrape, FAILURES, reason=trouble.reason) >= 1
            assert total(scrape, FAILURES) == total(scrape, FAILURES, reason=trouble.reason)
            assert total(scrape, "job_exporter_poll_failures_total") >= 1
            assert total(scrape, "job_exporter_platform_up") == 0
            assert not [name for name, _ in scrape if name == "job_records"]
            ended = await program.stop()
    assert trouble.says in line[0]
    assert ended.status == 0
    assert "Traceback" not in ended.stderr


async def test_a_platform_unreachable_at_the_start_is_waited_for(tmp_path: Path) -> None:
    """It keeps trying, says on /-/ready why it is not, and is ready when the platform comes."""
    async with await serve(SimulatorConfig(port=0, traffic=False)) as first:
        port = int(first.url.rpartition(":")[2])  # ours, and free again once this one is closed
    async with started(tmp_path, *running(f"http://127.0.0.1:{port}")) as program:
        await program.logged("poll failed")
        async for _ in attempts("it says why"):
            status, text = await ready_state(program)
            if "cannot reach" in text:
                break
        assert (status, "refused" in text) == (503, True)
        async with await serve(SimulatorConfig(port=port, traffic=False, history=5)):
            await program.ready()
            assert await program.value("job_records", execute_status="done") == 5
            assert "polls succeed again" in program.log
            ended = await program.stop()
    assert ended.status == 0


async def test_what_was_counted_stays_while_the_platform_is_away(tmp_path: Path) -> None:
    """Counters are shown on, gauges of the platform are not; when it is back, so are they."""
    config = SimulatorConfig(port=0, traffic=False, history=10)
    async with await serve(config) as platform:
        flags = ("--poll.history=all", "--poll.settle-grace=0")
        async with started(tmp_path, *running(platform.url, *flags)) as program:
            async for _ in attempts("all is counted"):
                if await program.value("job_records_finished_total") == 10:
                    break
            platform.platform.faults.change({"down": True})
            async for _ in attempts("it is missed"):
                scrape = await program.scrape()
                if total(scrape, "job_exporter_platform_up") == 0:
                    break
            assert total(scrape, "job_records_finished_total") == 10
            assert not [name for name, _ in scrape if name == "job_records"]
            platform.platform.faults.change({"down": False})
            async for _ in attempts("it is back"):
                if await program.value("job_records") == 10:
                    break


@pytest.mark.parametrize("skew", [3600.0, -3600.0])
async def test_a_wrong_clock_is_measured_and_corrected_for(skew: float, tmp_path: Path) -> None:
    """A platform an hour off: the skew is shown, the baseline not counted, a new record is, without lag."""
    config = SimulatorConfig(port=0, traffic=False, history=5, start_time=time.time() + skew)
    async with await serve(config) as platform, started(tmp_path, *running(platform.url)) as program:
        await program.begun()
        assert await program.value("job_exporter_clock_skew_seconds") == pytest.approx(skew, abs=2.0)
        assert await program.value("job_records_finished_total") == 0
        world, clock = platform.platform.world, platform.platform.clock
        name = world.add(RecordSpec(hosts=HOSTS), clock.now())
        async for _ in attempts("it is followed"):
            if await program.value("job_records", execute_status="doing") == 1:
                break
        assert await program.value("job_records_overdue") == 0
        world.finish(name, "success", clock.now())
        async for _ in attempts("it is counted"):
            if await program.value("job_records_finished_total") == 1:
                break
        assert await program.value("job_exporter_count_lag_seconds_sum") < 10


BAD_RECORDS = {
    "status of the wrong type": OBSERVED_RECORD % ("bad", '["done"]'),
    "number instead of a record": '{"status":"success","message":"","content":7}',
    "error of the platform": '{"status":"error","message":"scan failed","content":null}',
    "no JSON": "<html>",
}


@pytest.mark.parametrize("bad", BAD_RECORDS.values(), ids=[name.replace(" ", "-") for name in BAD_RECORDS])
async def test_a_record_that_cannot_be_read_spoils_nothing_else(bad: str, tmp_path: Path) -> None:
    """The other record is counted, the failure too; polls are good, the platform's gauges stay."""
    async with two_records(bad) as url:
        flags = ("--poll.history=all", "--poll.settle-grace=0")
        async with started(tmp_path, *running(url, *flags)) as program:
            async for _ in attempts("the good one is counted"):
                if await program.value("job_records_finished_total", result_status="success") >= 1:
                    break
            before = await program.scrape()
            async for _ in attempts("polls go on"):
                scrape = await program.scrape()
                if total(scrape, POLLS) > total(before, POLLS) + 5:
                    break
            failed = "job_exporter_poll_failures_total"
            assert total(scrape, failed) == total(before, failed)  # so that none of them waits for longer
            seen = total(scrape, FAILURES) + total(scrape, "job_exporter_unknown_values_total")
            assert seen >= 1
            assert total(scrape, "job_exporter_platform_up") == 1
            assert total(scrape, "job_records") == 2
            assert (await ready_state(program))[0] == 200


@asynccontextmanager
async def two_records(bad: str) -> AsyncIterator[str]:
    """A platform of two records, the one `bad` and the other good; gives its address."""

    async def page(request: web.Request) -> web.Response:
        names = ("good",) if request.query["pageSize"] == "1" else ("good", "bad")
        rows = ",".join(f'{{"recordId":"{name}","hostId":"h","status":"success"}}' for name in names)
        content = f'{{"List":[{rows}],"PageNo":1,"PageSize":10,"PageCount":1,"TotalCount":2}}'
        return answer(f'{{"status":"success","message":"","content":{content}}}')

    async def record(request: web.Request) -> web.Response:
        return answer(OBSERVED_RECORD % ("good", '"done"') if request.query["id"] == "good" else bad)

    async def result(request: web.Request) -> web.Response:
        row = f'{{"recordId":"{request.query["id"]}","hostId":"h","idcName":"a","status":"success"}}'
        return answer(f'{{"status":"success","message":"","content":[{row}]}}')

    app = web.Application()
    for path, handler in {"/page": page, "": record, "/result": result}.items():
        app.router.add_get("/api/v1/job/record" + path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answer(text: str) -> web.Response:
    """A JSON answer with the right date."""
    return web.Response(text=text, content_type="application/json", headers={"Date": formatdate(usegmt=True)})
