"""Faults of the machine under a real process: its disk, its descriptors, its death in a commit."""

import asyncio
import json
import re
import resource
import socket
import sys
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator
from tests.crash.harness import Program, attempts, ledger_rows, running, started

HOSTS = make_fleet({"杭州": 3})["杭州"]
STATE = "--state.url=sqlite:///ledger.db"


def ran(platform: RunningSimulator, count: int) -> set[str]:
    """Let records begin and end now; their ids."""
    inner = platform.platform
    names = {inner.world.add(RecordSpec(hosts=HOSTS), inner.clock.now()) for _ in range(count)}
    for name in names:
        inner.world.finish(name, "success", inner.clock.now())
    return names


async def counted(program: Program, count: int) -> None:
    """Wait until so many records are counted; no more are."""
    async for _ in attempts(f"{count} records are counted", patience=90):
        finished = await program.value("job_records_finished_total")
        assert finished <= count
        if finished == count:
            return


async def test_sigkill_at_any_instruction_of_a_commit(tmp_path: Path) -> None:
    """Killed before and after each system call: it never began, or it ended; done again, all count once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.steps", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    seen = json.loads(told)
    assert set(seen["outcomes"]) == {"never began", "ended"}
    assert sum(seen["outcomes"].values()) == seen["points"] > 40


async def test_a_disk_that_is_full_and_has_room_again(still: RunningSimulator, tmp_path: Path) -> None:
    """No file may grow: polls fail and say so, scrapes go on; with room again all is counted once."""
    async with started(tmp_path, *running(still.url, STATE)) as program:
        await program.begun()
        first = ran(still, 5)
        await counted(program, len(first))
        program.limit(resource.RLIMIT_FSIZE, 60_000)  # its log may grow so far, the ledger's may not
        more = ran(still, 300)
        await program.logged("event=.poll failed. reason=ledger .*(make room on|check) its disk")
        assert await program.value("job_records_finished_total") <= len(first | more)
        assert (await program.get("/-/ready")).status_code == 503
        program.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        await counted(program, len(first | more))
        ended = await program.stop()
    assert ended.status == 0
    assert set(ledger_rows(tmp_path / "ledger.db").settled) == first | more


async def test_out_of_file_descriptors(still: RunningSimulator, tmp_path: Path) -> None:
    """Connections take them all: no spinning, polls and open connections go on; then all is as before."""
    loop = asyncio.get_running_loop()
    async with started(tmp_path, *running(still.url, STATE)) as program:
        await program.begun()
        first = ran(still, 5)
        await counted(program, len(first))
        port = int((await program.url()).rpartition(":")[2])
        program.limit(resource.RLIMIT_NOFILE, program.descriptors + 4)
        with ExitStack() as stack:
            for _ in range(60):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", port))
            await program.logged("cannot accept a connection")
            more = ran(still, 5)
            await counted(program, len(first | more))
            async for _ in attempts("it tries to accept again"):
                if len(refusals(program)) >= 5:
                    break
            tried = refusals(program)
            assert all(later - earlier >= 0.9 for earlier, later in pairwise(tried))
        program.limit(resource.RLIMIT_NOFILE, 1024)
        assert (await (await program.client()).get("/metrics", headers={"Connection": "close"})).is_success
        assert (await program.get("/-/ready")).status_code == 200  # by a connection of its own
        more |= ran(still, 5)
        await counted(program, len(first | more))
        ended = await program.stop()
    assert ended.status == 0
    assert "Traceback" not in ended.stderr
    assert set(ledger_rows(tmp_path / "ledger.db").settled) == first | more


def refusals(program: Program) -> list[float]:
    """When accept has failed so far, by the log."""
    times = re.findall(r"(?m)^time=(\S+) .*cannot accept a connection", program.log)
    return [datetime.fromisoformat(time).timestamp() for time in times]
