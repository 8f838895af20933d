"""The clock of the machine is set while the daemon runs: polls go on, and each record counts once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.simulator.server import RunningSimulator
from tests.crash.harness import Program, attempts, ledger_rows, preloaded, running, started
from tests.crash.test_faults_machine import counted, ran

# Python runs this before the program: its clock is the machine's and what the file says. The event loop goes
# by another, which nobody sets.
SET_CLOCK = """
import datetime, pathlib, time

_time = time.time

def shifted():
    return _time() + float(pathlib.Path("ahead").read_text())

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(shifted(), tz)

time.time = shifted
datetime.datetime = Shifted
"""
DAY = 86_400.0
WORK = 3.0  # seconds of computing that polls, scrapes and a few records take at most; a tenth of it here


def set_ahead(folder: Path, seconds: float) -> None:
    """Set the clock of the program in this folder; whole at every moment."""
    (folder / "new").write_text(str(seconds))
    (folder / "new").replace(folder / "ahead")


@pytest.fixture
def clock(tmp_path: Path) -> Mapping[str, str]:
    """Give the environment of a program whose clock can be set."""
    set_ahead(tmp_path, 0.0)
    return preloaded(tmp_path, SET_CLOCK)


async def polls_go_on(program: Program) -> None:
    """Wait for some more polls."""
    polls = await program.value("job_exporter_polls_total")
    async for _ in attempts("polls go on"):
        if await program.value("job_exporter_polls_total") >= polls + 5:
            return


@pytest.mark.parametrize("jump", [-3600.0, -2.0, 10 * DAY], ids=lambda jump: f"{jump:+g}s")
async def test_polls_go_on_when_the_clock_is_set(
    jump: float, still: RunningSimulator, tmp_path: Path, clock: Mapping[str, str]
) -> None:
    """Set, and set right again: neither stops the polls nor costs work, and what ends is counted."""
    arguments = running(still.url, "--state.url=sqlite:///ledger.db")
    async with started(tmp_path, *arguments, env=clock) as program:
        await program.begun()
        done = ran(still, 3)
        await counted(program, len(done))
        computed = program.cpu_seconds
        for ahead in (jump, 0.0):
            set_ahead(tmp_path, ahead)
            await polls_go_on(program)
            done |= ran(still, 3)
            await counted(program, len(done))
        assert program.cpu_seconds - computed < WORK
        ended = await program.stop()
    assert ended.status == 0
    assert "Traceback" not in ended.stderr
    assert set(ledger_rows(tmp_path / "ledger.db").settled) == done
