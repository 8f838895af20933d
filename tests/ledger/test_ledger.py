"""The durable state: what is counted stays counted, once; and what cannot be used says why."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.discovery.tail import Tail
from exporter.ledger.errors import LedgerError
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.ledger.state import KEPT_SETTLED
from exporter.ledger.tables import Progress
from exporter.metrics.families import initial_series, siblings
from exporter.model import Exemplar, FailedRecord, IdcFailure, ResultStatus, Sample
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import State
from exporter.tracking.values import Changes, Outcome, Settlement, Stage, Tracked
from tests.harness.core import NOW, done, series, value

PLATFORM = "http://platform.test"
FIRST = Progress().time
BEGAN = CountingStart(baseline_end=NOW, floor=NOW - 100)
LAYOUT = Layout(initial=initial_series(MetricsSettings()), siblings=siblings)
FINISHED = series("job_records_finished_total", result_status="success", provider="salt", script_type="bash")


@contextmanager
def opened(folder: Path, *, now: float = NOW, platform: str = PLATFORM, **layout: Any) -> Iterator[Ledger]:
    ledger = Ledger(
        url(folder),
        platform=platform,
        now=now,
        layout=replace(LAYOUT, **layout),
        monotonic=lambda: 0.0,
    )
    try:
        yield ledger
    finally:
        ledger.close()


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


def sql(folder: Path, statement: str, *values: object) -> list[Any]:
    """Do something to the ledger's file behind its back."""
    with closing(sqlite3.connect(folder / "ledger.db")) as connection, connection:
        return connection.execute(statement, values).fetchall()


def settlement(
    record_id: str, *, outcome: Outcome = Outcome.SETTLED, end: float = NOW, **changes: Any
) -> Settlement:
    increments = (Increment(series=FINISHED),) if outcome is Outcome.SETTLED else ()
    usual: dict[str, Any] = {
        "record": done(record_id, start=end - 10, end=end),
        "increments": increments,
        "found": NOW,
    }
    return Settlement(id=record_id, outcome=outcome, **{**usual, **changes})


def tracked(record_id: str, **changes: Any) -> Tracked:
    return Tracked(id=record_id, **{"found": NOW, "due": NOW, **changes})


def changes(**given: Any) -> Changes:
    return Changes(**{"tail": Tail(total=7), "counting_start": BEGAN, **given})


def settle(ledger: Ledger, *ids: str, now: float = NOW, **given: Any) -> State:
    return ledger.commit(changes(settlements=tuple(settlement(id_, **given) for id_ in ids)), now=now)


def finished(ledger: Ledger) -> float:
    return value(ledger.state, "job_records_finished_total")


def bump(ledger: Ledger, *increments: Increment, now: float = NOW) -> State:
    return ledger.commit(changes(increments=increments), now=now)


# -- rule 1: a record is counted once, for ever


def test_a_record_counts_once(tmp_path: Path) -> None:
    """Rule 1: a record that is settled a second time adds nothing, also after a restart."""
    with opened(tmp_path) as ledger:
        settle(ledger, "a")
        settle(ledger, "a", "b")
        assert (finished(ledger), ledger.state.records) == (2, 2)
    with opened(tmp_path) as ledger:
        settle(ledger, "a", "b")
        assert (finished(ledger), ledger.state.records) == (2, 2)


