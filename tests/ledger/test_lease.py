"""Replicas on one PostgreSQL ledger: who leads, that only the leader commits, and what the others see."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from exporter.metrics.exposition import Exposition
from exporter.metrics.families import layout
from exporter.model import FailedRecord, LeaderStatus, ResultStatus, Snapshot
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import State
from exporter.tracking.values import Changes, Outcome, Settlement, Tracked
from tests.harness.core import NOW, done, series, value
from tests.harness.inprocess import METRICS
from tests.harness.postgres import Postgres, cut_at_commit

PLATFORM = "http://platform.test"
BEGAN = CountingStart(baseline_end=NOW, floor=NOW - 100)
LAYOUT = layout(MetricsSettings(zero_hold=0.0))
FINISHED = series("job_records_finished_total", result_status="fail", provider="salt", script_type="bash")
HOURS = 3600.0  # a lease that no test outlives
MOMENT = 0.5  # a lease that is soon over


@contextmanager
def opened(url: str, **given: Any) -> Iterator[Ledger]:
    """Open a replica's ledger; like a killed process it gives nothing up at its end."""
    usual: dict[str, Any] = {"platform": PLATFORM, "now": NOW, "layout": LAYOUT, "lease": HOURS}
    ledger = Ledger(url, **{**usual, **given})
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture
def replicas(postgres_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two replicas on one ledger; the first leads."""
    with opened(postgres_url) as first, opened(postgres_url) as second:
        yield first, second


def settlement(record_id: str) -> Settlement:
    """Make the settlement of a failed record."""
    return Settlement(
        id=record_id,
        outcome=Outcome.SETTLED,
        found=NOW,
        record=done(record_id),
        increments=(Increment(series=FINISHED),),
        failure=FailedRecord(id=record_id, result=ResultStatus.FAIL, finished=NOW, duration=1.5),
    )


def changes(*ids: str, **given: Any) -> Changes:
    """Make a round's changes that settle these records."""
    usual = {"tail": Tail(total=7), "counting_start": BEGAN, "settlements": tuple(map(settlement, ids))}
    return Changes(**{**usual, **given})


def settle(ledger: Ledger, *ids: str) -> State:
    """Settle these records."""
    return ledger.commit(changes(*ids), now=NOW)


def expire(ledger: Ledger) -> None:
    """Let the lease of the leader run out, as if nothing had been heard of it for long."""
    with ledger._database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE job_exporter_leader SET until = 0"))


def handed_over(first: Ledger, second: Ledger) -> None:
    """Make the second lead while the first, paused, believes it still does."""
    expire(first)
    assert second.take_lead(now=NOW)
    assert first.leads


def finished(ledger: Ledger) -> float:
    """Tell how many records were counted."""
    return value(ledger.state, "job_records_finished_total")


# -- who leads


def test_the_first_leads_and_the_second_follows(replicas: tuple[Ledger, Ledger]) -> None:
    """The first replica leads; the second cannot while the lease is valid, and each commit renews it."""
    first, second = replicas
    assert (first.leads, second.leads) == (True, False)
    assert not second.take_lead(now=NOW)
    settle(first, "a")
    first.keep_lead()
    assert not second.take_lead(now=NOW)
    assert first.term == 1


def test_a_silent_leader_is_replaced(replicas: tuple[Ledger, Ledger]) -> None:
    """After its lease a silent leader is replaced; the term grows, and the new leader knows all commits."""
    first, second = replicas
    settle(first, "a")
    first.commit(changes(found=(Tracked(id="b", found=NOW, due=NOW),)), now=NOW)
    handed_over(first, second)
    assert (second.leads, second.term) == (True, 2)
    assert second.state == first.state
    assert second.known(["a", "b", "c"]) == {"a", "b"}


def test_a_lease_ends_by_the_clock_of_the_process_too(postgres_url: str) -> None:
    """A leader that was paused stops leading by its own clock when its lease has ended."""
    with opened(postgres_url, lease=MOMENT) as ledger:
        ledger.keep_lead()
        pause = threading.Event()
        while ledger.leads:
            pause.wait(MOMENT / 10)
        ledger.keep_lead()  # nobody has taken over meanwhile: it goes on under the same term
        assert ledger.term == 1


def test_a_leader_that_stops_hands_over_at_once(replicas: tuple[Ledger, Ledger]) -> None:
    """After a leader has given up, another takes over without waiting for the lease."""
    first, second = replicas
    first.give_up_lead()
    assert not first.leads
    assert second.take_lead(now=NOW)
    first.give_up_lead()  # it has nothing to give any more
    second.keep_lead()


def test_who_follows_gives_nothing_up(replicas: tuple[Ledger, Ledger]) -> None:
    """A follower's end does not change who leads."""
    first, second = replicas
    second.give_up_lead()
    first.keep_lead()
    assert not second.take_lead(now=NOW)


def test_of_many_that_start_together_one_leads(postgres_url: str) -> None:
    """Of many replicas that start together on an empty database, one leads and none fails."""
    together = threading.Barrier(6)

    def start() -> Ledger:
        together.wait()
        return Ledger(postgres_url, platform=PLATFORM, now=NOW, layout=LAYOUT, lease=HOURS)

    with ExitStack() as stack, ThreadPoolExecutor(6) as threads:
        ledgers = [future.result() for future in [threads.submit(start) for _ in range(6)]]
        for ledger in ledgers:
            stack.callback(ledger.close)
        assert sorted(ledger.leads for ledger in ledgers) == [False] * 5 + [True]
        leader = next(ledger for ledger in ledgers if ledger.leads)
        settle(leader, "a")
        for ledger in ledgers:
            ledger.refresh()
            assert finished(ledger) == 1


def test_of_many_that_take_over_together_one_does(postgres_url: str) -> None:
    """Of many replicas that take over together, one succeeds; each term has one leader."""
    with ExitStack() as stack:
        ledgers = [stack.enter_context(opened(postgres_url)) for _ in range(5)]
        for term in range(2, 8):
            expire(ledgers[0])
            followers = [ledger for ledger in ledgers if ledger.term is None]
            with ThreadPoolExecutor(5) as threads:
                took = [*threads.map(lambda ledger: ledger.take_lead(now=NOW), followers)]
            assert took.count(True) == 1
            for ledger in ledgers:
                if ledger.term != term and ledger.term is not None:
                    with pytest.raises(LostLeadershipError):
                        ledger.keep_lead()


# -- fencing


WRITES: Mapping[str, Callable[[Ledger], object]] = {
    "commit": lambda ledger: settle(ledger, "b"),
    "prune": lambda ledger: ledger.prune(before=NOW + 1),
    "tell": lambda ledger: ledger.tell(LeaderStatus(gauges=(), error=None)),
    "keep_lead": lambda ledger: ledger.keep_lead(),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_paused_leader_writes_nothing_once_another_leads(
    replicas: tuple[Ledger, Ledger], write: str, postgres: Postgres, postgres_url: str
) -> None:
    """A paused leader that believes its lease is valid cannot write after another has taken over."""
    first, second = replicas
    settle(first, "a")
    handed_over(first, second)
    before = content(postgres, postgres_url)
    with pytest.raises(LostLeadershipError, match="another replica leads"):
        WRITES[write](first)
    assert not first.leads
    assert content(postgres, postgres_url) == before
    assert finished(first) == 1
    settle(second, "b")
    assert finished(second) == 2


def test_who_never_led_writes_nothing(replicas: tuple[Ledger, Ledger]) -> None:
    """A follower's commit is refused."""
    with pytest.raises(LostLeadershipError):
        settle(replicas[1], "a")


def test_who_comes_back_after_another_led_knows_what_that_one_did(replicas: tuple[Ledger, Ledger]) -> None:
    """A replica that leads again counts nothing twice, though another leader saw the same end."""
    first, second = replicas
    handed_over(first, second)
    settle(second, "a")
    with pytest.raises(LostLeadershipError):
        settle(first, "a")
    expire(second)
    assert first.take_lead(now=NOW)
    settle(first, "a", "b")
    assert (finished(first), first.term) == (2, 3)


def test_nobody_takes_over_in_the_middle_of_a_commit(replicas: tuple[Ledger, Ledger]) -> None:
    """A leader in a commit locks the row of the lease; others do not take over and do not wait."""
    first, second = replicas
    with first._writing() as connection:
        connection.execute(sa.text("UPDATE job_exporter_leader SET until = 0"))
        assert not second.take_lead(now=NOW)
    first.keep_lead()


def test_a_transaction_whose_process_is_paused_is_ended_by_the_server(postgres_url: str) -> None:
    """The server ends the transaction of a paused process; it is undone, and another replica leads."""
    with opened(postgres_url, lease=MOMENT) as first, opened(postgres_url, lease=MOMENT) as second:
        with pytest.raises(LedgerError), first._writing() as connection:  # noqa: PT012
            connection.execute(sa.text("DELETE FROM job_exporter_counters"))
            pause = threading.Event()
            while not second.take_lead(now=NOW):
                pause.wait(0.02)
            connection.execute(sa.text("SELECT 1"))
        assert second.term == 2
        assert second.state.counters


def content(postgres: Postgres, url: str) -> list[list[tuple[Any, ...]]]:
    """All that the ledger holds of records and counters, and who leads."""
    tables = ("counters", "failures", "followed", "meta", "recent", "settled")
    lines = [postgres.query(url, f"SELECT * FROM job_exporter_{table} ORDER BY 1, 2") for table in tables]
    return [*lines, postgres.query(url, "SELECT term, holder FROM job_exporter_leader")]


# -- commits that do not tell how they ended


@pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
def test_memory_never_stays_behind_a_commit_that_did_not_tell(postgres_url: str, done: bool) -> None:
    """If the connection breaks at COMMIT, the ledger is loaded again, so that what was written is known."""
    with opened(postgres_url) as ledger:
        cut_at_commit(ledger._database.engine, done=done)
        with pytest.raises(LedgerError):
            settle(ledger, "a")
        assert ledger.doubtful
        ledger.refresh()
        assert (ledger.doubtful, finished(ledger)) == (False, done)
        settle(ledger, "a", "b")
        assert finished(ledger) == 2
        in_memory = ledger.state
        ledger.refresh()
        assert ledger.state == in_memory


def test_it_waits_for_a_commit_that_the_server_is_still_at(replicas: tuple[Ledger, Ledger]) -> None:
    """Loading waits until the server has finished an earlier commit of this process."""
    first, _ = replicas
    with first._database.engine.connect() as lost, ThreadPoolExecutor(1) as thread:
        lost.execute(sa.text("UPDATE job_exporter_leader SET until = until"))  # as a commit begins
        lost.execute(sa.text("UPDATE job_exporter_counters SET value = 5 WHERE family = 'job_record_hosts'"))
        loading = thread.submit(first.refresh)
        with first._database.engine.connect() as other:
            while not other.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                pass
        assert not loading.done()
        lost.commit()
        loading.result()
    assert value(first.state, "job_record_hosts", "sum") == 5


def test_a_lead_that_was_granted_without_a_word_is_taken_again(postgres_url: str) -> None:
    """If the connection breaks at the COMMIT of a takeover, the replica takes the lease again at once."""
    with opened(postgres_url) as first, opened(postgres_url) as second:
        expire(first)
        cut_at_commit(second._database.engine, done=True)
        with pytest.raises(LedgerError):
            second.take_lead(now=NOW)
        assert not second.leads
        assert second.take_lead(now=NOW)
        assert second.term == 3


def test_who_took_over_writes_nothing_before_it_has_loaded_all(postgres_url: str) -> None:
    """A new leader that could not load the ledger writes nothing until it has."""
    with opened(postgres_url) as first, opened(postgres_url) as second:
        first.commit(changes("a", found=(Tracked(id="b", found=NOW, due=NOW),)), now=NOW)
        second.refresh()
        expire(first)
        cut_at_commit(second._database.engine, done=True, after=1)
        with pytest.raises(LedgerError):
            second.take_lead(now=NOW)
        assert (second.leads, second.doubtful) == (True, True)
        with pytest.raises(LedgerError, match="loaded again"):
            settle(second, "b")
        with pytest.raises(LedgerError, match="loaded again"):
            second.prune(before=NOW)
        second.refresh()
        assert set(second.state.followed) == {"b"}
        settle(second, "a", "b")
        assert finished(second) == 2


# -- what followers see


def test_a_follower_loads_what_is_new(replicas: tuple[Ledger, Ledger]) -> None:
    """A follower loads after a commit and after a report of the leader, and not without either."""
    leader, follower = replicas
    assert not follower.follow()
    settle(leader, "a")
    assert follower.follow()
    assert not follower.follow()
    leader.tell(LeaderStatus(gauges=(), error="platform down"))
    assert follower.follow()
    assert finished(follower) == 1
    assert follower.leader_status == leader.leader_status
    leader.keep_lead()
    assert not follower.follow()


def exposed(ledger: Ledger, seconds: float = 0.0) -> bytes:
    """What a scrape shows of the ledger, so many seconds after its last commit."""
    exposition = Exposition(config=METRICS)
    exposition.show(Snapshot(counters=ledger.state.counters, time=ledger.state.time + seconds))
    return exposition.scrape(accept="", accept_encoding="").body


def test_a_follower_shows_the_same_bytes(replicas: tuple[Ledger, Ledger]) -> None:
    """After each commit a follower's exposition equals the leader's, byte for byte."""
    leader, follower = replicas
    for number in range(3):
        settle(leader, f"a{number}", f"b{number}")
        follower.refresh()
        for seconds in (0.0, 59.0, 61.0):
            assert exposed(follower, seconds) == exposed(leader, seconds)
        assert follower.state.failures == leader.state.failures
        assert follower.state.recent == leader.state.recent
        assert follower.state.latest == leader.state.latest
    assert b'result_status="fail",script_type="bash"} 6.0' in exposed(follower, 61.0)


def test_a_follower_hears_what_the_leader_says_of_the_platform(replicas: tuple[Ledger, Ledger]) -> None:
    """A follower loads the leader's status; there is none before the first poll."""
    leader, follower = replicas
    assert follower.leader_status is None
    leader_status = LeaderStatus(
        gauges=((series("job_records", execute_status="done"), 7.0),), error="HTTP 500"
    )
    leader.tell(leader_status)
    follower.refresh()
    assert follower.leader_status == leader_status == leader.leader_status


# -- settings and tables


def test_the_leader_lays_out_the_counters(postgres_url: str) -> None:
    """A follower with other settings of the metrics changes no counter until it leads."""
    without = replace(LAYOUT, record_labels=())
    with opened(postgres_url) as leader, opened(postgres_url, layout=without) as follower:
        settle(leader, "a")
        assert follower.notes == []
        settle(leader, "b")
        expire(leader)
        assert follower.take_lead(now=NOW)
        assert "carried over" in follower.notes[0]
        assert value(follower.state, "job_records_finished_total", result_status="fail") == 2
