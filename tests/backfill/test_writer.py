"""Work file → OpenMetrics: what each sample holds, and that the text is what Prometheus takes."""

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.backfill.samples import BackfillError, ended, filled_families, grid
from exporter.backfill.workfile import Finished
from exporter.backfill.writer import STAMPS, output
from exporter.metrics.families import MetricType
from exporter.model import HostStatus, Record, Results, ResultStatus
from exporter.settings.time_range import Window
from exporter.tracking.counting import Counting
from tests.harness.backfill import MINUTE, kept, samples, written
from tests.harness.core import done, row, rows
from tests.harness.inprocess import METRICS, RULES

BEGIN = 1_800_000_000.0  # a whole hour
WINDOW = Window(begin=BEGIN, end=BEGIN + 900)
GRID = grid(WINDOW, step=MINUTE)


def finished(record: Record, results: Results | None) -> Finished:
    """What reading keeps of a record."""
    moment = ended(record)
    assert moment is not None
    counting = Counting(now=moment, platform_now=moment, buckets=RULES.buckets)
    return Finished(
        id=record.id, started=record.start, ended=moment, increments=counting.record(record, results)
    )


@st.composite
def lives(draw: st.DrawFn) -> list[Finished]:
    """Draw finished records of the window, with ties, hosts of few IDCs and all results."""
    count = draw(st.integers(0, 12))
    found = []
    for number in range(count):
        end = BEGIN + draw(st.integers(1, 900))
        start = end - draw(st.integers(0, 600))
        hosts = draw(st.lists(st.tuples(st.sampled_from("杭北x"), st.sampled_from(HostStatus)), max_size=4))
        record = done(f"r{number}", start=start, end=end, result_status=draw(st.sampled_from(ResultStatus)))
        results = rows(*(row(f"h{i}", status, idc) for i, (idc, status) in enumerate(hosts)))
        found.append(finished(record, results if draw(st.booleans()) else None))
    return found


def parsed_counters(text: str) -> set[str]:
    """Read the counters with prometheus-client, which takes no histogram of more than one time."""
    families = re.split(r"(?m)^(?=# HELP )", text.removesuffix("# EOF\n"))
    counters = "".join(one for one in families if " counter\n" in one)
    parsed = text_string_to_metric_families(counters + "# EOF\n")  # type: ignore[no-untyped-call]
    return {family.name for family in parsed}


Grown = list[tuple[float, float]]  # (end, increment)


