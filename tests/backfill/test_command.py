"""The command `backfill`: the seam to live counting, interruptions, one line for what can't be done."""

import asyncio
import signal
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from exporter.backfill.boundary import Live
from exporter.backfill.command import backfill_parser
from exporter.backfill.progress import progress
from exporter.backfill.samples import BackfillError
from exporter.cli.main import main
from exporter.ledger.errors import LedgerError
from exporter.settings.parsers import duration
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.faults import Fault, Faults, FaultSettings
from exporter.simulator.platform import Stats
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.harness import attempts
from tests.harness.backfill import last_tally, samples
from tests.harness.core import Life, life, logging_kept
from tests.harness.inprocess import PLATFORM, Clock, truth_of

NOBODY = "--api.base-url=http://127.0.0.1:9"
Captured = pytest.CaptureFixture[str]
QUICK = SimulatorConfig(port=0, history=400, traffic=False, scenario="traps", seed=3)


@pytest.fixture(autouse=True)
def as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of its own; give the logging of the tests back afterwards."""
    monkeypatch.chdir(tmp_path)
    with logging_kept():
        yield


def test_the_dashboards_show_what_is_written_by_default() -> None:
    """The dashboards' rate window holds two samples of the default step."""
    source = Path(__file__).parents[2] / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    scrape = yaml.safe_load(source.read_text("utf-8"))["datasources"][0]["jsonData"]["timeInterval"]
    step = backfill_parser().parse_args([]).step
    assert 2 * step <= 4 * duration(scrape)
    # A panel of 500 pixels at 6 hours has a point each 30 or 60 seconds: as many samples as points, or more.
    assert step <= 6 * 3600 / 500


def names(folder: Path) -> list[str]:
    """What is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


class HangsAt(Faults):
    """A platform that answers no request once `limit` of them have come."""

    def __init__(self, limit: int, stats: Stats) -> None:
        super().__init__(settings=FaultSettings(slow_seconds=600.0))
        self._limit, self._stats = limit, stats

    def pick(self) -> Fault | None:
        """Hang, or do nothing."""
        return Fault.SLOW if self._stats.requests.total() >= self._limit else None


async def ran(
    simulator: RunningSimulator, *argv: str, end_at: int | None = None, by: signal.Signals = signal.SIGKILL
) -> tuple[int, str, str]:
    """Run the command in its own process.

    With `end_at`, the platform hangs after that many requests, and the process gets the signal `by`.
    """
    platform = simulator.platform
    faults = platform.faults
    if end_at is not None:
        platform.faults = HangsAt(end_at, platform.stats)
    command = (sys.executable, "-m", "exporter", "backfill", f"--api.base-url={simulator.url}")
    flags = ("--from=1d", "--to=now", "--output=out.txt", "--api.duty=1", *argv)
    process = await asyncio.create_subprocess_exec(
        *command,
        *flags,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        # Tests that run in the background of a shell inherit that it is ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    if end_at is not None:
        async for _ in attempts("so many requests"):
            if platform.stats.requests.total() > end_at:  # one more than is answered
                break
        process.send_signal(by)
    stdout, stderr = await process.communicate()
    platform.faults = faults
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_it_writes_the_truth(tmp_path: Path) -> None:
    """The command writes the correct output, removes its work file and prints a summary."""
    async with await serve(QUICK) as simulator:
        status, told, said = await ran(simulator, "--label=job=j")
        world = simulator.platform.world
    assert (status, names(tmp_path)) == (0, ["out.txt"]), said
    visible = {fact.id for fact in world.truth().values() if fact.visible}
    assert last_tally(samples((tmp_path / "out.txt").read_text())) == truth_of(world, visible)
    assert told.startswith(f"out.txt: {len(visible)} records that ended after ")
    assert said.startswith("no ledger at state.url")


async def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed several times, the command continues, asks only for what is missing, and counts correctly."""
    async with await serve(QUICK) as simulator:
        stats = simulator.platform.stats
        for kill_at in (60, 300, 500):
            status, _, _ = await ran(simulator, end_at=kill_at)
            assert status == -signal.SIGKILL
            assert names(tmp_path)[0] == "out.txt.partial"
            assert "out.txt" not in names(tmp_path)
        status, _, said = await ran(simulator)
        assert (status, "continuing with out.txt.partial" in said) == (0, True)
        world = simulator.platform.world
        asked = stats.requests["record"]
    visible = {fact.id for fact in world.truth().values() if fact.visible}
    assert last_tally(samples((tmp_path / "out.txt").read_text())) == truth_of(world, visible)
    assert asked <= len(world) + 3 * 60  # at most a page, and what overlaps, again after each kill


