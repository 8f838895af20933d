"""Two processes on one PostgreSQL ledger: they show the same, and live through the loss of the database."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator
from tests.crash.cable import cable, through
from tests.crash.compare import of_ledger
from tests.crash.harness import PROMISED_STOP, Program, attempts, key, running, started
from tests.harness.postgres import Postgres, server

FLAGS = ("--poll.interval=1s", "--poll.settle-grace=0")
FINISHED = "job_records_finished_total"


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that a test may stop; what it has confirmed is there again."""
    with server({}) as running_:
        yield running_


def folders(base: Path) -> tuple[Path, Path]:
    """Make a folder for each replica."""
    pair = base / "one", base / "other"
    for folder in pair:
        folder.mkdir()
    return pair


def finish_one(platform: RunningSimulator) -> None:
    """Let a record begin and end now."""
    inner = platform.platform
    inner.tick()
    hosts = next(iter(inner.world)).spec.hosts
    record = inner.world.add(RecordSpec(hosts=hosts), inner.clock.now())
    inner.world.finish(record, "success", inner.clock.now())


async def counted(program: Program, number: int) -> None:
    """Wait until a replica shows so many finished records."""
    async for _ in attempts(f"{number} records"):
        if await program.value(FINISHED) == number:
            return


async def agree(one: Program, other: Program) -> None:
    """Wait until both show the same of what the ledger and the platform hold."""
    async for _ in attempts("the same samples"):
        shown = [await program.scrape() for program in (one, other)]
        first, second = (
            {**of_ledger(scrape), key("up"): scrape[key("job_exporter_platform_up")]} for scrape in shown
        )
        if first == second:
            return


async def test_both_show_the_same_and_one_leads(
    still: RunningSimulator, postgres_url: str, tmp_path: Path
) -> None:
    """The follower is ready, polls nothing, and shows what the leader counts."""
    state = f"--state.url={postgres_url}"
    first, second = folders(tmp_path)
    async with started(first, *running(still.url, *FLAGS, state)) as one:
        await one.begun()
        async with started(second, *running(still.url, *FLAGS, state)) as other:
            await other.ready()
            finish_one(still)
            await counted(one, 1)
            await counted(other, 1)
            await agree(one, other)
            leads = [await program.value("job_exporter_leader") for program in (one, other)]
            polls = [await program.value("job_exporter_polls_total") for program in (one, other)]
            assert (leads, polls[1]) == ([1, 0], 0)
            assert "follower" in (await other.get("/")).text


async def test_the_database_goes_away_and_comes_back(
    still: RunningSimulator, own_postgres: Postgres, tmp_path: Path
) -> None:
    """The last numbers are served, readiness says why, a stop is in time; later nothing is missing."""
    state = f"--state.url={own_postgres.url()}"
    first, second = folders(tmp_path)
    async with started(first, *running(still.url, *FLAGS, state)) as one:
        await one.begun()
        async with started(second, *running(still.url, *FLAGS, state)) as other:
            await other.ready()
            finish_one(still)
            for program in (one, other):
                await counted(program, 1)
            own_postgres.stop()
            for program in (one, other):
                async for _ in attempts("readiness that says why"):
                    answer = await program.get("/-/ready")
                    if answer.status_code == 503 and "check that the server runs" in answer.text:
                        break
                assert await program.value(FINISHED) == 1
                async for _ in attempts("nobody who leads"):
                    if not await program.value("job_exporter_leader"):
                        break
            finish_one(still)
            ended = await one.stop()
            assert (ended.status, ended.seconds < PROMISED_STOP + 1) == (0, True)
            own_postgres.start()
            await other.ready()
            await counted(other, 2)
            assert await other.value("job_exporter_leader") == 1


async def test_silent_connections_are_hung_up_and_made_anew(
    still: RunningSimulator, postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    """A proxy has lost the server's side and keeps ours: the other leads, and the first comes back."""
    first, second = folders(tmp_path)
    async with cable(postgres.folder / ".s.PGSQL.5432") as line:
        there = f"--state.url={through(line, postgres_url)}"
        async with started(first, *running(still.url, *FLAGS, there)) as one:
            await one.begun()
            async with started(second, *running(still.url, *FLAGS, f"--state.url={postgres_url}")) as other:
                await other.ready()
                assert await one.value("job_exporter_leader") == 1
                line.forget()
                async for _ in attempts("readiness that says why"):
                    if (await one.get("/-/ready")).status_code == 503:
                        break
                async for _ in attempts("another leader"):
                    if await other.value("job_exporter_leader") == 1:
                        break
                    if (await one.get("/-/ready")).status_code == 200:
                        line.forget()  # on a busy machine the first may be back before the other looks
                finish_one(still)
                await counted(other, 1)
                await one.ready()
                await counted(one, 1)
            async for _ in attempts("the first to lead again"):
                if await one.value("job_exporter_leader") == 1:
                    break
            finish_one(still)
            await counted(one, 2)


async def test_an_exporter_alone_polls_again_after_silence(
    still: RunningSimulator, postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    """Nobody else counts meanwhile: what finished is counted when the new connection stands."""
    async with cable(postgres.folder / ".s.PGSQL.5432") as line:
        state = f"--state.url={through(line, postgres_url)}"
        async with started(tmp_path, *running(still.url, *FLAGS, state)) as program:
            await program.begun()
            line.forget()
            finish_one(still)
            await counted(program, 1)
            assert "Traceback" not in program.log


async def test_a_database_that_hangs_is_told(
    still: RunningSimulator, own_postgres: Postgres, tmp_path: Path
) -> None:
    """No error comes of a server that says nothing: nobody leads, readiness says why, a stop is in time."""
    state = f"--state.url={own_postgres.url()}"
    first, second = folders(tmp_path)
    async with (
        started(first, *running(still.url, *FLAGS, state)) as one,
        started(second, *running(still.url, *FLAGS, state)) as other,
    ):
        for program in (one, other):
            await program.ready()
        own_postgres.signal(SIGSTOP)
        try:
            for program in (one, other):
                async for _ in attempts("readiness that says why"):
                    answer = await program.get("/-/ready")
                    if answer.status_code == 503 and "does not answer" in answer.text:
                        break
                async for _ in attempts("nobody who leads"):
                    if not await program.value("job_exporter_leader"):
                        break
            ended = await one.stop()
            assert (ended.status, ended.seconds < PROMISED_STOP + 1) == (0, True)
        finally:
            own_postgres.signal(SIGCONT)
        finish_one(still)
        await other.ready()
        await counted(other, 1)
        assert "Traceback" not in one.log + other.log
