"""What one finished record counts (rules 5, 6, 7 and 10 of counting)."""

from collections import Counter
from itertools import permutations
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    IdcFailure,
    Record,
    Results,
    ResultStatus,
    Series,
)
from exporter.simulator.truth import SEVERITY
from exporter.tracking.counting import (
    WORST_FIRST,
    Buckets,
    Counting,
    Increment,
    duration,
    failure,
    hosts_of,
    is_complete,
    missing_hosts,
    result_of,
)
from exporter.tracking.folding import OTHER, fold, fold_all
from tests.harness.core import NOW, done, row, rows, series

BUCKETS = Buckets(duration=(1.0, 10.0, 60.0), hosts=(1.0, 10.0), lag=(5.0, 60.0))
FAIL, SUCCESS = HostStatus.FAIL, HostStatus.SUCCESS


def counted(record: Record, results: Results | None = None, **changes: Any) -> dict[Series, float]:
    """Sum up what a record counts."""
    counting = Counting(now=NOW + 3, platform_now=NOW + 4, **{"buckets": BUCKETS, **changes})
    total: Counter[Series] = Counter()
    for increment in counting.record(record, results):
        total[increment.series] += increment.value  # type: ignore[assignment]
    return dict(total)


def of_family(counts: dict[Series, float], family: str) -> dict[tuple[str, ...], float]:
    return {
        (*(value for _, value in key.labels), *([key.part] if key.part else [])): number
        for key, number in counts.items()
        if key.family == family
    }


# -- the record


def test_a_record_counts_once_by_how_it_ended() -> None:
    """With the labels of the settings, in their order."""
    counts = counted(done(result_status=ResultStatus.FAIL), rows())
    assert of_family(counts, "job_records_finished_total") == {("fail", "salt", "bash"): 1}
    few = counted(done(), rows(), record_labels=("script_type",))
    assert of_family(few, "job_records_finished_total") == {("success", "bash"): 1}
    none = counted(done(), rows(), record_labels=())
    assert of_family(none, "job_records_finished_total") == {("success",): 1}


def test_a_record_without_a_result_is_unknown() -> None:
    """Rule 6: done without a result is `unknown`."""
    record = done(result_status=None)
    assert result_of(record) is ResultStatus.UNKNOWN
    assert ("unknown", "salt", "bash") in of_family(counted(record, rows()), "job_records_finished_total")


def test_values_outside_the_documented_ones_are_counted_by_field() -> None:
    """Rule 6: of the record once a field, of hosts once a row."""
    odd = HostResult(host_id="a", names=("a",), idc="x", status=HostStatus.UNKNOWN, unknown_status=True)
    counts = counted(done(unknown_fields=("result_status", "end_time")), rows(odd, odd))
    assert of_family(counts, "job_exporter_unknown_values_total") == {
        ("result_status",): 1,
        ("end_time",): 1,
        ("host_status",): 2,
    }


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        (NOW - 10, NOW, 10),
        (NOW, NOW, 0),
        (NOW, NOW + 304, 304),
        (NOW, NOW - 1, None),
        (None, NOW, None),
        (NOW, None, None),
        (NOW, NOW + 305, None),
        (NOW, NOW + 3600, None),
        (NOW, 253_402_300_799.0, None),
        (NOW + 3600, NOW + 7200, None),
    ],
    ids=[
        *("both", "at once", "a clock some minutes ahead", "end before start", "no start", "no end"),
        *("end five minutes ahead", "an hour ahead", "in the year 9999", "start an hour ahead"),
    ],
)
def test_a_duration_needs_both_times_in_order(
    start: float | None, end: float | None, seconds: float | None
) -> None:
    """Rule 7: else none is observed, and bad_times counts; no sum takes a time from the future."""
    record = done(start=start, end=end)
    counts = counted(record, rows())
    assert duration(record, platform_now=NOW + 4) == seconds
    assert all(number < 400 for number in counts.values())
    observed = of_family(counts, "job_record_duration_seconds")
    bad = counts.get(series("job_exporter_records_incomplete_total", reason="bad_times"), 0)
    assert (bool(observed), bad) == ((True, 0) if seconds is not None else (False, 1))


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, "1.0"), (1, "1.0"), (2, "10.0"), (60, "60.0"), (61, "+Inf")]
)
def test_an_observation_falls_in_one_bucket(seconds: float, bucket: str) -> None:
    """Bounds are inclusive, as Prometheus has it; the sum goes with it."""
    counts = counted(done(start=NOW - seconds), rows())
    assert of_family(counts, "job_record_duration_seconds") == {
        ("success", bucket): 1,
        ("success", "sum"): seconds,
    }