async def test_an_interrupt_is_told_and_kept(tmp_path: Path) -> None:
    """After Ctrl-C the status is 2, and one line says how to continue."""
    async with await serve(QUICK) as simulator:
        status, told, said = await ran(simulator, end_at=20, by=signal.SIGINT)
    assert (status, told) == (2, "")
    assert said.splitlines()[-1] == (
        "job-exporter: interrupted; what was read is kept in out.txt.partial: "
        "run the same command to continue"
    )
    assert names(tmp_path) == ["out.txt.partial"]


async def test_another_window_on_the_work_file_is_refused(tmp_path: Path) -> None:
    """A work file of another window is refused and left unchanged."""
    async with await serve(QUICK) as simulator:
        await ran(simulator, end_at=200)
        status, told, said = await ran(simulator, "--from=2d")
    assert (status, told) == (2, "")
    assert said.splitlines()[-1].startswith(
        "job-exporter: out.txt.partial contains an unfinished backfill with another --from (1d, now 2d): "
    )
    assert (tmp_path / "out.txt.partial").exists()


# -- what can't be done


def refused(capsys: Captured, *argv: str) -> str:
    """Run what cannot work: status 2, one line, and nothing left behind."""
    before = sorted(path.name for path in Path().iterdir())
    with pytest.raises(SystemExit) as ended:
        main(("backfill", *argv), {})
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("job-exporter: ")
    assert sorted(path.name for path in Path().iterdir()) == before
    return line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--output=o",), "--from is missing"),
        (("--from=1d",), "--output is missing"),
        (("--from=1d", "--output=o", "--to=2d"), "the wrong way round: --from 1d is not before --to 2d"),
        (("--from=2999-01-01", "--output=o"), "--from 2999-01-01 lies in the future"),
        (("--from=1d", "--to=2999-01-01", "--output=o"), "--to 2999-01-01 lies in the future"),
        (("--from=soon", "--output=o"), "--from: 'soon' is no time; write now, a duration"),
        (("--from=1d", "--output=there"), "--output there exists"),
        (("--from=1d", "--output=no/where"), "there is no folder no"),
        (("--from=1d", "--output=/"), "--output / exists"),
        (("--from=1d", "--output=."), "--output . exists"),
        (("--from=1d", "--output=" + "o" * 250), "File name too long"),
        (("--from=1d", "--output=" + "o" * 300), "File name too long"),
        (("--from=1d", "--output=o", "--step=10m"), "--step: 10m is not from 1s to 5m"),
        (("--from=1d", "--output=o", "--step=x"), "--step: 'x' is no duration"),
        (("--from=1d", "--output=o", "--label=job"), "--label: 'job' is not NAME=VALUE"),
        (("--from=1d", "--output=o", "--label=job="), "--label: 'job=' is not NAME=VALUE"),
        (("--from=1d", "--output=o", "--label=__name__=x"), "--label: '__name__=x' is not NAME=VALUE"),
        (("--from=1d", "--output=o", "--label=idc=x"), "--label idc: the metrics have this label already"),
        (
            ("--from=1d", "--output=o", "--label=a=x", "--label=a=y"),
            "--label a: the metrics have this label already",
        ),
        (("--from=1d", "--output=o"), "cannot reach http://127.0.0.1:9"),
        (
            ("--from=1d", "--output=o", "--state.url=sqlite:///there"),
            "file is not a database: it is not a ledger",
        ),
        (("--from=1d", "--output=o", "--outptu=p"), "unknown flag --outptu"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    argv: tuple[str, ...], said: str, capsys: Captured
) -> None:
    """Invalid flags are refused in one line that names them; no work file stays."""
    Path("there").write_text("something else, and long enough to be looked at by a database " * 20)
    assert said in refused(capsys, NOBODY, *argv)


