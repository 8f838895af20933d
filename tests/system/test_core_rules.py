"""The rules of counting, met by the whole of poller, tracker and ledger."""

from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.jobapi.errors import HttpError
from exporter.ledger.state import KEPT_SETTLED
from exporter.settings.time_range import shown
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, Asked, life
from tests.harness.inprocess import Blow


def old(world: World, *, ended: float, hosts: int = 1) -> str:
    """Add a record that ended so many seconds before the beginning."""
    at = NOW - ended
    record = world.add(RecordSpec(hosts=HOSTS[:hosts], start=at - 10), at)
    world.finish(record, "success", at)
    return record


def no_results(asked: Asked) -> HttpError | None:
    return HttpError("HTTP 500", status=500) if asked.endpoint == "result" else None


# -- rule 1


@pytest.mark.parametrize("blow", list(Blow))
@pytest.mark.parametrize("blow_in", range(3))
def test_a_crash_around_a_commit_loses_nothing_and_doubles_nothing(
    blow: Blow, blow_in: int, tmp_path: Path
) -> None:
    """Rule 1: whichever commit it hits, and whether the process dies or the disk is full."""
    with life(tmp_path, past=10) as its:
        new = {its.ran(hosts=2) for _ in range(5)}
        its.daemon.poll(blow=blow, blow_in=blow_in)
        its.poll(8)
        assert its.daemon.settled() == new
        assert its.is_true()
        assert its.daemon.value("job_records_discovered_total") == 5


def test_hosts_seen_before_a_restart_count_though_their_record_is_deleted(tmp_path: Path) -> None:
    """The results of a finished record that waits for its hosts are in the ledger."""
    with life(tmp_path) as its:
        its.poll()
        record = its.add(hosts=3)
        its.poll(2)
        its.end(record, report_hosts=False)
        its.poll()
        assert not its.finished
        assert its.api.lookups(record, "result")
        its.daemon.restart()
        its.world.delete([record])
        its.poll(12)
        assert its.finished == 1
        assert its.is_true()


def test_counters_go_on_after_a_restart(tmp_path: Path) -> None:
    """Rule 8: they live in the ledger."""
    with life(tmp_path, past=10) as its:
        for number in range(1, 4):
            its.ran("fail")
            its.poll(2)
            its.daemon.restart()
            its.poll()
            assert its.finished == number


# -- rule 2: the beginning


def test_what_was_finished_at_the_first_start_is_the_baseline(tmp_path: Path) -> None:
    """Rule 2: it is not counted, however often it is met again; what is open then is adopted."""
    with life(tmp_path, past=300, polled=False) as its:
        running = its.add(start=NOW - 500)
        its.poll()
        assert (its.finished, its.daemon.value("job_records_discovered_total")) == (0, 1)
        its.clock.now += 2
        its.end(running, "cancelled")
        its.poll(30)
        its.daemon.restart()
        its.poll(30)
        assert its.daemon.settled() == {running}


def test_all_of_history_counts_where_it_is_wanted(tmp_path: Path) -> None:
    """Rule 2: `poll.history` = all."""
    with life(tmp_path, past=130, history=None) as its:
        its.poll(2)
        assert its.finished == 130
        assert its.is_true()


def test_history_counts_from_a_time_on(tmp_path: Path) -> None:
    """Rule 2: `poll.history` = 1h counts what ended within the last hour, by its end."""
    ended = {"recent": 100.0, "just": 3500.0, "before": 3700.0, "long": 9000.0}
    ids: dict[str, str] = {}

    def prepare(world: World) -> None:
        ids.update({name: old(world, ended=seconds) for name, seconds in ended.items()})

    with life(tmp_path, past=300, prepare=prepare, history=3600.0) as its:
        its.poll(2)
        assert its.daemon.settled() == {ids["recent"], ids["just"]}
        assert len(its.api.tail_pages) <= 8  # it reads no further down than to its time