def truth(records: list[Finished]) -> dict[tuple[str, frozenset[tuple[str, str]]], Grown]:
    """Give what each counter and part of a histogram grows by; the rule of buckets a second time."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], Grown] = defaultdict(list)
    buckets = {family.name: family.buckets for family in filled_families(METRICS)}
    for record in records:
        assert record.ended is not None
        for increment in record.increments:
            series, labels = increment.series, frozenset(increment.series.labels)
            grown = record.ended, increment.value
            if series.part == "":
                found[series.family, labels].append(grown)
            elif series.part == "sum":
                found[f"{series.family}_sum", labels].append(grown)
            elif series.family in buckets:
                found[f"{series.family}_count", labels].append(grown)
                for bound in (*buckets[series.family], math.inf):
                    if bound >= float(series.part):
                        le = "+Inf" if bound == math.inf else str(bound)
                        found[f"{series.family}_bucket", labels | {("le", le)}].append(grown)
    return {key: value for key, value in found.items() if not key[0].startswith("job_exporter_count_lag")}


def text_of(records: list[Finished]) -> str:
    with TemporaryDirectory() as folder:
        kept(Path(folder), records)
        return written(Path(folder), WINDOW)


@settings(max_examples=25, deadline=None)
@given(lives())
def test_each_sample_holds_what_ended_by_then(records: list[Finished]) -> None:
    """Every value of every series is the sum of the increments up to its time."""
    found, expected = samples(text_of(records)), truth(records)
    for (name, labels), points in found.items():
        if name == "job_records_discovered_total":
            grown = [(one.started, 1.0) for one in records if one.started and WINDOW.holds(one.started)]
        else:
            grown = expected.pop((name, frozenset(labels)), [])
        grown.sort()
        ends = [end for end, _ in grown]
        for moment, value in points:
            held = [increment for _, increment in grown[: bisect_right(ends, moment)]]
            assert value == pytest.approx(math.fsum(held))
    assert not expected


@settings(max_examples=25, deadline=None)
@given(lives())
def test_each_series_begins_with_zero_a_step_before_it_grows(records: list[Finished]) -> None:
    """A series begins with 0 one step before it grows, has a sample at each later step, and never falls."""
    grow_at_once: dict[frozenset[str], bool] = {}
    for (_, labels), points in samples(text_of(records)).items():
        times, values = zip(*points, strict=True)
        assert times == tuple(GRID.at(index) for index in range(len(GRID) - len(times), len(GRID)))
        assert values[0] == 0
        assert all(a <= b for a, b in pairwise(values))
        if times[0] > BEGIN:
            family = frozenset(value for name, value in labels if name in {"idc", "provider", "script_type"})
            grow_at_once[family] = grow_at_once.get(family, False) or values[1] > 0
    assert all(grow_at_once.values())


def test_siblings_are_born_together(tmp_path: Path) -> None:
    """An IDC gets all its statuses and outcomes one step before its first record."""
    record = done(start=BEGIN + 100, end=BEGIN + 610)
    kept(tmp_path, [finished(record, rows(row("h", HostStatus.FAIL, "杭州")))])
    found = samples(written(tmp_path, WINDOW))
    of_idc = {key: points for key, points in found.items() if ("idc", "杭州") in key[1]}
    assert len(of_idc) == 6 + 3
    assert {points[0] for points in of_idc.values()} == {(BEGIN + 600, 0.0)}
    grown = {dict(key[1]).get("status") or dict(key[1])["outcome"] for key, p in of_idc.items() if p[1][1]}
    assert grown == {"fail", "failed"}


def test_known_series_stand_at_zero_from_the_beginning(tmp_path: Path) -> None:
    """Without any record, the series whose labels are known in advance are written at 0."""
    kept(tmp_path, [])
    found = samples(written(tmp_path, WINDOW))
    assert {value for points in found.values() for _, value in points} == {0.0}
    names = {name for name, _ in found}
    assert {"job_records_discovered_total", "job_record_hosts_count"} <= names
    assert not any("count_lag" in name or "api_" in name for name in names)


def test_labels_above_the_limit_fold_in_the_order_of_ends(tmp_path: Path) -> None:
    """Rule 10: the IDCs that ended first keep their names, in whatever order records were read."""
    late, early = (
        finished(done(name, start=BEGIN, end=BEGIN + at), rows(row("h", idc=name)))
        for name, at in (("late", 200.0), ("early", 100.0))
    )
    kept(tmp_path, [late, early])
    found = samples(written(tmp_path, WINDOW, label_limit=1))
    idcs = {dict(labels).get("idc") for name, labels in found if name == "job_idc_records_total"}
    assert idcs == {"early", "other"}
    overflow = [points[-1][1] for (name, labels), points in found.items() if "overflow" in name and
                dict(labels)["label"] == "idc"]  # fmt: skip
    assert overflow == [2.0]  # the host's increment, and that of its IDC's record


def test_labels_of_the_scrape_are_added(tmp_path: Path) -> None:
    """The labels of `--label` are added to each sample."""
    kept(tmp_path, [finished(done(start=BEGIN, end=BEGIN + 5), rows(row("h")))])
    found = samples(written(tmp_path, WINDOW, labels=(("job", "job-exporter"), ("instance", 'a"\n\\'))))
    for _, labels in found:
        assert {("job", "job-exporter"), ("instance", r"a\"\n\\")} <= set(labels)


@settings(max_examples=15, deadline=None)
@given(lives())
def test_the_text_is_openmetrics(records: list[Finished]) -> None:
    """A strict parser of OpenMetrics accepts the output."""
    parsed = parsed_counters(text_of(records))
    counters = {one.name for one in filled_families(METRICS) if one.type is MetricType.COUNTER}
    assert {f"{name}_total" for name in parsed} == counters


@pytest.mark.parametrize("idc", ["a\nb", 'a"b', "a\\b", "\0", "\u2028", "# EOF", "{}", ""])
def test_any_idc_leaves_the_text_well_formed(idc: str, tmp_path: Path) -> None:
    """Unprintable text in labels is replaced; label sets that look the same then are merged."""
    strange = finished(done("r1", start=BEGIN, end=BEGIN + 5), rows(row("h", idc=idc)))
    plain = finished(done("r2", start=BEGIN, end=BEGIN + 5), rows(row("h", idc="\ufffd")))
    kept(tmp_path, [strange, plain])
    text = written(tmp_path, WINDOW)
    counted = [
        points[-1][1] for (name, _), points in samples(text).items() if name == "job_idc_records_total"
    ]
    assert sum(counted) == 2
    parsed_counters(text)


def test_long_runs_lose_no_step(tmp_path: Path) -> None:
    """Each step has one sample, also at the edges of the chunks of timestamps."""
    window = Window(begin=BEGIN, end=BEGIN + 2.5 * STAMPS)
    kept(tmp_path, [finished(done(start=BEGIN, end=BEGIN + STAMPS + 1), rows(row("h")))])
    found = samples(written(tmp_path, window, at=grid(window, step=1.0)))
    points = found["job_records_discovered_total", ()]
    assert [moment for moment, _ in points] == [BEGIN + second for second in range(len(points))]
    assert len(points) == 2.5 * STAMPS + 1


# -- the times of samples


@given(begin=st.floats(0, 1e6), length=st.floats(0.01, 1e5), step=st.sampled_from([1.0, 15.0, 60.0, 300.0]))
def test_the_first_sample_at_or_after_a_moment_holds_it(begin: float, length: float, step: float) -> None:
    """Times ascend from a whole step to the end; what ended belongs to the first sample not before it."""
    window = Window(begin=begin, end=begin + length)
    try:
        times = grid(window, step=step)
    except BackfillError:
        assert math.floor(window.end * 1000) <= math.floor(begin / step) * step * 1000
        return
    stamps = [times.at(index) for index in range(len(times))]
    assert stamps[0] % step == 0
    assert stamps[0] <= begin
    assert all(0 < b - a <= step + 1e-6 for a, b in pairwise(stamps))
    assert times.end - 0.001 <= stamps[-1] <= window.end
    for moment in (begin + length * share for share in (0.001, 0.3, 0.999)):
        index = times.index(moment)
        assert stamps[index] >= min(moment, stamps[-1])
        assert index == 0 or stamps[index - 1] < moment


def test_no_sample_comes_after_the_counters_began_to_exist() -> None:
    """No sample is later than the live counters' birth; the last sample includes everything before."""
    times = grid(WINDOW, step=MINUTE, latest=BEGIN + 100.0005)
    assert [times.at(index) for index in range(len(times))] == [BEGIN, BEGIN + 60, BEGIN + 100]
    assert times.index(BEGIN + 3000) == 2


