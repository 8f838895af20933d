"""The verdict on a record: what the ledger has of it, beside what the platform says now."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.audit.verdict import (
    FINDINGS,
    LATE_BASELINE,
    Difference,
    Kind,
    Seen,
    Terms,
    Verdict,
    differences,
    judge,
)
from exporter.model import Clock, ExecuteStatus, HostStatus, Record, Results, ResultStatus, Series
from exporter.settings.time_range import shown
from exporter.tracking.counting import Buckets, Counting
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.folding import fold_all
from exporter.tracking.state import Known, LedgerStatus
from exporter.tracking.values import Rules, Stage, Tracked
from tests.harness.core import NOW, done, row, rows, series

BUCKETS = Buckets(duration=(1.0, 60.0), hosts=(1.0, 10.0), lag=(5.0,))
BEGAN = CountingStart(baseline_end=NOW - 50_000, floor=NOW - 60_000)
DOING = ExecuteStatus.DOING
GOOD = rows(row("a"), row("b", HostStatus.FAIL, "北京"))
OLD: dict[str, Any] = {"start": NOW - 2_010, "end": NOW - 2_000}  # long enough ago to be in the ledger


def terms(**changes: Any) -> Terms:
    return Terms(
        **{
            "clock": Clock(now=NOW, wall=NOW, platform=NOW),
            "rules": Rules(),
            "counting_start": BEGAN,
            **changes,
        }
    )


def moved(
    record: Record, results: Results | None, *, labels: tuple[str, ...] = ("provider", "script_type")
) -> dict[Series, float]:
    """What a daemon's count of a record moves."""
    counting = Counting(now=NOW, platform_now=NOW, record_labels=labels, buckets=BUCKETS)
    return {part.series: part.value for part in counting.record(record, results)}


def counted(record: Record, results: Results | None, **changes: Any) -> Known:
    """What the ledger has of a record that it counted."""
    return Known(
        id=record.id,
        status=LedgerStatus.COUNTED,
        found=NOW,
        **{
            "settled": NOW,
            "result": record.result_status,
            "start": record.start,
            "end": record.end,
            "moved": moved(record, results),
            **changes,
        },
    )


def followed(**changes: Any) -> Known:
    tracked = Tracked(id="r", **{"found": NOW, "due": NOW, "stage": Stage.DOING, **changes})
    status = LedgerStatus.SETTLING if tracked.stage is Stage.DONE else LedgerStatus.OPEN
    return Known(id="r", status=status, found=NOW, tracked=tracked)


def verdict(
    known: Known | None, record: Record | None, results: Results | None = None, **more: Any
) -> Verdict:
    return judge(known, Seen(record=record, results=results, **more), terms())


# -- what was counted


def test_what_was_counted_as_it_is_now_is_proven() -> None:
    """A record that would count the same now is no finding, however late it was counted."""
    said = verdict(counted(done(**OLD), GOOD), done(**OLD), GOOD)
    assert (said.kind, said.differences, said.is_finding) == (Kind.SAME, (), False)


CHANGES: dict[str, tuple[dict[str, Any], Results | None, str]] = {
    "result": ({"result_status": ResultStatus.FAIL}, GOOD, "its result was success, and is fail"),
    "end": ({"end": NOW - 1_990}, GOOD, f"its end was {shown(NOW - 2_000)}, and is {shown(NOW - 1_990)}"),
    "both times": ({"start": NOW - 2_000, "end": NOW - 1_990}, GOOD, "its start was"),
    "provider": ({"provider": "ssh"}, GOOD, "other series"),
    "another host": ({}, rows(*GOOD.rows, row("c")), "other series"),
    "another status": ({}, rows(row("a", HostStatus.TIMEOUT), GOOD.rows[1]), "other series"),
    "no host": ({}, rows(), "other series"),
    "hosts that were to be": ({"expected_hosts": frozenset("abc")}, GOOD, "other series"),
    "open again": ({"execute_status": DOING}, GOOD, "open now"),
}