def test_only_the_newest_are_adopted(tmp_path: Path) -> None:
    """Rule 2: a record open further down than `poll.adopt` is not looked for."""
    with life(tmp_path, past=100, adopt=20, polled=False, sweep=0.0) as its:
        deep = its.add(start=NOW - 99_000)
        near = its.add(start=NOW - 10)
        its.poll(2)
        assert set(its.daemon.ledger.state.followed) == {near}
        assert deep not in its.daemon.ledger.state.followed
        assert sum(asked.size for asked in its.api.tail_pages) <= 40


def test_how_far_the_adoption_looked_is_said(tmp_path: Path) -> None:
    """Rule 2: heavy pages end it early, and the log tells how far it came."""
    with capture_logs() as lines, life(tmp_path, past=30):
        pass
    ended = next(line for line in lines if line["event"] == "first reading ended")
    assert ended["records"] == 30
    assert ended["looked_back_to"] == shown(NOW - 100_000)
    assert ended["bytes"] > 0


# -- rule 3: downtime


def test_what_finished_during_a_downtime_is_counted(tmp_path: Path) -> None:
    """Rule 3: all of it, with catching_up at 1 until done."""
    with life(tmp_path, past=10) as its:
        running = its.add()
        its.poll()
        shown: list[float | None] = []
        its.end(running)
        for _ in range(450):
            its.clock.now += 60
            its.ran()
        its.daemon.restart()
        its.daemon.poller.publish()
        its.api.watch = lambda: shown.append(its.daemon.gauge("job_exporter_catching_up"))
        its.poll(3)
        assert its.finished == 451
        assert its.is_true()
        flags = [flag for flag in shown if flag is not None]
        assert flags[0] == 1
        assert its.daemon.gauge("job_exporter_catching_up") == 0
        assert flags == sorted(flags, reverse=True)


# -- rule 4: looks


def test_an_end_is_told_soon_after_the_records_own_timeout(tmp_path: Path) -> None:
    """Rule 4: an old record is looked at once a minute, and promptly when its timeout passes."""
    with life(tmp_path, past=10) as its:
        record = its.add(timeout=1000)
        began = its.clock.now
        its.poll(66)
        its.poll(40)
        lookups = [at - began for at in its.api.lookups(record)]
        assert any(1000 < at <= 1000 + 16 for at in lookups)
        waits = [later - earlier for earlier, later in pairwise(lookups)]
        assert max(waits) <= 75
        assert len(lookups) <= 45


# -- rule 5: settling


def test_a_record_whose_results_cannot_be_had_counts_after_an_hour(tmp_path: Path) -> None:
    """Rule 5: without hosts, and that is counted; until then it is pending, and others are not held up."""
    with life(tmp_path, past=10) as its:
        its.api.mood = no_results
        bad = its.ran(hosts=2)
        its.poll(230)
        assert its.finished == 0
        assert its.daemon.gauge("job_exporter_pending_results") == 1
        its.poll(20)
        assert its.daemon.settled() == {bad}
        assert its.incomplete("no_results") == 1
        assert its.daemon.value("job_host_results_total") == 0


def test_results_that_come_within_the_hour_are_counted(tmp_path: Path) -> None:
    """Rule 5: nothing is incomplete then, also when the exporter was restarted meanwhile."""
    with life(tmp_path, past=10) as its:
        its.api.mood = no_results
        its.ran(hosts=2)
        its.poll(50)
        its.daemon.restart()
        its.poll(50)
        its.api.mood = lambda _asked: None
        its.poll(6)
        assert its.incomplete("no_results") == 0
        assert its.is_true()
        assert its.finished == 1


def test_expected_hosts_without_a_row_are_unreported(tmp_path: Path) -> None:
    """Rule 5: after the grace, in the IDC `unknown`, and the record has missing rows."""
    with life(tmp_path, past=10) as its:
        its.ran(hosts=3, rowless=frozenset({HOSTS[1].id}))
        its.poll()
        assert its.finished == 0
        its.poll(3)
        assert its.daemon.value("job_host_results_total", idc="unknown", status="unreported") == 1
        assert its.incomplete("missing_rows") == 1
        assert its.is_true()


# -- rules 6 and 7


