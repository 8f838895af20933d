"""The catalog of metrics, and the metrics about the exporter itself."""

import re

import pytest

from exporter.metrics.families import (
    FAMILIES,
    REQUEST_BUCKETS,
    Family,
    MetricType,
    Origin,
    bucket_part,
    families,
    initial_series,
    siblings,
)
from exporter.metrics.process import ProcessMetrics
from exporter.model import HostStatus, IdcOutcome, ResultStatus, Series
from exporter.settings import MetricsSettings

# The public interface, as the design states it: | name | type | labels |.
TABLE = """
| `job_records` | gauge | `execute_status`: init, doing, done |
| `job_records_hidden` | gauge | |
| `job_records_discovered_total` | counter | |
| `job_records_finished_total` | counter | `result_status`: success, fail, timeout, cancelled, unknown; \
`provider`, `script_type` |
| `job_record_duration_seconds` | histogram | `result_status`: success, fail, timeout, cancelled, unknown |
| `job_record_hosts` | histogram | |
| `job_host_results_total` | counter | `idc`; `status`: success, fail, timeout, cancelled, \
unreported, unknown |
| `job_idc_records_total` | counter | `idc`; `outcome`: clean, degraded, failed |
| `job_records_overdue` | gauge | |
| `job_record_oldest_open_start_timestamp_seconds` | gauge | `execute_status`: init, doing, done |
| `job_record_last_finished_timestamp_seconds` | gauge | `result_status`: success, fail, timeout, cancelled, \
unknown |
| `job_exporter_build_info` | gauge | `version`, `python` |
| `job_exporter_platform_up` | gauge | |
| `job_exporter_last_successful_poll_timestamp_seconds` | gauge | |
| `job_exporter_poll_duration_seconds` | gauge | |
| `job_exporter_polls_total` | counter | |
| `job_exporter_poll_failures_total` | counter | |
| `job_exporter_api_requests_total` | counter | `endpoint`: page, record, result |
| `job_exporter_api_response_bytes_total` | counter | `endpoint`: page, record, result |
| `job_exporter_api_request_failures_total` | counter | `endpoint`: page, record, result; `reason`: connect, \
timeout, http, auth, api, decode, too_large |
| `job_exporter_api_request_duration_seconds` | histogram | `endpoint`: page, record, result |
| `job_exporter_pending_results` | gauge | |
| `job_exporter_unreadable_records` | gauge | |
| `job_exporter_catching_up` | gauge | |
| `job_exporter_records_late_total` | counter | |
| `job_exporter_last_sweep_timestamp_seconds` | gauge | |
| `job_exporter_count_lag_seconds` | histogram | |
| `job_exporter_records_incomplete_total` | counter | `reason`: missing_rows, no_results, \
bad_times, vanished, hidden, late_baseline |
| `job_exporter_unknown_values_total` | counter | `field`: execute_status, result_status, host_status, \
start_time, end_time |
| `job_exporter_label_overflow_total` | counter | `label`: idc, provider, script_type |
| `job_exporter_clock_skew_seconds` | gauge | |
| `job_exporter_ledger_records` | gauge | |
| `job_exporter_leader` | gauge | |
"""


def rows() -> dict[str, tuple[str, dict[str, tuple[str, ...]]]]:
    """Read the table: name → type, label → known values."""
    parsed = {}
    for line in TABLE.strip().splitlines():
        name, kind, labels = (cell.strip() for cell in line.strip("|").split("|"))
        known = {
            label: tuple(values.split(", ")) if values else ()
            for label, values in re.findall(r"`(\w+)`(?:: ([a-z_, ]+))?", labels)
        }
        parsed[name.strip("`")] = (kind, known)
    return parsed


def test_the_catalog_is_the_table_of_the_design() -> None:
    """Every family of the design is in the catalog once, with its type, labels and values; no other is."""
    catalog = {
        family.name: (
            str(family.type),
            {label: tuple(values) for label, values in family.labels.items()},
        )
        for family in FAMILIES
    }
    assert catalog == rows()
    assert len(FAMILIES) == len(catalog)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_keeps_the_conventions(family: Family) -> None:
    """HELP is a plain sentence that names the unit, `_total` marks counters only, buckets ascend."""
    assert re.fullmatch(r"[A-Z0-9][^\\\"\n]*[^.]\.", family.help)
    assert family.name.endswith("_total") == (family.type is MetricType.COUNTER)
    if family.name.endswith("_seconds"):
        assert "econds" in family.help
    assert list(family.buckets) == sorted(set(family.buckets))
    assert bool(family.buckets) == (family.type is MetricType.HISTOGRAM)
    assert not {"job", "instance", "le"} & set(family.labels)


