"""Replicas on one PostgreSQL ledger, whose leader is killed, paused, cut off or stopped, again and again.

A fifth of all requests to the platform fail meanwhile, and the database itself is restarted now and then. In
the end the counters are the truth. A trigger in the database keeps for each commit under which term and by
whom it was made: no two leaders ever committed.
"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGQUIT, SIGSTOP

import pytest

from exporter.ledger import Layout, Ledger
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.cable import Cable, cable, through
from tests.crash.compare import fallen, of_ledger, untruths
from tests.crash.harness import Key, LedgerRows, Program, attempts, rows_of, running, spawn
from tests.crash.test_kills import CALM, FAULTS, HISTORY, drain
from tests.postgres_support import Postgres, server

INTERVAL = 1.0  # seconds between polls, and the shortest lease there is
RATE = 6.0  # jobs a second
RESTARTS = 5  # a restart of the database comes with every so many failovers
FLAGS = (
    f"--poll.interval={INTERVAL:g}s",
    "--poll.recheck-interval=3s",
    "--poll.settle-grace=4s",
    "--api.duty=1",
)
# Every commit writes where the tail is: whoever does it holds the row of the leader by then.
WITNESS = (
    "CREATE TABLE witness (number serial, term bigint, holder text, by text)",
    """CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (term, holder, by)
    SELECT term, holder, current_setting('application_name') FROM job_exporter_leader;
    RETURN NEW; END $$""",
    """CREATE TRIGGER witness BEFORE INSERT OR UPDATE ON job_exporter_meta
    FOR EACH ROW WHEN (NEW.key = 'tail') EXECUTE FUNCTION witness()""",
)


@dataclass(kw_only=True)
class Member:
    """One replica: its folder, its cable to the database, its process."""

    folder: Path
    line: Cable
    url: str
    program: Program | None = None

    @property
    def running(self) -> Program:
        """Its process."""
        assert self.program is not None
        return self.program

    async def start(self, platform: str) -> None:
        """Start it, and wait until it serves."""
        self.program = await spawn(self.folder, *running(platform, *FLAGS, f"--state.url={self.url}"))
        await self.program.url()

    async def leads(self) -> bool:
        """Whether it says that it polls."""
        return await self.running.value("job_exporter_leader") == 1


@dataclass(kw_only=True)
class Service:
    """All replicas, and how long each failover took."""

    postgres: Postgres
    url: str
    platform: RunningSimulator
    rng: random.Random
    members: list[Member]
    shown: dict[Key, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    async def leader(self, among: list[Member] | None = None) -> Member:
        """Wait for one that leads."""
        async for _ in attempts("a leader"):
            for member in among or self.members:
                if await member.leads():
                    return member
        raise AssertionError  # pragma: no cover  (attempts never ends by itself)

    async def fail_over(self) -> None:
        """Do something to the leader; wait until another has polled; mend it."""
        leader = await self.leader()
        others = [member for member in self.members if member is not leader]
        trouble = self.rng.choice([*TROUBLES])
        began = time.monotonic()
        async with TROUBLES[trouble](self, leader):
            successor = await self.leader(others)
            self.seconds.setdefault(trouble, []).append(time.monotonic() - began)
            await self.look(successor)
            await successor.running.lives(self.rng.uniform(0.0, INTERVAL))
        await self.follows(leader)

    async def follows(self, member: Member) -> None:
        """Wait until a replica that is back shows what the leader does, and is ready."""
        async for _ in attempts("a follower that is ready"):
            if (await member.running.get("/-/ready")).status_code == 200:
                break
        await self.look(member)

    async def look(self, member: Member) -> None:
        """Scrape; what any replica has shown before, another that is whole must not show less of."""
        shown = of_ledger(await member.running.scrape())
        async for _ in attempts("counters that no replica has shown higher"):
            if not fallen(self.shown, shown):
                break
            shown = of_ledger(await member.running.scrape())
        self.shown = shown

    def rows(self) -> LedgerRows:
        """What the ledger holds of records."""
        return rows_of(lambda query: self.postgres.query(self.url, query))

    def commits(self) -> list[tuple[int, str, str]]:
        """Term, holder by the row of the leader, and who wrote, of each commit in its order."""
        found = self.postgres.query(self.url, "SELECT term, holder, by FROM witness ORDER BY number")
        return [(int(term), str(holder), str(by)) for term, holder, by in found]

    def report(self, commits: int) -> str:
        """How long failovers took."""
        every = [seconds for some in self.seconds.values() for seconds in some]
        parts = [
            f"{name} {len(some)} (p50 {statistics.median(some):.2f} s, worst {max(some):.2f} s)"
            for name, some in sorted(self.seconds.items())
        ]
        return (
            f"{len(every)} failovers at a poll interval of {INTERVAL:g} s: "
            f"p50 {statistics.median(every):.2f} s, worst {max(every):.2f} s; "
            f"{'; '.join(parts)}; {commits} commits"
        )


@asynccontextmanager
async def killed(service: Service, leader: Member) -> AsyncIterator[None]:
    """SIGKILL, and another start."""
    await leader.running.kill()
    yield
    await leader.start(service.platform.url)


@asynccontextmanager
async def paused(service: Service, leader: Member) -> AsyncIterator[None]:
    """SIGSTOP; when it goes on, it believes for a moment to lead."""
    leader.running.signal(SIGSTOP)
    try:
        yield
    finally:
        leader.running.signal(SIGCONT)


@asynccontextmanager
async def cut_off(service: Service, leader: Member) -> AsyncIterator[None]:
    """Nothing gets through to the database, and nobody says so."""
    leader.line.cut("silent")
    try:
        yield
    finally:
        leader.line.mend()


@asynccontextmanager
async def disconnected(service: Service, leader: Member) -> AsyncIterator[None]:
    """Connections to the database break, and new ones are refused."""
    leader.line.cut("reset")
    try:
        yield
    finally:
        leader.line.mend()


@asynccontextmanager
async def stopped(service: Service, leader: Member) -> AsyncIterator[None]:
    """SIGTERM, as in a rolling restart."""
    ended = await leader.running.stop()
    assert ended.status == 0, ended.stderr
    yield
    await leader.start(service.platform.url)


Trouble = Callable[[Service, Member], AbstractAsyncContextManager[None]]
TROUBLES: Mapping[str, Trouble] = {
    "killed": killed,
    "paused": paused,
    "cut off": cut_off,
    "disconnected": disconnected,
    "stopped": stopped,
}


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that this test may restart: so what it has confirmed must be there again."""
    with server({}) as running_:
        yield running_


