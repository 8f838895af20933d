"""Signals: a clean end within two seconds whatever goes on, nothing in hand lost; SIGHUP; one at a time."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import bcrypt
import pytest

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.gateway import everything, gateway, looks, tail_pages
from tests.crash.harness import (
    PROMISED_STOP,
    Ended,
    Program,
    attempts,
    ledger_rows,
    ran,
    running,
    started,
)

HOSTS = make_fleet({"杭州": 3})["杭州"]
NOBODY = "http://127.0.0.1:9"  # nothing listens on the port of "discard"
Phase = Callable[[RunningSimulator, Path], AbstractAsyncContextManager[Program]]


def record(platform: RunningSimulator, name: str) -> None:
    """Put an open record there."""
    inner = platform.platform
    inner.world.add(RecordSpec(id=name, hosts=HOSTS), inner.clock.now())


def finish(platform: RunningSimulator, name: str) -> None:
    """End it, with all its hosts."""
    inner = platform.platform
    inner.world.finish(name, "success", inner.clock.now())


@asynccontextmanager
async def idle(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    async with started(folder, *running(platform.url)) as program:
        await program.ready()
        yield program


@asynccontextmanager
async def first_page_unanswered(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    async with gateway(platform.url, everything) as gate, started(folder, *running(gate.url)) as program:
        await gate.holding()
        yield program


@asynccontextmanager
async def tail_page_unanswered(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    async with gateway(platform.url, tail_pages) as gate, started(folder, *running(gate.url)) as program:
        await gate.holding()
        yield program


@asynccontextmanager
async def look_unanswered(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    record(platform, "open")
    async with gateway(platform.url, looks) as gate, started(folder, *running(gate.url)) as program:
        await gate.holding("id=open")
        yield program


@asynccontextmanager
async def waiting_between_tries(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    platform.platform.faults.change({"retry_after": 5})
    async with started(folder, *running(platform.url, "--api.retries=9")) as program:
        async for _ in attempts("a request"):
            if platform.platform.stats.requests["page"]:
                break
        yield program


@asynccontextmanager
async def backing_off(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    async with started(folder, *running(NOBODY)) as program:
        await program.logged("poll failed")
        yield program


@asynccontextmanager
async def catching_up(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    inner = platform.platform
    inner.traffic.history(inner.world, 3000, inner.clock.now() - 3600)
    flags = ("--poll.history=all", "--api.duty=1")
    async with started(folder, *running(platform.url, *flags)) as program:
        async for _ in attempts("some counted, most not"):
            if await program.value("job_records_finished_total") > 0:
                break
        yield program


@asynccontextmanager
async def with_connections(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    """One idle, one that says nothing, one with half a request, one that asks much and reads nothing."""
    async with started(folder, *running(platform.url)) as program:
        await program.ready()  # leaves the idle one
        port = int((await program.url()).rpartition(":")[2])
        said = (b"", b"GET /metrics HTTP/1.1\r\nHost: a", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        writers = []
        for words in said:
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(words)
            writers.append(writer)
        yield program
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def during_a_login(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    hashed = "$2b$18$" + "x" * 21 + "e" + "x" * 31  # twenty seconds of work, which nothing can interrupt
    (folder / "web.yml").write_text(f"basic_auth_users: {{reader: {hashed}}}\n")
    async with started(folder, *running(platform.url, "--web.config-file=web.yml")) as program:
        port = int((await program.url()).rpartition(":")[2])
        given = base64.b64encode(b"reader:wrong").decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {given}\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        yield program
        writer.transport.abort()
        del reader


@asynccontextmanager
async def ledger_locked(platform: RunningSimulator, folder: Path) -> AsyncIterator[Program]:
    """Another program writes to the ledger, as a backup by hand would."""
    async with started(folder, *running(platform.url, "--state.url=sqlite:///ledger.db")) as program:
        await program.ready()
        with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asked = platform.platform.stats.requests["page"]
            record(platform, "new")
            async for _ in attempts("the page with the new record"):
                if platform.platform.stats.requests["page"] > asked + 1:
                    break
            yield program


PHASES = (
    idle,
    first_page_unanswered,
    tail_page_unanswered,
    look_unanswered,
    waiting_between_tries,
    backing_off,
    catching_up,
    with_connections,
    during_a_login,
    ledger_locked,
)


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
async def test_a_signal_ends_it_in_time_whatever_is_going_on(
    phase: Phase, number: Signals, still: RunningSimulator, tmp_path: Path
) -> None:
    """Status 0 within two seconds, the last line says so, no line is a traceback or a warning of Python."""
    async with phase(still, tmp_path) as program:
        ended = await program.stop(number)
    assert_clean(ended)


def assert_clean(ended: Ended) -> None:
    """A clean end in time."""
    assert ended.status == 0, ended.stderr
    assert ended.seconds < PROMISED_STOP
    assert "event=stopped" in ended.stderr.splitlines()[-1]
    words = ("Traceback", "Warning", "Exception", "level=error", "running instances")
    found = [word for word in words if word in ended.stderr]
    assert not found, ended.stderr


async def test_what_is_in_hand_is_committed_at_the_end(still: RunningSimulator, tmp_path: Path) -> None:
    """A record whose results came is counted though another's are still awaited; the next run counts that."""
    flags = ("--state.url=sqlite:///ledger.db", "--log.level=debug")
    for name in ("quick", "slow"):
        record(still, name)
    async with gateway(still.url) as gate:
        async with started(tmp_path, *running(gate.url, *flags)) as program:
            async for _ in attempts("both are followed"):
                if await program.value("job_records", execute_status="doing") == 2:
                    break
            await program.stop()
        for name in ("quick", "slow"):
            finish(still, name)
        gate.holds = lambda target: target.endswith("/result?id=slow")
        # What is due within half an interval is looked up in one round, so both are.
        patient = ("--poll.interval=60s", "--api.timeout=60s")
        async with started(tmp_path, *running(gate.url, *flags, *patient)) as program:
            await gate.holding("/result?id=slow")
            await gate.has_answered("/result?id=quick")
            await program.logged("event=.api request. endpoint=result")
            assert_clean(await program.stop())
        assert set(ledger_rows(tmp_path / "ledger.db").settled) == {"quick"}
        gate.holds = lambda _target: False
        async with started(tmp_path, *running(gate.url, *flags)) as program:
            async for _ in attempts("both are counted"):
                if await program.value("job_records_finished_total") == 2:
                    break
        assert set(ledger_rows(tmp_path / "ledger.db").settled) == {"quick", "slow"}