def test_a_commit_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Rule 1: a failed commit changes neither the file nor the state; the same changes work later."""
    with opened(tmp_path) as ledger:
        settle(ledger, "a")
        before = ledger.state
        sql(tmp_path, "CREATE TRIGGER full BEFORE UPDATE ON job_exporter_counters BEGIN "
            "SELECT RAISE(ABORT, 'database or disk is full'); END")  # fmt: skip
        with pytest.raises(LedgerError, match="make room on its disk"):
            settle(ledger, "b")
        assert ledger.state is before
        assert sql(tmp_path, "SELECT id FROM job_exporter_settled") == [("a",)]
        sql(tmp_path, "DROP TRIGGER full")
        settle(ledger, "b")
        assert finished(ledger) == 2


def test_the_primary_key_refuses_what_memory_would_count_twice(tmp_path: Path) -> None:
    """Rule 1: a commit with the same id twice is refused as a whole."""
    with opened(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="UNIQUE"):
            settle(ledger, "a", "a")
        assert finished(ledger) == 0


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """After a restart the state is that of the last commit."""
    idcs = (IdcFailure(idc="杭州", failed=1, hosts=2),)
    failed = FailedRecord(id="c", result=ResultStatus.FAIL, finished=NOW, duration=1.5, idcs=idcs)
    latest = {series("job_record_last_finished_timestamp_seconds", result_status="fail"): NOW}
    exemplar = Exemplar(record_id="c", value=1.0, timestamp=NOW)
    with opened(tmp_path) as ledger:
        given = changes(
            found=(tracked("a"), tracked("b", baseline_end=NOW), tracked("c")),
            settlements=(settlement("c", failure=failed),),
            increments=(Increment(series=series("job_records_discovered_total"), exemplar=exemplar),),
            latest=latest,
        )
        ledger.commit(given, now=NOW)
        done_a = tracked("a", stage=Stage.DONE, done=NOW, record=done("a"))
        before = ledger.commit(changes(changed=(done_a,)), now=NOW)
    with opened(tmp_path, now=NOW + 9) as ledger:
        after = ledger.state
        assert after == before
        assert after.latest == latest
        assert after.failures == (failed,)
        assert set(after.followed) == {"a", "b"}
        assert (after.tail, after.counting_start, after.records) == (Tail(total=7), BEGAN, 1)


def test_when_to_look_next_is_not_written(tmp_path: Path) -> None:
    """A look-up that changes nothing is kept in memory and not written."""
    with opened(tmp_path) as ledger:
        ledger.commit(changes(found=(tracked("a"),)), now=NOW)
        ledger.commit(changes(changed=(tracked("a", due=NOW + 60),)), now=NOW)
        assert ledger.state.followed["a"].due == NOW + 60
        assert f"{NOW + 60}" not in sql(tmp_path, "SELECT state FROM job_exporter_followed")[0][0]


def test_it_knows_what_is_followed_counted_or_the_baseline(tmp_path: Path) -> None:
    """Followed, counted and baseline records are known, vanished ones are not."""
    with opened(tmp_path) as ledger:
        ledger.commit(
            changes(
                found=(tracked("open"),),
                settlements=(
                    settlement("counted"),
                    settlement("old", outcome=Outcome.BASELINE),
                    settlement("gone", outcome=Outcome.VANISHED),
                ),
            ),
            now=NOW,
        )
        many = [f"new-{number}" for number in range(1200)]
        assert ledger.known(["open", "counted", "old", "gone", *many]) == {"open", "counted", "old"}
        assert ledger.known([]) == set()


def test_a_record_that_vanished_and_came_back_counts(tmp_path: Path) -> None:
    """A record that vanished and came back counts once."""
    with opened(tmp_path) as ledger:
        settle(ledger, "a", outcome=Outcome.VANISHED)
        ledger.commit(changes(found=(tracked("a"),)), now=NOW)
        assert ledger.state.records == 0
        settle(ledger, "a")
        settle(ledger, "a")
        assert (finished(ledger), ledger.state.records) == (1, 1)


def test_more_settlements_than_a_query_takes(tmp_path: Path) -> None:
    """A commit can settle more records than fit in one statement."""
    ids = [str(number) for number in range(1700)]
    with opened(tmp_path) as ledger:
        ledger.commit(changes(found=tuple(map(tracked, ids))), now=NOW)
        settle(ledger, *ids)
        settle(ledger, *ids)
        assert finished(ledger) == len(ids)
        assert ledger.state.followed == {}


# -- rule 11: retention


def test_old_ids_are_pruned_but_never_the_newest(tmp_path: Path) -> None:
    """Old ids are pruned, but not the newest 5,000; counters stay."""
    ids = [str(number) for number in range(KEPT_SETTLED + 30)]
    with opened(tmp_path) as ledger:
        settle(ledger, *ids[:30], now=NOW - 200)
        settle(ledger, *ids[30:], now=NOW - 100)
        assert ledger.prune(before=NOW - 300) == 0
        assert ledger.prune(before=NOW) == 30
        assert ledger.prune(before=NOW) == 0
        assert ledger.known(ids) == set(ids[30:])
        assert (finished(ledger), ledger.state.records) == (len(ids), KEPT_SETTLED)


def test_what_was_pruned_becomes_the_baseline(tmp_path: Path) -> None:
    """Rule 11: a pruned record that is met again is baseline."""
    with opened(tmp_path) as ledger:
        settle(ledger, "old", now=NOW + 25, end=NOW + 20)
        settle(ledger, *(str(number) for number in range(KEPT_SETTLED)), now=NOW + 900)
        assert ledger.prune(before=NOW + 800) == 1
        assert ledger.state.counting_start == CountingStart(
            baseline_end=NOW + 20, floor=NOW + 10, first_baseline_end=NOW
        )
    with opened(tmp_path) as ledger:
        assert ledger.state.counting_start == CountingStart(
            baseline_end=NOW + 20, floor=NOW + 10, first_baseline_end=NOW
        )


@pytest.mark.parametrize("jump", [-400.0, 86_400.0])
def test_pruning_goes_by_the_times_of_the_records(jump: float, tmp_path: Path) -> None:
    """Pruning with a wrong clock makes no new record baseline: it uses the records' times."""
    with opened(tmp_path) as ledger:
        settle(ledger, "young", now=NOW + min(0.0, jump), end=NOW)
        settle(ledger, *(str(number) for number in range(KEPT_SETTLED)), now=NOW)
        gone = ledger.prune(before=NOW - 300 + max(0.0, jump))
        assert gone == (jump > 0)
        began = ledger.state.counting_start
        assert began is not None
        assert (began.baseline_end, began.floor) == (NOW, NOW - 10 if gone else NOW - 100)


