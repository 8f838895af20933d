"""A disk so slow that a commit hangs: neither scrapes nor a stop wait for it, and nothing is lost."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.simulator.server import RunningSimulator
from tests.crash.harness import PROMISED_STOP, Program, attempts, ledger_rows, preloaded, running, started
from tests.crash.test_lifecycle import finish, record

# Python runs this before the program: where the disk would be waited for, it waits while a file is there.
SLOW_DISK = """
import os, pathlib, time
from sqlalchemy import event
from sqlalchemy.engine import Engine

@event.listens_for(Engine, "commit")
def wait(connection):
    while os.path.exists("slow"):
        pathlib.Path("waiting").touch()
        time.sleep(0.02)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Mapping[str, str]:
    """Give the environment of a program whose disk is slow while the file `slow` is there."""
    return preloaded(tmp_path, SLOW_DISK)


async def hang(program: Program, platform: RunningSimulator, folder: Path) -> None:
    """Let a record end, and the commit that is to count it hang."""
    await program.begun()
    (folder / "slow").touch()
    record(platform, "one")
    finish(platform, "one")
    async for _ in attempts("a commit that hangs"):
        if (folder / "waiting").exists():
            return


async def counted(program: Program) -> float:
    return await program.value("job_records_finished_total")


async def test_scrapes_do_not_wait_for_a_commit(
    still: RunningSimulator, tmp_path: Path, disk: Mapping[str, str]
) -> None:
    """While a commit hangs scrapes show what was committed; then the record is counted, once."""
    async with started(tmp_path, *running(still.url), env=disk) as program:
        await hang(program, still, tmp_path)
        for _ in range(50):
            assert await counted(program) == 0
        (tmp_path / "slow").unlink()
        async for _ in attempts("the record to be counted"):
            if await counted(program):
                break
        assert await counted(program) == 1
    assert set(ledger_rows(tmp_path / "job-exporter.db").settled) == {"one"}


async def test_a_stop_does_not_wait_for_a_commit(
    still: RunningSimulator, tmp_path: Path, disk: Mapping[str, str]
) -> None:
    """The program ends in time and says what it left; the next one counts the record, once."""
    async with started(tmp_path, *running(still.url), env=disk) as program:
        await hang(program, still, tmp_path)
        ended = await program.stop()
    assert ended.status == 0
    assert ended.seconds < PROMISED_STOP
    assert "ledger busy at shutdown" in ended.stderr
    (tmp_path / "slow").unlink()
    async with started(tmp_path, *running(still.url), env=disk) as program:
        await program.ready()
        async for _ in attempts("the record to be counted"):
            if await counted(program):
                break
        assert await counted(program) == 1
