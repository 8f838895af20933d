"""A replica's life, in a time that passes at once: how long failovers take, a silent database, faults."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.polling.replica import BEATS, BREAK_OFF, GIVE_UP, Replica, lease_of

T = TypeVar("T")
LATENCY = 0.05  # seconds that the database takes for anything, unless a test says else
POLL = 0.2  # seconds that a poll takes


class Instantly(selectors.DefaultSelector):
    """Waits for nothing: what it would have waited is what time it is."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing would ever happen again"
        self.now += max(timeout, 0.0)
        return super().select(0)


def at_once(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario in a loop whose time passes as fast as it can."""
    selector = Instantly()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question to the database takes the time of the loop."""

    async def to_thread(job: Callable[[], T]) -> T:
        answer = job()
        await asyncio.sleep(getattr(getattr(job, "__self__", None), "latency", LATENCY))
        return answer

    monkeypatch.setattr(asyncio, "to_thread", to_thread)


@dataclass
class Row:
    """The row of the leader, in the database; its clock is the loop's."""

    term: int = 0
    until: float = -1.0


@dataclass
class Shared:
    """A replica's ledger, as far as a replica sees it."""

    row: Row
    lease: float
    term: int | None = None
    until: float = 0.0
    latency: float = LATENCY
    mood: Callable[[], Exception | None] = lambda: None
    notes: tuple[str, ...] = ()
    refreshed: list[float] = field(default_factory=list)
    committed: bool = True

    @property
    def follows(self) -> bool:
        return self.term is None

    @property
    def leads(self) -> bool:
        return self.term is not None and now() < self.until

    def keep_lead(self) -> None:
        self._ask()
        if self.term != self.row.term:
            self.term = None
            raise LostLeadershipError
        self.until = self.row.until = now() + self.lease

    def take_lead(self, *, now: float) -> bool:
        self._ask()
        moment = asyncio.get_running_loop().time()
        if moment <= self.row.until:
            return False
        self.row.term += 1
        self.term = self.row.term
        self.until = self.row.until = moment + self.lease
        return True

    def follow(self) -> bool:
        self._ask()
        committed, self.committed = self.committed, False
        if committed:
            self.refreshed.append(now())
        return committed

    def give_up_lead(self) -> None:
        self._ask()
        self.term = None

    def _ask(self) -> None:
        if (error := self.mood()) is not None:
            raise error


@dataclass
class Polls:
    """The poller, as far as a replica sees it: what was shown, and when it polled."""

    ledger: Shared
    busy: bool = False
    polled: list[float] = field(default_factory=list)
    shown: list[tuple[float, bool]] = field(default_factory=list)
    broken_off: int = 0

    async def poll(self) -> None:
        await asyncio.sleep(POLL)
        self.polled.append(now())

    def publish(self) -> None:
        self.shown.append((now(), self.ledger.leads))

    def break_off(self) -> None:
        self.broken_off += self.busy
        self.busy = False


@dataclass
class Life:
    """A replica that runs."""

    ledger: Shared
    polls: Polls
    replica: Replica
    task: asyncio.Task[None]


def now() -> float:
    return asyncio.get_running_loop().time()


def begun(row: Row, interval: float) -> Life:
    """Start a replica."""
    ledger = Shared(row, lease_of(interval))
    ledger.take_lead(now=0.0)
    polls = Polls(ledger)
    replica: Any = Replica(ledger=ledger, poller=polls, interval=interval)  # type: ignore[arg-type]
    return Life(ledger, polls, replica, asyncio.create_task(replica.run()))


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


# -- how long a failover takes


@pytest.mark.parametrize("interval", [1.0, 2.0, 5.0, 15.0, 60.0, 300.0])
@pytest.mark.parametrize("phase", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_within_two_intervals_another_has_polled(interval: float, phase: float) -> None:
    """Whenever the leader falls silent and the other looks: after a lease, a beat, and its first poll."""

    async def scenario() -> float:
        row = Row()
        leader = begun(row, interval)
        await asyncio.sleep(phase * lease_of(interval) / BEATS)
        follower = begun(row, interval)
        await asyncio.sleep(10 * interval + phase * interval)
        assert (leader.ledger.leads, follower.ledger.leads) == (True, False)
        leader.task.cancel()
        died = now()
        await asyncio.sleep(10 * interval)
        assert row.term == 2
        follower.task.cancel()
        return follower.polls.polled[0] - died

    took = at_once(scenario())
    assert took <= lease_of(interval) * (1 + 1 / BEATS) + POLL + 5 * LATENCY
    assert took <= 2 * interval


@pytest.mark.parametrize("late", [1, 2])
def test_a_leader_whose_beats_are_late_keeps_the_lead(late: int) -> None:
    """On a busy machine: of three beats in a lease two may come too late."""

    async def scenario() -> None:
        row = Row()
        leader, follower = begun(row, 15.0), None
        follower = begun(row, 15.0)
        await asyncio.sleep(100)
        leader.ledger.latency = late * 5.0 - LATENCY
        await asyncio.sleep(300)
        assert (row.term, follower.ledger.term) == (1, None)
        for life in (leader, follower):
            life.task.cancel()

    at_once(scenario())


# -- what is shown of the lead


def test_a_lead_that_was_lost_and_is_had_again_is_shown_at_once(logged: list[Any]) -> None:
    """No poll has to come first, which may be a minute away where the platform fails."""

    async def scenario() -> list[tuple[float, bool]]:
        leader = begun(Row(), 15.0)
        await asyncio.sleep(20)
        leader.ledger.mood = lambda: LedgerError("away")
        await asyncio.sleep(40)
        leader.ledger.mood = lambda: None
        await asyncio.sleep(10)
        leader.task.cancel()
        return leader.polls.shown

    (lost, leads), (found, again) = at_once(scenario())
    assert (leads, again) == (False, True)
    assert 30 < lost < 40
    assert 60 < found < 66
    assert [line["event"] for line in logged] == [
        "the ledger is unreachable",
        "the ledger is reachable again",
    ]


def test_a_database_that_says_nothing_is_told(logged: list[Any]) -> None:
    """No error comes of a network that drops, or a server that hangs: the end of the lease tells it."""

    async def scenario() -> str | None:
        leader = begun(Row(), 15.0)
        await asyncio.sleep(20)
        leader.ledger.latency = 60.0
        await asyncio.sleep(30)
        said = leader.replica.trouble
        assert not leader.ledger.leads
        assert not leader.polls.shown[-1][1]
        leader.ledger.latency = LATENCY
        await asyncio.sleep(60)
        assert leader.replica.trouble is None
        leader.task.cancel()
        return said

    assert "does not answer" in (at_once(scenario()) or "")
    assert [line["event"] for line in logged] == [
        "the ledger is unreachable",
        "the ledger is reachable again",
    ]


# -- what goes wrong


def test_a_fault_costs_one_beat(logged: list[Any]) -> None:
    """It is told with all there is to know of it, once; and the replica goes on."""

    async def scenario() -> None:
        row = Row()
        leader, follower = begun(row, 15.0), begun(row, 15.0)
        for life in (leader, follower):
            life.ledger.mood = lambda: KeyError("nobody thought of it")
        await asyncio.sleep(40)
        assert [life.replica.trouble for life in (leader, follower)] == ["KeyError"] * 2
        follower.ledger.mood = lambda: None
        await asyncio.sleep(20)
        assert follower.ledger.leads
        for life in (leader, follower):
            life.task.cancel()

    at_once(scenario())
    faults = [line for line in logged if "bug in the exporter" in line["event"]]
    assert [line["log_level"] for line in faults] == ["error", "error"]


def test_who_lost_the_lead_breaks_its_poll_off() -> None:
    """What it still asks for can't be committed; and with a poll in flight it could not take over."""

    async def scenario() -> None:
        row = Row()
        leader = begun(row, 15.0)
        await asyncio.sleep(1)
        leader.polls.busy = True
        row.term += 1  # another has taken over
        row.until = now() + 15
        await asyncio.sleep(6)
        assert (leader.ledger.follows, leader.polls.broken_off) == (True, 1)
        leader.task.cancel()

    at_once(scenario())


@pytest.mark.parametrize("latency", [LATENCY, 60.0], ids=["healthy", "hangs"])
def test_a_stop_waits_for_no_database_that_hangs(latency: float) -> None:
    """What is told of it lets the process end without its threads."""

    async def scenario() -> tuple[bool, float]:
        leader = begun(Row(), 15.0)
        await asyncio.sleep(20)
        leader.ledger.latency = latency
        await asyncio.sleep(5)
        leader.task.cancel()
        began = now()
        await leader.replica.hand_over()
        return await leader.replica.ended(), now() - began

    ended, took = at_once(scenario())
    assert ended == (latency == LATENCY)
    assert took <= GIVE_UP + BREAK_OFF + LATENCY


@pytest.mark.parametrize("error", [LedgerError("it is down"), ValueError("a bug")], ids=repr)
def test_a_lead_that_could_not_be_handed_over_is_logged(logged: list[Any], error: Exception) -> None:
    async def scenario() -> None:
        leader = begun(Row(), 15.0)
        await asyncio.sleep(1)
        leader.task.cancel()
        leader.ledger.mood = lambda: error
        await leader.replica.hand_over()

    at_once(scenario())
    assert [line["error"] for line in logged if "not handed over" in line["event"]] == [str(error)]


# -- what followers load


def test_followers_load_what_was_committed_at_their_next_beat() -> None:
    """They publish what they have loaded, and nothing if there is nothing new."""

    async def scenario() -> None:
        row = Row()
        leader, follower = begun(row, 15.0), begun(row, 15.0)
        await asyncio.sleep(100)
        assert len(follower.ledger.refreshed) == len(follower.polls.shown) == 1
        follower.ledger.committed = True
        told = now()
        await asyncio.sleep(6)
        assert told <= follower.ledger.refreshed[-1] < told + 6
        assert len(follower.polls.shown) == 2
        for life in (leader, follower):
            life.task.cancel()

    at_once(scenario())