def test_where_counting_began_is_known_whatever_was_pruned() -> None:
    """Where counting began stays known after pruning."""
    counting_start = CountingStart(baseline_end=NOW, floor=NOW - 50)
    assert counting_start.began == NOW
    later = counting_start.pruned(ended=NOW + 100, started=NOW + 90).pruned(ended=NOW + 200, started=NOW)
    assert (later.baseline_end, later.floor, later.began) == (NOW + 200, NOW + 90, NOW)


def test_pruning_leaves_a_beginning_that_is_not_there_yet(tmp_path: Path) -> None:
    """Pruning during the first reading leaves its floor unknown."""
    reading = CountingStart(baseline_end=NOW, floor=None)
    with opened(tmp_path) as ledger:
        assert ledger.prune(before=NOW) == 0
        ids = tuple(settlement(str(number)) for number in range(KEPT_SETTLED + 1))
        ledger.commit(changes(settlements=ids, counting_start=reading), now=NOW)
        assert ledger.prune(before=NOW + 1) == 1
        assert ledger.state.counting_start == reading


# -- counters: rules 8, 9 and 10


def test_known_series_stand_at_zero_from_the_start(tmp_path: Path) -> None:
    """Series that are known in advance are created at 0 with the ledger, once."""
    with opened(tmp_path) as ledger:
        assert ledger.state.counters == {one: Sample(value=0.0, born=NOW) for one in LAYOUT.initial}
    with opened(tmp_path, now=NOW + 60) as ledger:
        assert {sample.born for sample in ledger.state.counters.values()} == {NOW}