@asynccontextmanager
async def replicas(postgres: Postgres, folder: Path, number: int, seed: int) -> AsyncIterator[Service]:
    """Start a platform and replicas of it that count."""
    url = postgres.url()
    config = SimulatorConfig(
        port=0, scenario="traps", rate=RATE, history=HISTORY, seed=seed, stdout_bytes=200
    )
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(await serve(config))
        members = []
        for index in range(number):
            (folder / str(index)).mkdir()
            line = await stack.enter_async_context(cable(postgres.folder / ".s.PGSQL.5432"))
            members.append(Member(folder=folder / str(index), line=line, url=through(line, url)))
        # Made before the replicas come, so that nobody is kept waiting for the trigger.
        Ledger(url, platform=platform.url, now=time.time(), layout=Layout(), lease=INTERVAL).close()
        postgres.query(url, *WITNESS)
        service = Service(
            postgres=postgres, url=url, platform=platform, rng=random.Random(seed), members=members
        )
        try:
            yield service
        finally:
            for member in members:
                if member.program is not None:
                    member.program.signal(SIGCONT)
                    await member.program.kill()


async def besieged(service: Service, failovers: int) -> str:
    """Let the lead change hands so often; then all replicas show the truth. How long it took, in words."""
    platform = service.platform.platform
    platform.tick()
    before = set(platform.world.truth())
    for member in service.members:
        await member.start(service.platform.url)
    async for _ in attempts("the end of the first reading"):
        if (await asyncio.to_thread(service.rows)).begun:
            break
    during = set(platform.world.truth()) - before
    platform.faults.settings = FAULTS
    for number in range(failovers):
        await service.fail_over()
        if number % RESTARTS == RESTARTS - 1:
            await asyncio.to_thread(service.postgres.stop, service.rng.choice([SIGINT, SIGQUIT]))
            await asyncio.to_thread(service.postgres.start)
    drain(service.platform)
    for member in service.members:
        await is_true(service, member, before=before, during=during)
    commits = await asyncio.to_thread(service.commits)
    check(commits)
    return service.report(len(commits))


async def is_true(service: Service, member: Member, *, before: set[str], during: set[str]) -> None:
    """Wait until a replica shows the truth."""
    problems: list[str] = []
    world = service.platform.platform.world
    try:
        async for _ in attempts("the truth", patience=CALM):
            rows = await asyncio.to_thread(service.rows)
            problems = untruths(await member.running.scrape(), rows, world, during=during, before=before)
            if not problems:
                break
    except AssertionError:
        pytest.fail("\n".join(["the counters are not the truth:", *problems]))


def check(commits: list[tuple[int, str, str]]) -> None:
    """Each commit was made by who led; terms never go back; each belongs to one holder."""
    assert len({term for term, _, _ in commits}) > 1
    assert [term for term, _, _ in commits] == sorted(term for term, _, _ in commits)
    holders: dict[int, str] = {}
    for term, holder, by in commits:
        assert by == f"job-exporter {holder}"[:63]
        assert holders.setdefault(term, holder) == holder


async def test_two_replicas_fail_over_and_count_the_truth(own_postgres: Postgres, tmp_path: Path) -> None:
    """Eight failovers; each record once, no two leaders commit, both replicas show the same in the end."""
    async with replicas(own_postgres, tmp_path, 2, seed=1) as service:
        await besieged(service, 8)


@pytest.mark.soak
async def test_replicas_fail_over_for_long(own_postgres: Postgres, tmp_path: Path) -> None:
    """A hundred failovers of three replicas."""
    async with replicas(own_postgres, tmp_path, 3, seed=2) as service:
        print(await besieged(service, 100))  # noqa: T201  (what `make soak` is run for)