def test_only_the_gauges_of_the_platform_go_stale() -> None:
    """While the platform cannot be read, its gauges disappear; those of the exporter stay."""
    stale = {family.name for family in FAMILIES if family.origin is Origin.PLATFORM}
    gauges = {family.name for family in FAMILIES if family.type is MetricType.GAUGE}
    jobs = {name for name in gauges if not name.startswith("job_exporter_")}
    assert stale == jobs | {"job_exporter_clock_skew_seconds"}


def test_record_labels_and_duration_buckets_are_configurable() -> None:
    """The settings change the labels of finished records and the buckets of durations, nothing else."""
    config = MetricsSettings(record_labels=("script_type",), duration_buckets=(1.0, 60.0))
    changed = {
        family.name: family
        for family, default in zip(families(config), FAMILIES, strict=True)
        if family != default
    }
    assert changed.keys() == {"job_records_finished_total", "job_record_duration_seconds"}
    assert changed["job_records_finished_total"].labels.keys() == {"result_status", "script_type"}
    assert changed["job_record_duration_seconds"].buckets == (1.0, 60.0)


def test_initial_series_of_the_ledger() -> None:
    """Series of the ledger whose labels are all known stand at 0 from the start; those of an IDC do not."""
    series = initial_series(MetricsSettings())
    assert Series("job_records_discovered_total") in series
    assert Series("job_record_hosts", (), "sum") in series
    assert Series("job_record_duration_seconds", (("result_status", "timeout"),), "sum") in series
    assert Series("job_exporter_records_incomplete_total", (("reason", "vanished"),)) in series
    assert Series("job_exporter_unknown_values_total", (("field", "end_time"),)) in series
    assert Series("job_exporter_label_overflow_total", (("label", "idc"),)) in series
    assert len(series) == len(set(series)) == 1 + 5 + 1 + 1 + 1 + 6 + 5 + 3
    assert all(type(value) is str for one in series for _, value in one.labels)


def test_initial_series_without_record_labels() -> None:
    """Without record labels every result status of finished records is known from the start."""
    series = initial_series(MetricsSettings(record_labels=()))
    finished = {one.labels for one in series if one.family == "job_records_finished_total"}
    assert finished == {(("result_status", str(status)),) for status in ResultStatus}


def test_initial_series_of_the_process() -> None:
    """Every endpoint and every reason of failure stands at 0 from the start."""
    series = initial_series(MetricsSettings(), origin=Origin.PROCESS)
    failures = {one.labels for one in series if one.family == "job_exporter_api_request_failures_total"}
    assert len(failures) == 3 * 7
    assert len(series) == 2 + 3 + 3 + 21 + 3


def test_an_idc_is_born_whole() -> None:
    """Whichever series of an IDC comes first brings all host statuses and all outcomes of that IDC."""
    host = Series("job_host_results_total", (("idc", "上海"), ("status", "fail")))
    record = Series("job_idc_records_total", (("idc", "上海"), ("outcome", "failed")))
    together = siblings(host)
    assert host in together
    assert record in together
    assert set(siblings(record)) == set(together)
    assert len(together) == len(HostStatus) + len(IdcOutcome)
    assert {dict(one.labels)["idc"] for one in together} == {"上海"}


def test_a_provider_is_born_with_every_result() -> None:
    """The first record of a combination of record labels brings every result status of that combination."""
    labels = (("provider", "ansible"), ("script_type", "sh"))
    together = siblings(Series("job_records_finished_total", (("result_status", "fail"), *labels)))
    assert [one.labels[0][1] for one in together] == [str(status) for status in ResultStatus]
    assert {one.labels[1:] for one in together} == {labels}


def test_other_series_are_born_alone() -> None:
    """A series that belongs to no group brings only itself."""
    alone = Series("job_exporter_unknown_values_total", (("field", "hosts"),))
    assert siblings(alone) == (alone,)


@pytest.mark.parametrize(
    ("value", "part"),
    [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (30.0, "30.0"), (30.1, "+Inf")],
)
def test_a_bucket_includes_its_upper_bound(value: float, part: str) -> None:
    """A value belongs to the first bucket whose bound is not below it, written as Prometheus writes it."""
    assert bucket_part(value, REQUEST_BUCKETS) == part