def test_a_window_without_time_is_refused() -> None:
    """A window after the birth of the live counters is refused."""
    with pytest.raises(BackfillError, match="nothing to fill in"):
        grid(WINDOW, step=MINUTE, latest=BEGIN - 1)


@pytest.mark.parametrize(
    ("start", "end", "moment"),
    [(5.0, 9.0, 9.0), (9.0, 5.0, 9.0), (None, 5.0, 5.0), (5.0, None, 5.0), (None, None, None)],
)
def test_a_record_counts_at_its_end_but_never_before_it_began(
    start: float | None, end: float | None, moment: float | None
) -> None:
    """A record counts at the later of its start and end; one without times does not count."""
    assert ended(replace(done(), start=start, end=end)) == moment


# -- the file


def test_the_output_is_whole_or_not_there(tmp_path: Path) -> None:
    """An output that fails halfway leaves no file."""
    path = tmp_path / "out.txt"

    def broken() -> Iterator[str]:
        yield "half"
        raise BackfillError("the work file went away")

    with pytest.raises(BackfillError, match="went away"), output(path) as write:
        write("".join(broken()))
    assert list(tmp_path.iterdir()) == []
    with output(path) as write:
        write("whole\n")
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]
    assert path.read_text() == "whole\n"


def test_an_output_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    """A file that appears meanwhile is not overwritten."""
    path = tmp_path / "out.txt"
    with pytest.raises(BackfillError, match="exists"), output(path):
        path.write_text("old")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    """The text names the file and says how to continue."""
    full = Path("/dev/full")
    path = tmp_path / "out.txt"
    path.with_name("out.txt.writing").symlink_to(full)
    said = r"out\.txt cannot be written \(No space left.*again to continue"
    with pytest.raises(BackfillError, match=said), output(path) as write:
        write("x" * 10_000_000)
    assert list(tmp_path.iterdir()) == []


def test_histograms_and_counters_are_all_there_is() -> None:
    """The output has counters and histograms only, without the lag of counting."""
    assert all(family.type is not MetricType.GAUGE for family in filled_families(METRICS))
    assert {family.name for family in filled_families(METRICS)} == {
        "job_records_discovered_total",
        "job_records_finished_total",
        "job_record_duration_seconds",
        "job_record_hosts",
        "job_host_results_total",
        "job_idc_records_total",
        "job_exporter_records_incomplete_total",
        "job_exporter_unknown_values_total",
        "job_exporter_label_overflow_total",
    }