@pytest.mark.parametrize(
    ("expected", "missing"),
    [
        ({"a", "b"}, set()),
        ({"10.0.0.1", "10.0.0.2", "b"}, set()),
        ({"10.0.0.1", "E2"}, set()),
        ({"10.0.0.3", "E2"}, {"10.0.0.3"}),
    ],
    ids=["by id", "by each of its addresses", "by entity id", "another"],
)
def test_hosts_are_listed_by_any_of_their_names(expected: set[str], missing: set[str]) -> None:
    """One with two addresses counts once."""
    one = HostResult(host_id="a", names=("a", "10.0.0.1, 10.0.0.2", "E1"), idc="x", status=SUCCESS)
    two = HostResult(host_id="b", names=("b", "E2"), idc="x", status=SUCCESS)
    record = done(expected_hosts=frozenset(expected))
    assert missing_hosts(record, rows(one, two)) == missing
    assert len(hosts_of(record, rows(one, two))) == 2 + len(missing)


def test_the_lag_is_told_by_the_platforms_clock() -> None:
    """From the end to being counted; never negative; none where the end cannot be trusted."""
    lag = "job_exporter_count_lag_seconds"
    assert of_family(counted(done(end=NOW), rows()), lag) == {("5.0",): 1, ("sum",): 4}
    assert of_family(counted(done(end=NOW + 99), rows()), lag) == {("5.0",): 1, ("sum",): 0}
    assert of_family(counted(done(start=None), rows()), lag) == {("5.0",): 1, ("sum",): 4}
    assert of_family(counted(done(start=NOW, end=NOW - 9), rows()), lag) == {}
    assert of_family(counted(done(end=None), rows()), lag) == {}


def test_what_failed_carries_its_record_as_exemplar() -> None:
    """The record id is an exemplar, never a label; what went well needs none on its counters."""
    counting = Counting(now=NOW, platform_now=NOW, buckets=BUCKETS)
    failed = done("bad", result_status=ResultStatus.FAIL)
    for increment in counting.record(failed, rows(row("a", FAIL))):
        if increment.series.part != "sum":
            assert increment.exemplar is not None
            assert (increment.exemplar.record_id, increment.exemplar.timestamp) == ("bad", NOW)
    for increment in counting.record(done("good"), rows(row("a"))):
        assert (increment.exemplar is None) == (increment.series.part in {"", "sum"})


# -- its hosts


def test_hosts_count_by_idc_and_status() -> None:
    """Rule 5: each expected host once; a host without a status is `unreported`."""
    results = rows(row("a"), row("b", FAIL), row("c", None), row("d", HostStatus.TIMEOUT, "北京"))
    counts = counted(done(expected_hosts=frozenset("abcd")), results)
    assert of_family(counts, "job_host_results_total") == {
        ("杭州", "success"): 1,
        ("杭州", "fail"): 1,
        ("杭州", "unreported"): 1,
        ("北京", "timeout"): 1,
    }
    assert of_family(counts, "job_record_hosts") == {("10.0",): 1, ("sum",): 4}
    assert series("job_exporter_records_incomplete_total", reason="missing_rows") not in counts


def test_an_expected_host_without_a_row_is_unreported_in_an_unknown_idc() -> None:
    """Rule 5: it counts, and the record counts as missing rows."""
    record = done(expected_hosts=frozenset("abc"))
    counts = counted(record, rows(row("a")))
    assert of_family(counts, "job_host_results_total") == {
        ("杭州", "success"): 1,
        ("unknown", "unreported"): 2,
    }
    assert counts[series("job_exporter_records_incomplete_total", reason="missing_rows")] == 1
    assert missing_hosts(record, rows(row("a"))) == {"b", "c"}


def test_a_row_that_cannot_be_read_is_a_missing_row() -> None:
    """It is counted, also where the platform does not say which hosts there are."""
    counts = counted(done(), rows(row("a"), bad_rows=1))
    assert counts[series("job_exporter_records_incomplete_total", reason="missing_rows")] == 1


def test_a_record_without_results_counts_without_hosts() -> None:
    """Rule 5: nothing disappears silently: it counts as finished, and as without results."""
    counts = counted(done(expected_hosts=frozenset("ab")), None)
    assert counts[series("job_exporter_records_incomplete_total", reason="no_results")] == 1
    assert of_family(counts, "job_records_finished_total") == {("success", "salt", "bash"): 1}
    assert of_family(counts, "job_host_results_total") == {}
    assert of_family(counts, "job_record_hosts") == {}


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [((SUCCESS, SUCCESS), "clean"), ((SUCCESS, FAIL), "degraded"), ((FAIL, None), "failed")],
)
def test_a_record_counts_once_in_each_idc(statuses: tuple[HostStatus | None, ...], outcome: str) -> None:
    """Clean if all of its hosts there succeeded, degraded if some, failed if none did."""
    results = rows(*(row(str(number), status) for number, status in enumerate(statuses)), row("x", idc="b"))
    assert of_family(counted(done(), results), "job_idc_records_total") == {
        ("杭州", outcome): 1,
        ("b", "clean"): 1,
    }


