"""The catalog of metric families.

Names, types and labels are the public interface: dashboards, rules and users' alerts depend on them.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any

from prometheus_client.utils import floatToGoString

from exporter.ledger.layout import Layout
from exporter.model import ExecuteStatus, HostStatus, IdcOutcome, ResultStatus, Series
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Buckets

# Steps of 1-2-5: one host is the most frequent case, ten thousand the largest known fleet.
HOST_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
# Poll interval and settle grace are 15 s each, a look-up is at most a minute late; hours mean downtime.
LAG_BUCKETS = (1.0, 5.0, 10.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
# A look-up by id takes 1 ms, a tail page up to 1.5 s, a request's deadline is 10 s unless set.
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

RECORD_LABELS = ("provider", "script_type")
ENDPOINTS = ("page", "record", "result")
FAILURE_REASONS = ("connect", "timeout", "http", "auth", "api", "decode", "too_large")
INCOMPLETE_REASONS = ("missing_rows", "no_results", "bad_times", "vanished", "hidden", "late_baseline")
UNKNOWN_FIELDS = ("execute_status", "result_status", "host_status", "start_time", "end_time")


class MetricType(StrEnum):
    """The type of a family, as in the text format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Origin(StrEnum):
    """The place that keeps the series of a family."""

    LEDGER = "ledger"  # durable: continues after a restart
    PLATFORM = "platform"  # of the last poll: absent if that poll did not reach the platform
    PROCESS = "process"  # about the exporter itself: always present


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family, and the series that it can have."""

    type: MetricType
    name: str  # with `_total` if it is a counter
    help: str  # a sentence with the unit
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # label to its values; (): any
    origin: Origin = Origin.LEDGER
    buckets: tuple[float, ...] = ()  # ascending upper bounds without +Inf; histograms only


def bucket_part(value: float, buckets: Sequence[float]) -> str:
    """Return the `Series.part` of the bucket of `value`: "10.0", "+Inf"."""
    index = bisect_left(buckets, value)
    return number(buckets[index]) if index < len(buckets) else "+Inf"


def number(value: float) -> str:
    """Write a number as Go, Prometheus and prometheus-client do."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


_counter = partial(Family, MetricType.COUNTER)
_gauge = partial(Family, MetricType.GAUGE)
_histogram = partial(Family, MetricType.HISTOGRAM)
_platform_gauge = partial(_gauge, origin=Origin.PLATFORM)
_process_gauge = partial(_gauge, origin=Origin.PROCESS)
_process_counter = partial(_counter, origin=Origin.PROCESS)

_RESULT = {"result_status": tuple(map(str, ResultStatus))}
_EXECUTE = {"execute_status": tuple(map(str, ExecuteStatus))}
_ENDPOINT = {"endpoint": ENDPOINTS}