@pytest.mark.parametrize(("change", "results", "why"), CHANGES.values(), ids=CHANGES)
def test_a_late_change_is_found(change: dict[str, Any], results: Results | None, why: str) -> None:
    """A change of any part of a counted record is found."""
    said = verdict(counted(done(**OLD), GOOD), done(**{**OLD, **change}), results)
    assert said.kind is Kind.CHANGED
    assert why in said.why


def test_a_change_names_the_series() -> None:
    """A change lists the series with both amounts; a histogram by its sum."""
    record = done(**OLD)
    said = verdict(counted(record, rows(row("a"))), record, rows(row("a"), row("b")))
    hosts = series("job_host_results_total", idc="杭州", status="success")
    assert said.differences == (
        Difference(series=hosts, moved=1, now=2),
        Difference(series=series("job_record_hosts", "sum"), moved=1, now=2),
    )


def test_hosts_that_reported_after_the_count_are_a_change() -> None:
    """Hosts that were counted as unreported and reported later are a change."""
    record = done(**OLD)
    said = verdict(counted(record, rows(row("a", None))), record, rows(row("a")))
    assert said.kind is Kind.CHANGED
    unreported = series("job_host_results_total", idc="杭州", status="unreported")
    assert Difference(series=unreported, moved=1, now=None) in said.differences


def test_a_record_that_was_counted_and_deleted_is_unknown_to_the_platform() -> None:
    """A counted record that the platform has deleted is unknown to the platform."""
    assert verdict(counted(done(**OLD), GOOD), None).kind is Kind.GONE


def test_an_end_that_was_in_the_future_when_it_was_counted_is_no_change() -> None:
    """A record whose end was in the future when it was counted does not differ later."""
    record = done(start=NOW - 9_000, end=NOW - 1_000)
    counting = Counting(now=NOW - 8_000, platform_now=NOW - 8_000)
    moved = {one.series: one.value for one in counting.record(record, GOOD)}
    known = counted(record, GOOD, moved=moved, settled=NOW - 8_000)
    assert verdict(known, record, GOOD).kind is Kind.SAME


# -- a count made now, beside what was moved

statuses = st.sampled_from([*HostStatus, None])
host_rows = st.lists(
    st.builds(row, st.sampled_from("abcdef"), statuses, st.sampled_from(["x", "y", "z", "w"]))
)
records = st.builds(
    done,
    result_status=st.sampled_from([*ResultStatus, None]),
    start=st.sampled_from([None, NOW - 10, NOW + 10]),
    end=st.sampled_from([None, NOW]),
    expected_hosts=st.sampled_from([None, frozenset("ab"), frozenset("xyz")]),
    provider=st.sampled_from(["salt", "ssh", "unknown"]),
    unknown_fields=st.sampled_from([(), ("hosts", "result_status")]),
)
answers = st.one_of(st.none(), host_rows.map(lambda given_: rows(*given_)))


@given(
    record=records,
    results=answers,
    labels=st.sampled_from([("provider", "script_type"), ("script_type",), ()]),
    limit=st.integers(1, 4),
    others=st.lists(st.sampled_from(["v", "w", "x"])),
)
def test_a_record_that_did_not_change_never_differs(
    record: Record, results: Results | None, labels: tuple[str, ...], limit: int, others: list[str]
) -> None:
    """An unchanged record never differs, whatever labels, buckets and limits it was counted with."""
    had = [Series("job_idc_records_total", (("idc", idc), ("outcome", "clean"))) for idc in others]
    counting = Counting(now=NOW, platform_now=NOW, record_labels=labels, buckets=BUCKETS)
    (folded,) = fold_all([counting.record(record, results)], had, limit)
    sums: dict[Series, float] = {}
    for part in folded:
        sums[part.series] = sums.get(part.series, 0.0) + part.value
    assert differences(sums, record, results) == ()


