"""SIGKILL at random moments while a fifth of all requests fail: nothing is lost, nothing counted twice.

The truth is the simulator's. Records that finished before the exporter was started are the baseline;
what finished while it was reading for the first time may be either, and the ledger says which.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Literal

import pytest

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.documented import Items
from exporter.simulator.faults import FaultSettings
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.compare import fallen, of_ledger, untruths
from tests.crash.harness import Key, Program, attempts, ledger_rows, running, spawn, total

HISTORY = 60  # records of the baseline: more than a page, so that both ends of the pages matter
RATE = 12.0  # jobs a second: some settle in each of the short lives of the exporter
FAULTS = FaultSettings(rate=0.2, slow_seconds=0.2)
# Polls in which all is counted after the traffic ended. Mostly it takes some seconds; but of a record that
# got its rows late, and lies a little beside the position that was empty, only the fifth look may be wide
# enough: six minutes after the first.
CALM = 2000
LONGEST = 3600.0  # seconds that these may take on a machine that has other work
LIFE = 1.2  # seconds that a life lasts at most: several polls, the moment in any phase of them
ABOUT = 0.008  # seconds from the first write of a commit: it takes one to five here
POLLS_AFTER = 25  # polls after all was counted, two re-checks of the tail among them: it must stay so
FIRST_COUNTED = 10  # records counted before the kills begin: the platform is in full swing by then
ENOUGH = 30  # kills after which it must have been at work meanwhile: of two, both may hit a start
FLAGS = (
    "--poll.recheck-interval=2s",
    "--poll.settle-grace=4s",  # hosts report up to 3 s after their record: the truth is what they say then
    "--api.duty=1",  # a page that was slow by a fault must not cost a short life its other pages
    "--state.url=sqlite:///ledger.db",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A platform, and how often the exporter is killed."""

    dialect: Literal["observed", "documented"]
    order: Literal["asc", "desc"]
    kills: int
    items: Items = "records"
    seed: int = 0

    @property
    def name(self) -> str:
        """As pytest shows it."""
        rows = "-rows" if self.items == "rows" else ""
        return f"{self.dialect}{rows}-{self.order}-{self.kills}-kills"

    def platform(self) -> SimulatorConfig:
        """The simulator of this case, its faults still switched off."""
        return SimulatorConfig(
            port=0,
            dialect=self.dialect,
            items=self.items,
            order=self.order,
            scenario="traps",
            rate=RATE,
            history=HISTORY,
            seed=self.seed,
            stdout_bytes=200,
        )


@dataclass(kw_only=True)
class Siege:
    """An exporter that is killed again and again, and what its counters showed last."""

    folder: Path
    platform: RunningSimulator
    rng: random.Random
    shown: dict[Key, float] = field(default_factory=dict)
    startup: float = 1.0  # seconds that the last start took until it listened

    @property
    def ledger(self) -> Path:
        """Its file."""
        return self.folder / "ledger.db"

    async def start(self) -> Program:
        """Start the exporter."""
        return await spawn(self.folder, *running(self.platform.url, *FLAGS))

    async def one_life(self) -> None:
        """Start, and kill: while it is starting, at any moment after that, or about a commit."""
        program = await self.start()
        kind = self.rng.choice(("starting", "anywhere", "commit", "commit"))
        try:
            if kind == "starting":
                assert await program.lives(self.rng.uniform(0.3, 1.0) * self.startup), program.log
                return
            began = time.monotonic()
            await program.url()
            self.startup = time.monotonic() - began
            end = time.monotonic() + self.rng.uniform(0.0, LIFE)
            while time.monotonic() < end:
                await self.look(program)
                rest = min(0.1, max(0.0, end - time.monotonic()))
                assert await program.lives(rest), program.log
            if kind == "commit":
                await asyncio.to_thread(self.kill_about_a_commit, program, self.rng.uniform(0.0, ABOUT))
        finally:
            await program.kill()

    def kill_about_a_commit(self, program: Program, after: float) -> None:
        """Kill so long after the next write to the ledger began: in it, or between it and the next.

        Uniform moments hit the few milliseconds of a commit too rarely to prove anything of them.
        """
        log = Path(f"{self.ledger}-wal")
        before, deadline = stamp(log), time.monotonic() + LIFE
        while stamp(log) == before and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(after)
        program.signal(SIGKILL)

    async def look(self, program: Program) -> None:
        """Scrape; what was shown before, by whichever process, must not be more."""
        shown = of_ledger(await program.scrape())
        assert not fallen(self.shown, shown), "\n".join(fallen(self.shown, shown))
        self.shown = shown


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; zeros while there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


