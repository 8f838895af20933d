"""Replicas on one PostgreSQL ledger, whose leader is killed, paused, cut off or stopped, again and again.

A fifth of all requests to the platform fail meanwhile, and the database itself is restarted now and then. In
the end the counters are the truth. A trigger in the database keeps for each commit under which term and by
whom it was made: no two leaders ever committed.
"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGQUIT

import psycopg
import pytest

from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.cable import cable, through
from tests.crash.compare import fallen, of_ledger, untruths
from tests.crash.harness import Key, LedgerRows, attempts, rows_of
from tests.crash.replicas import INTERVAL, TROUBLES, Member
from tests.crash.test_kills import CALM, FAULTS, HISTORY, drain
from tests.harness.postgres import Postgres, server

RATE = 6.0  # jobs a second
RESTARTS = 5  # a restart of the database comes with every so many failovers
TOLD = 15  # lines of each log that are told where something fails
TELLING = (  # what is asked of the database then
    "SELECT term, holder, until - extract(epoch FROM clock_timestamp()) FROM job_exporter_leader",
    """SELECT application_name, state, wait_event, now() - state_change, left(query, 80)
    FROM pg_stat_activity WHERE application_name LIKE 'job-exporter%'""",
)
# Every commit writes where the tail is: whoever does it holds the row of the leader by then.
WITNESS = (
    "CREATE TABLE witness (number serial, term bigint, holder text, by text)",
    """CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (term, holder, by)
    SELECT term, holder, current_setting('application_name') FROM job_exporter_leader;
    RETURN NEW; END $$""",
    """CREATE TRIGGER witness BEFORE INSERT OR UPDATE ON job_exporter_meta
    FOR EACH ROW WHEN (NEW.key = 'progress') EXECUTE FUNCTION witness()""",
)


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
        """Wait until one of them says that it leads: one that was replaced may say so for another moment."""
        async for _ in attempts("one leader"):
            leaders = [member for member in among or self.members if await member.leads()]
            if len(leaders) == 1:
                return leaders[0]
        raise AssertionError  # pragma: no cover  (attempts never ends by itself)

    async def fail_over(self) -> None:
        """Do something to the leader; wait until another has polled; mend it."""
        leader = await self.leader()
        others = [member for member in self.members if member is not leader]
        trouble = self.rng.choice([*TROUBLES])
        began = time.monotonic()
        async with TROUBLES[trouble](leader, self.platform.url):
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

    def told(self) -> str:
        """What the replicas and the database have to say of a failure."""
        parts = [f"{name}: {[round(second, 2) for second in some]}" for name, some in self.seconds.items()]
        for index, member in enumerate(self.members):
            log = (member.folder / "stderr").read_text().splitlines()
            parts += [f"-- the end of the log of replica {index}", *log[-TOLD:]]
        with suppress(psycopg.Error):  # it may be down
            parts += [str(row) for query in TELLING for row in self.postgres.query(self.url, query)]
        return "\n".join(parts)

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
        except BaseException as error:
            error.add_note(service.told())
            raise
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