def test_large_bounds_are_written_as_go_writes_them() -> None:
    """From a million on a bound has an exponent, as in Go."""
    assert bucket_part(5, (1_000_000.0,)) == "1e+06"


def process() -> ProcessMetrics:
    return ProcessMetrics(version="1.2.3", python="3.11.7")


def test_the_process_starts_at_zero() -> None:
    """All series of the process but the last sweep exist before anything happened, at 0, never held."""
    fresh = process()
    assert set(fresh.counters()) >= set(initial_series(MetricsSettings(), origin=Origin.PROCESS))
    asked = process()
    for seconds in (0.0, *REQUEST_BUCKETS, 99.0):
        for endpoint in ("page", "record", "result"):
            asked.request(endpoint=endpoint, seconds=seconds, size=1, reason="timeout")
    asked.poll_finished(ok=False, up=False, seconds=1.0, now=1.0)
    assert set(asked.counters()) == set(fresh.counters())
    assert {(sample.value, sample.born) for sample in fresh.counters().values()} == {(0.0, 0.0)}
    build = Series("job_exporter_build_info", (("version", "1.2.3"), ("python", "3.11.7")))
    assert {series: value for series, value in fresh.gauges().items() if value} == {build: 1.0}
    names = {family.name for family in FAMILIES if family.origin is Origin.PROCESS}
    names -= {"job_exporter_last_sweep_timestamp_seconds"}
    assert {series.family for series in (*fresh.counters(), *fresh.gauges())} == names


def test_a_request_is_counted() -> None:
    """A request moves its endpoint's count, bytes and one bucket; a failed one its reason as well."""
    metrics = process()
    metrics.request(endpoint="page", seconds=0.3, size=1000, reason=None)
    metrics.request(endpoint="page", seconds=10.5, size=24, reason="timeout")
    page = (("endpoint", "page"),)
    duration = "job_exporter_api_request_duration_seconds"
    assert {series: sample.value for series, sample in metrics.counters().items() if sample.value} == {
        Series("job_exporter_api_requests_total", page): 2,
        Series("job_exporter_api_response_bytes_total", page): 1024,
        Series("job_exporter_api_request_failures_total", (*page, ("reason", "timeout"))): 1,
        Series(duration, page, "0.5"): 1,
        Series(duration, page, "30.0"): 1,
        Series(duration, page, "sum"): 10.8,
    }


def test_polls_are_counted() -> None:
    """A failed poll keeps the time of the last success, and `up` tells whether the platform was read."""
    metrics = process()
    metrics.poll_finished(ok=True, up=True, seconds=0.5, now=1000.0)
    metrics.poll_finished(ok=False, up=True, seconds=2.0, now=1015.0)
    gauges = metrics.gauges()
    assert gauges[Series("job_exporter_platform_up")] == 1
    assert gauges[Series("job_exporter_poll_duration_seconds")] == 2.0
    assert gauges[Series("job_exporter_last_successful_poll_timestamp_seconds")] == 1000.0
    metrics.poll_finished(ok=False, up=False, seconds=1.0, now=1030.0)
    assert metrics.gauges()[Series("job_exporter_platform_up")] == 0
    assert metrics.counters()[Series("job_exporter_polls_total")].value == 3
    assert metrics.counters()[Series("job_exporter_poll_failures_total")].value == 2


def test_the_state_after_a_poll() -> None:
    """The gauges are set after a poll; an earlier copy does not change."""
    metrics = process()
    before = metrics.gauges()
    metrics.state(
        pending_results=3,
        unreadable_records=2,
        catching_up=True,
        ledger_records=42,
        leader=True,
        last_sweep=7.0,
    )
    after = metrics.gauges()
    names = (
        *("pending_results", "unreadable_records", "catching_up"),
        *("ledger_records", "leader", "last_sweep_timestamp_seconds"),
    )
    assert [after[Series(f"job_exporter_{name}")] for name in names] == [3, 2, 1, 42, 1, 7]
    assert {before[Series(f"job_exporter_{name}")] for name in names[:-1]} == {0}


def test_without_sweeps_there_is_no_time_of_the_last_one() -> None:
    """A gauge of 0 would mean that the first sweep has not ended, and an alert waits for its end."""
    metrics = process()
    metrics.state(
        pending_results=0,
        unreadable_records=0,
        catching_up=False,
        ledger_records=0,
        leader=True,
        last_sweep=None,
    )
    assert Series("job_exporter_last_sweep_timestamp_seconds") not in metrics.gauges()
