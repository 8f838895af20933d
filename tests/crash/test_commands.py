"""The other commands, as a person at a terminal runs them."""

import asyncio
import re
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import httpx
import pytest

from exporter.metrics.families import families
from exporter.settings import MetricsSettings
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.harness import PROMISED_STOP, Program, attempts, ran, started, total

COMMANDS = ("run", "check", "simulate", "demo", "audit", "metrics")
NOBODY = "http://127.0.0.1:9"


async def printed(program: Program, pattern: str) -> re.Match[str]:
    """Wait for standard output to match."""
    async for _ in attempts(f"{pattern!r} on standard output"):
        if match := re.search(pattern, program.stdout):
            return match
    raise AssertionError  # pragma: no cover


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_the_demo_runs_and_ends_cleanly(number: Signals, tmp_path: Path) -> None:
    """It says where to look, records move, a signal ends it with status 0, and it leaves nothing behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    flags = ("--web.listen-address=127.0.0.1:0", "--rate=20", "--poll.interval=1s")
    async with started(tmp_path, "demo", *flags, env={"TMPDIR": str(temporary)}) as program:
        platform = (await printed(program, r"the platform +(http://\S+)"))[1]
        assert await program.url() in program.stdout.replace("localhost", "127.0.0.1")
        async for _ in attempts("a finished record"):
            scrape = await program.scrape()
            if total(scrape, "job_records_finished_total"):
                break
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{platform}/sim/truth")).status_code == 200
        ended = await program.stop(number)
    assert ended.status == 0
    assert ended.seconds < PROMISED_STOP
    assert "Traceback" not in ended.stderr
    assert list(temporary.iterdir()) == []


async def test_the_simulator_runs_and_ends_cleanly(tmp_path: Path) -> None:
    """It prints its address once it listens there, and a signal ends it."""
    async with started(tmp_path, "simulate", "--listen-address=127.0.0.1:0", "--history=7") as program:
        url = (await printed(program, r"platform at (http://\S+)"))[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            truth = (await client.get(f"{url}/sim/truth")).json()
        assert truth["total"] >= 7
        ended = await program.stop()
    assert (ended.status, ended.stderr) == (0, "")


async def test_a_check_that_finds_nothing_ends_with_0(still: RunningSimulator, tmp_path: Path) -> None:
    """The table tells of each endpoint, and that the order of the pages is known."""
    ended = await ran(tmp_path, "check", f"--api.base-url={still.url}")
    assert ended.status == 0, ended.stdout
    assert ended.stderr == ""
    for words in ("reachable", "credentials", "clock", "order", "oldest first", "record", "result"):
        assert words in ended.stdout


@pytest.mark.parametrize("fault", ["down", "database_down", "reject_credentials", "forbid"])
async def test_a_check_that_finds_something_ends_with_1(
    fault: str, still: RunningSimulator, tmp_path: Path
) -> None:
    """The table says what is bad, and what to do about it."""
    still.platform.faults.change({fault: True})
    ended = await ran(tmp_path, "check", f"--api.base-url={still.url}", "--api.retries=0")
    assert ended.status == 1
    assert ended.stderr == ""
    assert "bad" in ended.stdout


async def test_a_check_of_nothing_ends_with_1(tmp_path: Path) -> None:
    """Nobody listens there."""
    ended = await ran(tmp_path, "check", f"--api.base-url={NOBODY}", "--api.retries=0")
    assert ended.status == 1
    assert "connect" in ended.stdout


async def test_a_check_of_an_empty_platform_ends_with_0(tmp_path: Path) -> None:
    """There is nothing to look at, which is no fault."""
    async with await serve(SimulatorConfig(port=0, traffic=False)) as empty:
        ended = await ran(tmp_path, "check", f"--api.base-url={empty.url}")
    assert ended.status == 0
    assert "no records" in ended.stdout


async def test_metrics_lists_every_family(tmp_path: Path) -> None:
    """Name, labels, type and help of each."""
    ended = await ran(tmp_path, "metrics", "--metrics.record-labels=provider")
    assert (ended.status, ended.stderr) == (0, "")
    for family in families(MetricsSettings(record_labels=("provider",))):
        labels = "{" + ",".join(family.labels) + "}" if family.labels else ""
        assert f"{family.name}{labels} ({family.type})\n    {family.help}\n" in ended.stdout


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_tells_its_flags(command: str, tmp_path: Path) -> None:
    """`--help` goes to standard output, status 0, also beside other flags."""
    ended = await ran(tmp_path, command, "--help")
    assert (ended.status, ended.stderr) == (0, "")
    assert f"job-exporter {command}" in ended.stdout
    assert ("--api.base-url" in ended.stdout) == (command != "simulate")
    assert ("--fault-rate" in ended.stdout) == (command in {"simulate", "demo"})


async def test_the_overview_names_every_command(tmp_path: Path) -> None:
    """With `--help` it is what was asked for; without arguments it is status 2."""
    for arguments, status in ((("--help",), 0), ((), 2)):
        folder = tmp_path / str(status)
        folder.mkdir()
        ended = await ran(folder, *arguments)
        assert ended.status == status
        assert all(command in ended.stdout for command in COMMANDS)


async def test_a_pipe_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    """`job-exporter metrics | head -1` complains about nothing."""
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m exporter metrics | head -1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    stdout, stderr = await process.communicate()
    assert (process.returncode, stderr) == (0, b"")
    assert stdout.startswith(b"job_records")


async def test_the_version_is_told(tmp_path: Path) -> None:
    """As a program is asked for it."""
    ended = await ran(tmp_path, "--version")
    assert (ended.status, ended.stderr) == (0, "")
    assert re.fullmatch(r"job-exporter [0-9.]+\S*\n", ended.stdout)