@given(record=records, results=answers, other=records, answer=answers)
def test_two_records_differ_where_their_counts_do(
    record: Record, results: Results | None, other: Record, answer: Results | None
) -> None:
    """Two records differ in exactly the series in which their counts differ."""

    def plain(of: Record, with_: Results | None) -> dict[Series, float]:
        lag = "job_exporter_count_lag_seconds"
        return {s: v for s, v in moved(of, with_).items() if s.family != lag and s.part in {"", "sum"}}

    is_same = plain(record, results) == plain(other, answer)
    assert (differences(moved(record, results), other, answer) == ()) == is_same


def test_what_had_no_room_then_is_compared_as_other() -> None:
    """A value that was folded into `other` is compared as `other`, though it has a series now."""
    record, results = done(), rows(row("a", idc="x"), row("b", idc="y"))
    counting = Counting(now=NOW, platform_now=NOW, buckets=BUCKETS)
    (folded,) = fold_all([counting.record(record, results)], (), 1)
    sums = {part.series: part.value for part in folded}
    assert series("job_host_results_total", idc="other", status="success") in sums
    less = differences(sums, record, rows(row("a", idc="x")))
    assert {one.series for one in less} >= {
        series("job_host_results_total", idc="other", status="success"),
        series("job_exporter_label_overflow_total", label="idc"),
    }


# -- what was not counted

LONG_AGO: dict[str, Any] = {"start": NOW - 70_000, "end": NOW - 65_000}
NOT_COUNTED: dict[str, tuple[Known | None, Record | None, Results | None, Kind, str]] = {
    "baseline": (
        Known(id="r", status=LedgerStatus.BASELINE, found=NOW, end=BEGAN.baseline_end),
        done(**OLD),
        GOOD,
        Kind.UNCOUNTED,
        "poll.history",
    ),
    "vanished": (
        Known(id="r", status=LedgerStatus.VANISHED, found=NOW),
        None,
        None,
        Kind.UNCOUNTED,
        "3 times",
    ),
    "vanished, is back": (
        Known(id="r", status=LedgerStatus.VANISHED, found=NOW),
        done(**OLD),
        GOOD,
        Kind.MISSING,
        "not found again in time",
    ),
    "vanished, was back a moment ago": (
        Known(id="r", status=LedgerStatus.VANISHED, found=NOW),
        done(),
        GOOD,
        Kind.WAITING,
        "found again",
    ),
    "open": (followed(), Record(id="r", execute_status=DOING), None, Kind.WAITING, "looked up every 15 s"),
    "overdue": (
        followed(start=NOW - 900, timeout=60.0),
        Record(id="r", execute_status=DOING),
        None,
        Kind.WAITING,
        "past its own timeout; looked up every 60 s",
    ),
    "done, not looked at yet": (followed(), done(), None, Kind.WAITING, "done on the platform"),
    "open, and deleted": (followed(), None, None, Kind.WAITING, "counts as vanished"),
    "settling": (followed(stage=Stage.DONE), done(), rows(), Kind.WAITING, "poll.settle-grace"),
    "missing": (None, done(**OLD), GOOD, Kind.MISSING, "the ledger does not know it"),
    "new": (None, done(), GOOD, Kind.WAITING, "not found yet"),
    "open and not found": (
        None,
        Record(id="r", execute_status=DOING, start=NOW - 2_000),
        GOOD,
        Kind.WAITING,
        "not found yet",
    ),
    "never visible": (None, done(**OLD), rows(), Kind.UNCOUNTED, "no host rows"),
    "from before": (None, done(**LONG_AGO), GOOD, Kind.UNCOUNTED, "before counting began"),
    "from before, without an end": (
        None,
        done(start=NOW - 70_000, end=None),
        GOOD,
        Kind.UNDATED,
        "its times do not tell",
    ),
    "from before, ended in the future": (
        None,
        done(start=NOW - 70_000, end=NOW + 9_000),
        GOOD,
        Kind.UNDATED,
        "its times do not tell",
    ),
    "baseline without an end": (
        Known(id="r", status=LedgerStatus.BASELINE, found=NOW),
        done(start=None, end=None),
        GOOD,
        Kind.UNDATED,
        "its times do not tell",
    ),
    "baseline that ended in the future": (
        Known(id="r", status=LedgerStatus.BASELINE, found=NOW, end=NOW + 9_000),
        done(end=NOW + 9_000),
        GOOD,
        Kind.UNDATED,
        "its times do not tell",
    ),
    "baseline found late": (
        Known(
            id="r",
            status=LedgerStatus.BASELINE,
            found=NOW,
            end=BEGAN.baseline_end,
            moved={LATE_BASELINE: 1.0},
        ),
        done(**OLD),
        GOOD,
        Kind.UNCOUNTED,
        "api.timezone",
    ),
    "open when counting began": (
        None,
        done(start=NOW - 70_000, end=NOW - 2_000),
        GOOD,
        Kind.MISSING,
        "poll.adopt",
    ),
    "still open since before": (
        None,
        Record(id="r", execute_status=DOING, start=NOW - 70_000),
        GOOD,
        Kind.UNCOUNTED,
        "poll.adopt",
    ),
    "nowhere": (None, None, None, Kind.NOWHERE, "neither"),
}