async def test_an_end_while_catching_up_goes_on_where_it_was(tmp_path: Path) -> None:
    """Stopped again and again while it reads a long history, it counts each record of it once."""
    config = SimulatorConfig(port=0, traffic=False, history=400, dialect="documented")
    flags = ("--state.url=sqlite:///ledger.db", "--poll.history=all", "--api.duty=1", "--poll.settle-grace=0")
    async with await serve(config) as platform:
        counted = [0]
        for _ in range(3):
            async with started(tmp_path, *running(platform.url, *flags)) as program:
                async for _ in attempts("more is counted"):
                    if await program.value("job_records_finished_total") > counted[-1]:
                        break
                    if counted[-1] == len(platform.platform.world):
                        break
                assert_clean(await program.stop())
            counted.append(len(ledger_rows(tmp_path / "ledger.db").settled))
        assert counted == sorted(counted)
        async with started(tmp_path, *running(platform.url, *flags)) as program:
            async for _ in attempts("all is counted"):
                if await program.value("job_records_finished_total") == 400:
                    break
            assert await program.value("job_record_hosts_count") == 400


async def test_a_hangup_reads_the_web_configuration_again(still: RunningSimulator, tmp_path: Path) -> None:
    """SIGHUP takes over new users; a broken file is said aloud, and the old users stay."""
    hashed = bcrypt.hashpw(b"one", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text("")
    async with started(tmp_path, *running(still.url, "--web.config-file=web.yml")) as program:
        await program.ready()
        (tmp_path / "web.yml").write_text(f"basic_auth_users: {{reader: {hashed}}}\n")
        program.signal(SIGHUP)
        await program.logged(r"web configuration read again")
        assert (await program.get("/metrics")).status_code == 401
        (tmp_path / "web.yml").write_text("basic_auth_userz: {}\n")
        program.signal(SIGHUP)
        await program.logged(r"level=error .*the previous one stays.*basic_auth_userz")
        assert (await program.get("/metrics")).status_code == 401
        assert (await program.stop()).status == 0


async def test_a_hangup_without_a_web_configuration_changes_nothing(
    still: RunningSimulator, tmp_path: Path
) -> None:
    """SIGHUP does not end a process that has nothing to read again."""
    async with started(tmp_path, *running(still.url)) as program:
        await program.ready()
        program.signal(SIGHUP)
        polls = await program.value("job_exporter_polls_total")
        async for _ in attempts("polls go on"):
            if await program.value("job_exporter_polls_total") > polls + 1:
                break
        assert_clean(await program.stop())


async def test_a_second_exporter_on_the_same_ledger_is_refused(
    still: RunningSimulator, tmp_path: Path
) -> None:
    """It ends with status 2 and one line; the first goes on, and once it has ended the ledger is free."""
    flags = ("--state.url=sqlite:///ledger.db",)
    async with started(tmp_path, *running(still.url, *flags)) as first:
        await first.ready()
        second_folder = tmp_path / "second"
        second_folder.mkdir()
        flag = f"--state.url=sqlite:///{tmp_path / 'ledger.db'}"
        second = await ran(second_folder, *running(still.url, flag))
        assert second.status == 2
        assert second.stderr.count("\n") == 1
        assert "held by another job-exporter; stop that one, or name another file" in second.stderr
        await first.ready()
        assert_clean(await first.stop())
    async with started(tmp_path, *running(still.url, *flags)) as third:
        await third.ready()