@pytest.mark.parametrize(
    ("result", "execute", "counted"),
    [
        ("SUCCESS", "done", "success"),
        ("cancel", "DONE", "cancelled"),
        ("CANCELED", "done", "cancelled"),
        ("error", "done", "fail"),
        ("Failed", "done", "fail"),
        ("exploded", "done", "unknown"),
        ("", "done", "unknown"),
        ("", "cancelled", "cancelled"),
        ("fail", "cancel", "fail"),
    ],
)
def test_statuses_are_normalised(result: str, execute: str, counted: str, tmp_path: Path) -> None:
    """Rule 6: spellings fold, what is none of the documented ones is `unknown`, and counted by field."""
    with life(tmp_path, past=10) as its:
        record = its.add()
        its.end(record, result, execute=execute, statuses={HOSTS[0].id: "success"})
        its.poll(3)
        assert its.daemon.value("job_records_finished_total", result_status=counted) == 1
        odd = its.daemon.value("job_exporter_unknown_values_total")
        assert odd == (1 if result == "exploded" else 0)


def test_an_execute_status_nobody_knows_means_open(tmp_path: Path) -> None:
    """Rule 6: the record is followed until it says that it is done."""
    with life(tmp_path, past=10) as its:
        record = its.add(execute="paused")
        its.poll(4)
        assert its.daemon.gauge("job_records", execute_status="doing") == 1
        its.end(record)
        its.poll(3)
        assert its.daemon.settled() == {record}


def test_a_record_with_odd_times_counts_without_a_duration(tmp_path: Path) -> None:
    """Rule 7: its end lies before its start, or it has no start; both are counted as bad_times."""
    with life(tmp_path, past=10) as its:
        backwards = its.add()
        its.end(backwards, end=its.clock.now - 100)
        its.poll(3)
        timeless = its.add(no_start=True)
        its.poll(2)
        its.end(timeless)
        its.poll(30)
        assert its.daemon.settled() == {backwards, timeless}
        assert its.incomplete("bad_times") == 2
        assert its.daemon.value("job_record_duration_seconds", "sum") == 0


# -- rule 10


def test_sums_stay_right_above_the_label_limit(tmp_path: Path) -> None:
    """Rule 10: what folds into `other` is counted as overflow, by label."""
    with life(tmp_path, past=10, daemon={"label_limit": 2}) as its:
        for number in range(6):
            its.ran(provider=f"p{number}", hosts=5)
        its.poll(4)
        assert its.finished == 6
        assert its.daemon.value("job_records_finished_total", provider="other") == 4
        assert its.daemon.value("job_exporter_label_overflow_total", label="provider") == 4
        assert its.daemon.value("job_host_results_total") == 30


# -- rule 11


def test_a_pruned_record_is_not_counted_again(tmp_path: Path) -> None:
    """Rule 11: ids go after the retention; a re-check that meets one again takes it for the baseline."""
    with life(tmp_path, past=0, retention=7200.0, sweep=0.0) as its:
        for _ in range(6):
            for number in range(840):
                its.ran(start=its.clock.now + number // 100)
            its.clock.now += 60
            its.poll(2)
        finished = its.finished
        assert finished == KEPT_SETTLED + 40
        its.clock.now += 20_000
        its.poll()
        assert its.daemon.ledger.state.records == KEPT_SETTLED
        its.world.delete([record.id for record in its.world][100:])
        its.poll(60)
        assert its.finished == finished
        new = its.ran()
        its.poll(3)
        assert its.finished == finished + 1
        assert new in its.daemon.settled()


def test_a_record_that_vanished_and_comes_back_is_counted(tmp_path: Path) -> None:
    """A replica that lagged: it is followed again, and counts once."""
    with life(tmp_path, past=10) as its:
        record = its.add()
        its.poll()
        there = its.world._by_id.pop(record)
        its.poll(10)
        assert its.incomplete("vanished") == 1
        its.world._by_id[record] = there
        its.end(record)
        its.poll(25)  # the re-check meets it
        assert its.daemon.settled() == {record}
        assert its.finished == 1