def test_a_series_is_born_with_its_siblings(tmp_path: Path) -> None:
    """Rule 9: when an IDC is first seen, all its statuses appear at 0."""
    fail = series("job_host_results_total", idc="杭州", status="fail")
    success = series("job_host_results_total", idc="杭州", status="success")
    with opened(tmp_path) as ledger:
        bump(ledger, Increment(series=fail, value=2.0), now=NOW + 5)
        born = ledger.state.counters
        assert (born[fail].value, born[success].value) == (2, 0)
        assert born[fail].born == born[success].born == NOW + 5
        bump(ledger, Increment(series=fail), Increment(series=success), now=NOW + 99)
        assert ledger.state.counters[fail] == Sample(value=3.0, born=NOW + 5)
        assert ledger.state.counters[success] == Sample(value=1.0, born=NOW + 5)
    with opened(tmp_path) as ledger:
        assert ledger.state.counters[fail] == Sample(value=3.0, born=NOW + 5)


def test_the_last_exemplar_is_kept(tmp_path: Path) -> None:
    """An increment without an exemplar keeps the last one."""
    first, second = (Exemplar(record_id=id_, value=1.0, timestamp=NOW) for id_ in "ab")
    with opened(tmp_path) as ledger:
        bump(ledger, Increment(series=FINISHED, exemplar=first), Increment(series=FINISHED))
        assert ledger.state.counters[FINISHED].exemplar == first
        bump(ledger, Increment(series=FINISHED, exemplar=second))
        bump(ledger, Increment(series=FINISHED))
        assert ledger.state.counters[FINISHED].exemplar == second
    with opened(tmp_path) as ledger:
        assert ledger.state.counters[FINISHED].exemplar == second


def test_labels_beyond_the_limit_fold_into_other(tmp_path: Path) -> None:
    """Rule 10: label values above the limit fold into `other`, and the overflow is counted."""

    def hosts(idc: str) -> Increment:
        return Increment(series=series("job_host_results_total", idc=idc, status="fail"))

    for times in (1, 2):
        with opened(tmp_path, label_limit=3) as ledger:
            bump(ledger, *(hosts(str(number)) for number in range(10)))
            state = ledger.state
            assert value(state, "job_host_results_total") == 10 * times
            assert value(state, "job_host_results_total", idc="0") == times
            assert value(state, "job_host_results_total", idc="other") == 7 * times
            assert value(state, "job_exporter_label_overflow_total", label="idc") == 7 * times
            idcs = {dict(one.labels).get("idc") for one in state.counters} - {None}
            assert idcs == {"0", "1", "2", "other"}


def test_the_greatest_end_is_kept(tmp_path: Path) -> None:
    """The gauge of the last end never goes back."""
    last = series("job_record_last_finished_timestamp_seconds", result_status="success")
    with opened(tmp_path) as ledger:
        for end in (NOW - 50, NOW, NOW - 100):
            ledger.commit(changes(latest={last: end}), now=NOW)
        assert ledger.state.latest == {last: NOW}
        assert last not in ledger.state.counters
    with opened(tmp_path) as ledger:
        assert ledger.state.latest == {last: NOW}


def test_recent_failures_are_bounded(tmp_path: Path) -> None:
    """The newest 200 failures are kept, newest first."""

    def failed(number: int) -> Settlement:
        line = FailedRecord(id=str(number), result=ResultStatus.FAIL, finished=NOW, duration=None)
        return settlement(str(number), failure=line)

    with opened(tmp_path) as ledger:
        for start in range(0, 450, 150):
            given = tuple(failed(number) for number in range(start, start + 150))
            ledger.commit(changes(settlements=given), now=NOW)
        shown = [line.id for line in ledger.state.failures]
        assert shown == [str(number) for number in range(449, 249, -1)]
    with opened(tmp_path) as ledger:
        assert [line.id for line in ledger.state.failures] == shown