@pytest.mark.parametrize(("known", "record", "results", "kind", "why"), NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_why_a_record_was_not_counted(
    known: Known | None, record: Record | None, results: Results | None, kind: Kind, why: str
) -> None:
    """The verdict on a record that was not counted says why."""
    said = verdict(known, record, results)
    assert said.kind is kind
    assert why in said.why
    assert said.is_finding == (kind in {Kind.UNDATED, Kind.MISSING, Kind.NOWHERE})


def test_what_a_page_shows_is_visible_though_it_has_no_rows() -> None:
    """A record on a page is visible, though it has no host rows."""
    assert verdict(None, done(**OLD), shown=True).kind is Kind.MISSING


def test_before_the_first_reading_ended_nothing_is_missing() -> None:
    """Before the first reading is complete, no record is missing."""
    for began in (None, replace(BEGAN, floor=None)):
        said = judge(None, Seen(record=done(**OLD), results=GOOD), terms(counting_start=began))
        assert said.kind is Kind.WAITING


def test_what_is_missing_while_the_daemon_is_behind_says_so() -> None:
    """A missing record names the number of records that the daemon has still to read."""
    said = judge(None, Seen(record=done(**OLD), results=GOOD), terms(behind=70))
    assert (said.kind, "70 records" in said.why) == (Kind.MISSING, True)


def test_a_record_that_could_not_be_asked_for_is_a_finding() -> None:
    """A record that could not be read is a finding."""
    said = verdict(counted(done(**OLD), GOOD), None, problem="HTTP 500")
    assert (said.kind, said.why) == (Kind.UNANSWERED, "HTTP 500")
    assert said.kind in FINDINGS


def test_the_clocks_of_both_sides_are_told_apart() -> None:
    """An end is compared with the platform's clock, not with ours."""
    ahead = terms(clock=Clock(now=NOW, wall=NOW, platform=NOW + (3_600.0)))
    assert judge(None, Seen(record=done(), results=GOOD), ahead).kind is Kind.MISSING
    seen = Seen(record=done(start=NOW + 3_590, end=NOW + 3_599), results=GOOD)
    assert judge(None, seen, ahead).kind is Kind.WAITING


def test_what_was_discovered_can_be_told() -> None:
    """Counted records were discovered; those that may be baseline were not."""
    assert counted(done(), GOOD).discovered
    assert followed().discovered
    assert not followed(baseline_end=NOW).discovered
    assert not Known(id="r", status=LedgerStatus.BASELINE, found=NOW, moved={}).discovered
    assert not Known(id="r", status=LedgerStatus.VANISHED, found=NOW, moved={}).discovered
    gone = {series("job_exporter_records_incomplete_total", reason="vanished"): 1.0}
    assert Known(id="r", status=LedgerStatus.VANISHED, found=NOW, moved=gone).discovered