# In the order of the exposition. `families` adds what depends on the settings.
_CATALOG = (
    _platform_gauge("job_records", "Records on the platform, by execute status.", _EXECUTE),
    _platform_gauge("job_records_hidden",
                    "Records in the platform's total that no page shows, because they have no host rows."),
    _counter("job_records_discovered_total", "Records seen for the first time."),
    _counter("job_records_finished_total", "Finished records, each counted once, by result status.", _RESULT),
    _histogram("job_record_duration_seconds", "Seconds from the start to the end of a finished record.",
               _RESULT),
    _histogram("job_record_hosts", "Number of hosts of a finished record.", buckets=HOST_BUCKETS),
    _counter("job_host_results_total", "Hosts of finished records, by IDC and host status.",
             {"idc": (), "status": tuple(map(str, HostStatus))}),
    _counter("job_idc_records_total",
             "Finished records with hosts in the IDC: clean if all of its hosts succeeded, degraded if "
             "some, failed if none did.", {"idc": (), "outcome": tuple(map(str, IdcOutcome))}),
    _platform_gauge("job_records_overdue", "Open records past their own timeout and the overdue grace."),
    _platform_gauge("job_record_oldest_open_start_timestamp_seconds",
                    "Start of the oldest open record, in seconds since the Unix epoch.", _EXECUTE),
    _platform_gauge("job_record_last_finished_timestamp_seconds",
                    "Latest end of a finished record, in seconds since the Unix epoch.", _RESULT),
    _process_gauge("job_exporter_build_info",
                   "Always 1; the labels give the versions of exporter and Python.",
                   {"version": (), "python": ()}),
    _process_gauge("job_exporter_platform_up",
                   "1 if the last poll reached the job API and understood it, else 0."),
    _process_gauge("job_exporter_last_successful_poll_timestamp_seconds",
                   "End of the last successful poll, in seconds since the Unix epoch; 0 before the first."),
    _process_gauge("job_exporter_poll_duration_seconds", "Duration of the last poll in seconds."),
    _process_counter("job_exporter_polls_total", "Polls of the platform, including failed ones."),
    _process_counter("job_exporter_poll_failures_total", "Failed polls of the platform."),
    _process_counter("job_exporter_api_requests_total", "Requests to the job API, including failed ones.",
                     _ENDPOINT),
    _process_counter("job_exporter_api_response_bytes_total",
                     "Bytes of response bodies read from the job API.", _ENDPOINT),
    _process_counter("job_exporter_api_request_failures_total", "Failed requests to the job API, by reason.",
                     {**_ENDPOINT, "reason": FAILURE_REASONS}),
    _histogram("job_exporter_api_request_duration_seconds",
               "Duration of requests to the job API in seconds, response body included.",
               _ENDPOINT, origin=Origin.PROCESS, buckets=REQUEST_BUCKETS),
    _process_gauge("job_exporter_pending_results", "Finished records that are not settled yet."),
    _process_gauge("job_exporter_unreadable_records",
                   "Records and page positions that cannot be read at present. They are retried."),
    _process_gauge("job_exporter_catching_up",
                   "1 while the exporter counts records that finished during a downtime, else 0."),
    _counter("job_exporter_records_late_total", "Records that only the sweep found."),
    _process_gauge("job_exporter_last_sweep_timestamp_seconds",
                   "End of the last complete sweep, in seconds since the Unix epoch; 0 before the first, "
                   "absent if sweeps are off."),
    _histogram("job_exporter_count_lag_seconds", "Seconds from the end of a record until it was counted.",
               buckets=LAG_BUCKETS),
    _counter("job_exporter_records_incomplete_total",
             "Records counted with hosts or times missing, or not counted at all, by reason.",
             {"reason": INCOMPLETE_REASONS}),
    _counter("job_exporter_unknown_values_total",
             "Undocumented values received from the platform, by field.", {"field": UNKNOWN_FIELDS}),
    _counter("job_exporter_label_overflow_total",
             "Increments folded into the label value other because of the label limit, by label.",
             {"label": ("idc", *RECORD_LABELS)}),
    _platform_gauge("job_exporter_clock_skew_seconds",
                    "Clock of the platform minus the exporter's clock, in seconds."),
    _process_gauge("job_exporter_ledger_records", "Records in the ledger."),
    _process_gauge("job_exporter_leader", "1 on the replica that polls, else 0."),
)  # fmt: skip


def families(config: MetricsSettings) -> tuple[Family, ...]:
    """Return the catalog in the order of the exposition."""
    changes: Mapping[str, dict[str, Any]] = {
        "job_records_finished_total": {"labels": {**_RESULT, **dict.fromkeys(config.record_labels, ())}},
        "job_record_duration_seconds": {"buckets": config.duration_buckets},
    }
    return tuple(replace(family, **changes.get(family.name, {})) for family in _CATALOG)


FAMILIES = families(MetricsSettings())


def initial_series(config: MetricsSettings, *, origin: Origin = Origin.LEDGER) -> tuple[Series, ...]:
    """Return the counters and histograms that are 0 from the start: those whose label values are all known.

    A histogram is given by its `sum`; all its buckets are shown once one of its parts exists.
    """
    return tuple(
        Series(family.name, labels, "sum" if family.type is MetricType.HISTOGRAM else "")
        for family in families(config)
        if family.origin is origin and family.type is not MetricType.GAUGE
        for labels in product(*(product([label], values) for label, values in family.labels.items()))
    )


def siblings(series: Series) -> tuple[Series, ...]:
    """Return all series, `series` among them, that appear when it appears.

    A new IDC gets all host statuses and outcomes; new record labels get all result statuses.
    """
    match series.family:
        case "job_host_results_total" | "job_idc_records_total":
            idc = ("idc", dict(series.labels)["idc"])
            hosts = [("job_host_results_total", "status", str(status)) for status in HostStatus]
            records = [("job_idc_records_total", "outcome", str(outcome)) for outcome in IdcOutcome]
            return tuple(Series(name, (idc, (label, value))) for name, label, value in hosts + records)
        case "job_records_finished_total":
            others = series.labels[1:]
            return tuple(
                Series(series.family, (("result_status", str(status)), *others)) for status in ResultStatus
            )
    return (series,)


def layout(settings: MetricsSettings) -> Layout:
    """The series that the ledger holds."""
    ours = (family for family in families(settings) if family.origin is Origin.LEDGER)
    return Layout(
        initial=initial_series(settings),
        siblings=siblings,
        record_labels=settings.record_labels,
        buckets={family.name: family.buckets for family in ours if family.buckets},
        label_limit=settings.label_limit,
        zero_hold=settings.zero_hold,
    )


def buckets(settings: MetricsSettings) -> Buckets:
    """The bucket bounds of all histograms of records."""
    return Buckets(duration=settings.duration_buckets, hosts=HOST_BUCKETS, lag=LAG_BUCKETS)