def test_what_a_record_moved_stands_beside_its_id(tmp_path: Path) -> None:
    """The increments of a record are stored with its id, after folding."""

    def hosts(idc: str) -> Settlement:
        one = Increment(series=series("job_host_results_total", idc=idc, status="fail"), value=3.0)
        return settlement(idc, increments=(Increment(series=FINISHED), one), lookups=4, done=FIRST - 1)

    for idcs in (("a", "b"), ("c", "a2")):
        with opened(tmp_path, label_limit=1) as ledger:
            ledger.commit(changes(settlements=tuple(map(hosts, idcs))), now=NOW)
    rows = sql(tmp_path, "SELECT id, looks, done, moved FROM job_exporter_settled ORDER BY settled, rowid")
    assert rows == [
        ("a", 4, NOW - 1, "1,2:3"),
        ("b", 4, NOW - 1, "1,3,4:3"),
        ("c", 4, NOW - 1, "1,3,4:3"),
        ("a2", 4, NOW - 1, "1,3,4:3"),
    ]
    assert sql(tmp_path, "SELECT number, family, labels FROM job_exporter_series WHERE number > 2") == [
        (3, "job_exporter_label_overflow_total", '[["label","idc"]]'),
        (4, "job_host_results_total", '[["idc","other"],["status","fail"]]'),
    ]


def kinds(ledger: Ledger) -> dict[tuple[str, ...], float]:
    return {
        tuple(part for _, part in one.labels): sample.value
        for one, sample in ledger.state.counters.items()
        if one.family == "job_records_finished_total" and sample.value
    }


def test_counters_are_carried_over_when_record_labels_change(tmp_path: Path) -> None:
    """Rule 8: with other record labels counters are carried over, and the log says so."""

    def one(provider: str, script: str) -> Increment:
        labels = {"result_status": "fail", "provider": provider, "script_type": script}
        return Increment(series=series("job_records_finished_total", **labels))

    with opened(tmp_path) as ledger:
        bump(ledger, one("salt", "bash"), one("salt", "python"), one("ssh", "bash"), now=NOW + 5)
        assert ledger.notes == []
    with opened(tmp_path, record_labels=("provider",)) as ledger:
        assert kinds(ledger) == {("fail", "salt"): 2, ("fail", "ssh"): 1}
        assert ledger.notes == [
            "record labels changed from provider, script_type to provider: counters were carried over"
        ]
    with opened(tmp_path, record_labels=()) as ledger:
        assert kinds(ledger) == {("fail",): 3}
        assert "to none" in ledger.notes[0]
    with opened(tmp_path, record_labels=("script_type",)) as ledger:
        assert kinds(ledger) == {("fail", "unknown"): 3}
        assert {sample.born for one, sample in ledger.state.counters.items() if sample.value} == {NOW + 5}


def test_a_histogram_starts_anew_when_its_buckets_change(tmp_path: Path) -> None:
    """Rule 8: a histogram with other buckets starts anew, and the log says so."""
    family = "job_record_duration_seconds"
    first, second = (
        {family: (1.0, 2.0), "job_record_hosts": (1.0,)},
        {family: (1.0, 5.0), "job_record_hosts": (1.0,)},
    )
    observed = Increment(series=series(family, "1.0", result_status="fail"))
    hosts = Increment(series=series("job_record_hosts", "1.0"))
    with opened(tmp_path, buckets=first) as ledger:
        bump(ledger, observed, hosts, Increment(series=FINISHED))
    with opened(tmp_path, buckets=first) as ledger:
        assert ledger.notes == []
        assert value(ledger.state, family, "1.0") == 1
    with opened(tmp_path, buckets=second) as ledger:
        assert ledger.notes == [f"buckets of {family} changed: that histogram starts anew"]
        assert value(ledger.state, family, "1.0") == 0
        assert value(ledger.state, "job_record_hosts", "1.0") == 1
        assert ledger.state.counters[FINISHED].value == 1