def test_a_platform_is_needed(capsys: Captured) -> None:
    """Without `api.base-url` the command is refused."""
    assert "address of the job platform is missing" in refused(capsys, "--from=1d", "--output=o")


def test_a_database_of_another_program_is_no_ledger(capsys: Captured) -> None:
    """The database of another program is refused as ledger and left unchanged."""
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE holidays (day TEXT)")
        connection.commit()
    line = refused(capsys, NOBODY, "--from=1d", "--output=o", "--state.url=sqlite:///other.db")
    assert "other.db" in line
    assert "database of another program" in line


# -- the seam


def seam_of(its: Life, folder: Path) -> Live:
    """The ledger of a life, read beside it."""
    return Live(f"sqlite:///{folder / 'ledger.db'}", platform=PLATFORM)


def test_the_ledger_is_read_beside_the_daemon(tmp_path: Path) -> None:
    """While the daemon runs, the ledger tells where counting began and which records are live."""
    with life(tmp_path, past=3) as its:
        began = its.clock.now - 2
        counted, open_ = its.ran(), its.add()
        its.poll(2)
        gone = its.add()
        its.poll()
        its.world.delete([gone])
        its.poll(10)
        with closing(seam_of(its, tmp_path)) as ledger:
            assert ledger.began == began
            assert ledger.created <= began
            ids = {record.id for record in its.world} | {gone}
            assert ledger.owns(ids) == {counted, open_, gone}


def test_nothing_is_written_beside_the_daemon(tmp_path: Path) -> None:
    """Reading the ledger does not change it, and does not create a missing one."""
    with life(tmp_path, past=3):
        pass
    before = (tmp_path / "ledger.db").read_bytes()
    with closing(Live(f"sqlite:///{tmp_path / 'ledger.db'}", platform=PLATFORM)) as ledger:
        assert ledger.owns(["x"]) == set()
    assert (tmp_path / "ledger.db").read_bytes() == before
    with closing(Live(f"sqlite:///{tmp_path / 'none.db'}", platform=PLATFORM)) as ledger:
        assert not ledger.exists
        assert ledger.owns(["x"]) == set()
    assert not (tmp_path / "none.db").exists()


def test_the_ledger_of_another_platform_is_refused(tmp_path: Path) -> None:
    """The ledger of another platform is refused."""
    with life(tmp_path, past=3):
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        with pytest.raises(LedgerError, match="belongs to the platform"):
            Live(url, platform="http://another.test")


def test_a_ledger_that_counted_nothing_yet_is_refused(tmp_path: Path) -> None:
    """A ledger before its first poll is refused, because it does not say where counting began."""
    with life(tmp_path, polled=False), pytest.raises(BackfillError, match="let the daemon poll once"):
        Live(f"sqlite:///{tmp_path / 'ledger.db'}", platform=PLATFORM)


# -- progress


def test_without_a_terminal_progress_is_a_line_each_ten_seconds() -> None:
    """Without a terminal, progress is a line every ten seconds."""
    text, now = StringIO(), Clock(0.0)
    with progress("reading", "records", Console(file=text), monotonic=now) as tell:
        for seconds, share in ((9.0, 0.1), (10.0, 0.25), (15.0, 0.3), (20.0, 0.5)):
            now.now = seconds
            tell(share, round(share * 4_000))
    assert text.getvalue() == "reading: 25%, 1,000 records\nreading: 50%, 2,000 records\n"


def test_on_a_terminal_progress_is_a_bar() -> None:
    """On a terminal, progress is a bar with share and number of units."""
    text = StringIO()
    with progress("writing", "label sets", Console(file=text, force_terminal=True, width=120)) as tell:
        tell(0.5, 1_234)
        tell(1.0, 2_468)
    assert "writing" in text.getvalue()
    last = text.getvalue().rpartition("writing")[2]
    assert "100%" in last
    assert "2,468 label sets" in last
