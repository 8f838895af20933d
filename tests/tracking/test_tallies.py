"""The tallies of the last hours: how settlements are sorted into them, and that the ledger keeps them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import ExecuteStatus, Record, ResultStatus, Series
from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from exporter.tracking.counting import Increment
from exporter.tracking.tallies import KEPT, WIDTH, Tally, first_kept, merged, tallied, total
from exporter.tracking.values import Outcome, Settlement
from tests.harness.inprocess import Clock, Daemon, WorldApi

NOW = 1_800_000_000.0
LAG = Series("job_exporter_count_lag_seconds", (), "sum")


def settlement(end: float | None, *, lag: float | None = None, **hosts: int) -> Settlement:
    """Make the settlement of a failed record that ended then, with hosts that failed by IDC."""
    counted = [
        Increment(series=Series("job_host_results_total", (("idc", idc), ("status", "fail"))), value=float(n))
        for idc, n in hosts.items()
    ]
    if lag is not None:
        counted.append(Increment(series=LAG, value=lag))
    record = Record(id="a", execute_status=ExecuteStatus.DONE, result_status=ResultStatus.FAIL, end=end)
    return Settlement(id="a", outcome=Outcome.SETTLED, found=NOW, record=record, increments=tuple(counted))


def test_settlements_are_sorted_by_their_end() -> None:
    """Each into its stretch; one without an end, or with one that is to come, into that of now."""
    stretch = int(NOW // WIDTH)
    ends = [NOW, None, NOW + 9e9, NOW - 1, NOW - WIDTH, NOW - WIDTH - 1]
    sorted_ = tallied([settlement(end) for end in ends], idcs=(), now=NOW)
    assert {number - stretch: tally.results for number, tally in sorted_.items()} == {
        0: {"fail": 3},
        -1: {"fail": 2},
        -2: {"fail": 1},
    }


def test_what_ended_before_the_window_is_left_out() -> None:
    """After a long downtime only the last hours are kept."""
    edge = first_kept(NOW) * WIDTH
    assert list(tallied([settlement(edge - 1), settlement(edge)], idcs=(), now=NOW)) == [first_kept(NOW)]


def test_hosts_and_lag_are_summed() -> None:
    """By IDC and status; an IDC that has no series of its own is `other`."""
    both = [settlement(NOW, lag=4.0, a=2, b=1), settlement(NOW, lag=8.0, a=3, c=5, d=6), settlement(NOW)]
    (tally,) = tallied(both, idcs={"a", "b"}, now=NOW).values()
    assert tally.hosts == {"a": {"fail": 5}, "b": {"fail": 1}, "other": {"fail": 11}}
    assert (tally.lag, tally.lagged, tally.results) == (12.0, 2, {"fail": 3})


def test_what_was_never_counted_is_not_tallied() -> None:
    """The baseline and what has vanished leave no trace."""
    gone = Settlement(id="v", outcome=Outcome.VANISHED, found=NOW)
    record = settlement(NOW).record
    old = Settlement(id="b", outcome=Outcome.BASELINE, found=NOW, record=record)
    assert tallied([gone, old], idcs=(), now=NOW) == {}


@given(st.lists(st.tuples(st.integers(0, 3 * KEPT), st.integers(1, 9)), max_size=40))
def test_merging_keeps_the_window_and_loses_nothing_in_it(steps: list[tuple[int, int]]) -> None:
    """However tallies come, the sum of the window is that of what was put into it."""
    kept: dict[int, Tally] = {}
    truth: Counter[int] = Counter()
    now = NOW
    for forward, count in steps:
        now += forward * WIDTH / 10
        number = int(now // WIDTH)
        truth[number] += count
        kept = dict(merged(kept, {number: Tally(results={"fail": count})}, now=now))
        assert min(kept) >= first_kept(now)
    wanted = sum(count for number, count in truth.items() if number >= first_kept(now))
    assert total(kept.values()).results.get("fail", 0) == wanted


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """An exporter on a world without jobs."""
    daemon = Daemon(WorldApi(World(order="asc")), tmp_path, Clock())
    daemon.poll()
    daemon.clock.now += 2
    yield daemon
    daemon.close()


def run_job(daemon: Daemon, result: str) -> None:
    """Let a job of three hosts run and end, and be counted."""
    (hosts,) = make_fleet({"杭州": 3}).values()
    world = daemon.api.world
    record = world.add(RecordSpec(hosts=hosts), daemon.clock.now)
    world.finish(record, result, daemon.clock.now)
    daemon.poll()


def test_the_ledger_keeps_the_tallies(daemon: Daemon) -> None:
    """They are there after a restart, and go on; what has left the window is deleted."""
    run_job(daemon, "success")
    run_job(daemon, "fail")
    seen = daemon.ledger.state.recent
    assert total(seen.values()).results == {"success": 1, "fail": 1}
    assert set(total(seen.values()).hosts) == {"杭州"}
    daemon.restart()
    assert daemon.ledger.state.recent == seen
    run_job(daemon, "fail")
    daemon.restart()
    assert total(daemon.ledger.state.recent.values()).results == {"success": 1, "fail": 2}
    daemon.clock.now += KEPT * WIDTH
    run_job(daemon, "timeout")
    daemon.restart()
    assert total(daemon.ledger.state.recent.values()).results == {"timeout": 1}


def test_a_poll_without_ends_writes_no_tally(daemon: Daemon) -> None:
    """What memory holds is not even copied."""
    run_job(daemon, "success")
    before = daemon.ledger.state.recent
    daemon.poll()
    assert daemon.ledger.state.recent is before