@pytest.mark.parametrize("order", [*permutations((SUCCESS, FAIL, None))])
def test_a_host_with_several_rows_counts_once_by_its_worst(order: tuple[HostStatus | None, ...]) -> None:
    """In whatever order they come."""
    assert hosts_of(done(), rows(*(row("a", status) for status in order))) == [("杭州", FAIL)]


def test_the_worst_is_what_the_simulator_takes_for_the_worst() -> None:
    """Its rules are written a second time on purpose: here both are compared."""
    assert [str(status) for status in reversed(WORST_FIRST)] == list(SEVERITY)
    assert set(WORST_FIRST) == set(HostStatus)


def test_rows_that_name_no_host_are_hosts_of_their_own() -> None:
    """They cannot be told apart, and none is lost."""
    assert len(hosts_of(done(), rows(row(""), row(""), row("a")))) == 3


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from([*HostStatus, None]), st.sampled_from("xy"))
    ),
    st.sets(st.sampled_from("abcdefg")),
)
def test_every_host_counts_exactly_once(
    given_rows: list[tuple[str, HostStatus | None, str]], expected: set[str]
) -> None:
    """The hosts counted, by status or by IDC, are those with a row and those expected."""
    results = rows(*(row(host, status, idc) for host, status, idc in given_rows))
    record = done(expected_hosts=frozenset(expected))
    counts = counted(record, results)
    hosts = {host for host, _, _ in given_rows} | expected
    assert sum(of_family(counts, "job_host_results_total").values()) == len(hosts)
    assert of_family(counts, "job_record_hosts")["sum",] == len(hosts)
    assert len(hosts_of(record, results)) == len(hosts)


# -- complete, or not yet


@pytest.mark.parametrize(
    ("expected", "results", "complete"),
    [
        ("ab", rows(row("a"), row("b", FAIL)), True),
        ("ab", rows(row("a"), row("b", None)), False),
        ("ab", rows(row("a")), False),
        ("a", rows(row("a"), row("b")), True),
        ("a", rows(row("a"), row("b", None)), False),
        ("a", rows(row("a"), bad_rows=1), False),
        ("", rows(), True),
        (None, rows(), False),
        (None, rows(row("a")), True),
    ],
)
def test_a_record_is_complete_when_every_host_has_told(
    expected: str | None, results: Results, complete: bool
) -> None:
    """Every expected host has a row with a status; where none is told, there are rows, all with one."""
    record = done(expected_hosts=None if expected is None else frozenset(expected))
    assert is_complete(record, results) is complete


# -- the page of recent failures


def test_a_failure_tells_where_hosts_failed() -> None:
    """By IDC, how many of how many; a success is none."""
    record = done("bad", result_status=ResultStatus.TIMEOUT)
    told = failure(record, rows(row("a"), row("b", FAIL), row("c", FAIL, "北京")), platform_now=NOW)
    assert told is not None
    assert (told.id, told.result, told.finished, told.duration) == ("bad", "timeout", NOW, 10)
    assert told.idcs == (
        IdcFailure(idc="杭州", failed=1, hosts=2),
        IdcFailure(idc="北京", failed=1, hosts=1),
    )
    assert failure(done(), rows(), platform_now=NOW) is None
    without = failure(done(result_status=None, execute_status=ExecuteStatus.DONE), None, platform_now=NOW)
    assert without is not None
    assert without.idcs == ()


# -- the label limit


def test_values_beyond_the_limit_become_other() -> None:
    """Rule 10: folded and counted; what has a series keeps it."""
    known = {"idc": {"a", "b"}}
    for idc, limit, labels in (("a", 2, "a"), ("c", 3, "c"), ("c", 2, OTHER)):
        increment = Increment(series=series("job_host_results_total", idc=idc, status="fail"), value=3)
        *overflow, folded = fold(increment, known, limit)
        assert dict(folded.series.labels) == {"idc": labels, "status": "fail"}
        assert folded.value == 3
        assert [item.series for item in overflow] == (
            [series("job_exporter_label_overflow_total", label="idc")] if labels == OTHER else []
        )
    assert known == {"idc": {"a", "b"}}


def test_labels_of_ours_are_never_folded() -> None:
    """Statuses and reasons are a closed set."""
    increment = Increment(series=series("job_exporter_records_incomplete_total", reason="vanished"))
    assert [*fold(increment, {"idc": set()}, 0)] == [increment]


def test_what_has_a_series_is_folded_without_a_walk_over_all() -> None:
    """So a commit costs the same however many series there are."""

    class Unwalked(dict[Series, int]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("walked")

    one = Increment(series=series("job_idc_records_total", idc="a", outcome="clean"))
    assert fold_all([[one, one], []], Unwalked({one.series: 1}), 0) == [(one, one), ()]