async def besiege(case: Case, folder: Path) -> None:
    """Kill the exporter again and again; then compare all that it shows with the truth."""
    async with await serve(case.platform()) as platform:
        siege = Siege(folder=folder, platform=platform, rng=random.Random(case.name))
        platform.platform.tick()
        before = set(platform.platform.world.truth())
        during = await first_life(siege) - before
        counted = len(ledger_rows(siege.ledger).settled)
        for _ in range(case.kills):
            await siege.one_life()
        if case.kills >= ENOUGH:
            assert len(ledger_rows(siege.ledger).settled) > counted + 3 * case.kills
        drain(platform)
        program = await siege.start()
        try:
            await settles_at_the_truth(siege, program, during=during, before=before)
            ended = await program.stop()
        finally:
            await program.kill()
        assert ended.status == 0
        log = (folder / "stderr").read_text()
        assert not [word for word in ("bug in the exporter", "Traceback", "Warning") if word in log], log


async def first_life(siege: Siege) -> set[str]:
    """Run until counting has begun; gives what had finished when the first reading was over."""
    program, world = await siege.start(), siege.platform.platform.world
    try:
        await program.ready()
        async for _ in attempts("the end of the first reading"):
            if ledger_rows(siege.ledger).begun:
                break
        finished = set(world.truth())
        siege.platform.platform.faults.settings = FAULTS
        async for _ in attempts("records that are counted"):
            await siege.look(program)
            if total(siege.shown, "job_records_finished_total") >= FIRST_COUNTED:
                break
    finally:
        await program.kill()
    return finished


def drain(platform: RunningSimulator) -> None:
    """Let everything under way end now, and nothing fail any more."""
    inner = platform.platform
    inner.traffic.stop(inner.world, inner.tick(), drain=True)
    inner.faults.settings = FaultSettings()


async def settles_at_the_truth(siege: Siege, program: Program, *, during: set[str], before: set[str]) -> None:
    """Wait until all is counted; then it stays so, poll after poll."""
    last = await program.value("job_exporter_polls_total") + CALM
    async for _ in attempts("the truth", patience=LONGEST):
        began = time.monotonic()
        polls = await program.value("job_exporter_polls_total")
        problems = await differences(siege, program, during=during, before=before)
        if not problems:
            break
        if polls >= last:
            pytest.fail("\n".join(["the counters are not the truth:", *problems]))
        # The platform answers from this process: while all is compared, which takes the longer the more
        # there is, it does not.
        await asyncio.sleep(4 * (time.monotonic() - began))
    polls = await program.value("job_exporter_polls_total") + POLLS_AFTER
    async for _ in attempts("further polls"):
        if await program.value("job_exporter_polls_total") >= polls:
            break
    problems = await differences(siege, program, during=during, before=before)
    assert not problems, "\n".join(problems)


async def differences(siege: Siege, program: Program, *, during: set[str], before: set[str]) -> list[str]:
    """What is not the truth: ids first, then samples."""
    await siege.look(program)
    scrape = await program.scrape()
    world, rows = siege.platform.platform.world, ledger_rows(siege.ledger)
    return untruths(scrape, rows, world, during=during, before=before)


QUICKLY = [
    Case(dialect="observed", order="asc", kills=3),
    Case(dialect="observed", order="desc", kills=2),
    Case(dialect="documented", order="asc", kills=2),
    Case(dialect="documented", order="desc", kills=3),
]
LONG = [
    Case(dialect="observed", order="asc", kills=30, seed=1),
    Case(dialect="observed", order="desc", kills=30, seed=2),
    Case(dialect="documented", order="asc", kills=30, seed=3),
    Case(dialect="documented", order="desc", kills=30, seed=4),
    Case(dialect="documented", order="asc", kills=30, seed=5, items="rows"),
    Case(dialect="observed", order="asc", kills=200, seed=6),
]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=pytest.mark.xdist_group(f"kills-{number % 2}"))
        for number, case in enumerate(QUICKLY)
    ],
)
async def test_killed_at_random_moments_it_counts_the_truth(case: Case, tmp_path: Path) -> None:
    """Ten kills over both dialects and orders; every counter equals the truth, none ever went down."""
    await besiege(case, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in LONG])
async def test_killed_for_long_it_counts_the_truth(case: Case, tmp_path: Path) -> None:
    """Thirty kills on each kind of platform, and two hundred on one."""
    await besiege(case, tmp_path)
