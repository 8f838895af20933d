"""The metrics about the exporter itself."""

from collections.abc import Mapping
from math import inf

from msgspec.structs import replace

from exporter.metrics.families import (
    FAMILIES,
    REQUEST_BUCKETS,
    MetricType,
    Origin,
    bucket_part,
    initial_series,
)
from exporter.model import Sample, Series
from exporter.settings import MetricsSettings

OWN = ("job_exporter_build_info", "job_exporter_leader")  # gauges that differ between replicas
SWEPT = "job_exporter_last_sweep_timestamp_seconds"  # absent if sweeps are off


class ProcessMetrics:
    """The exporter's own metrics; they live as long as the process, and known series start at 0.

    It observes the job API (`request`), and the poller reports to it.
    """

    def __init__(self, *, version: str, python: str) -> None:
        known = initial_series(MetricsSettings(), origin=Origin.PROCESS)  # they do not depend on settings
        # All buckets too, because a new series makes all series after it in a snapshot be rendered again.
        buckets = [
            replace(series, part=bucket_part(bound, REQUEST_BUCKETS))
            for series in known
            if series.part
            for bound in (*REQUEST_BUCKETS, inf)
        ]
        self._counters = dict.fromkeys((*known, *buckets), 0.0)
        gauges = (
            family.name
            for family in FAMILIES
            if family.origin is Origin.PROCESS and family.type is MetricType.GAUGE and not family.labels
        )
        self._gauges = {Series(name): 0.0 for name in gauges if name != SWEPT}
        self._gauges[Series("job_exporter_build_info", (("version", version), ("python", python)))] = 1.0

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Count one request, its duration and bytes of body; `reason`: why it failed, if it did."""
        label = ("endpoint", endpoint)
        self._add("job_exporter_api_requests_total", 1, label)
        self._add("job_exporter_api_response_bytes_total", size, label)
        name = "job_exporter_api_request_duration_seconds"
        self._add(name, 1, label, part=bucket_part(seconds, REQUEST_BUCKETS))
        self._add(name, seconds, label, part="sum")
        if reason is not None:
            self._add("job_exporter_api_request_failures_total", 1, label, ("reason", reason))

    def poll_finished(self, *, ok: bool, up: bool, seconds: float, now: float) -> None:
        """Count one poll that ended at `now` (POSIX seconds) after `seconds`.

        `up`: the platform was reached and understood, even if the poll failed otherwise.
        """
        self._add("job_exporter_polls_total", 1)
        self._set("job_exporter_poll_duration_seconds", seconds)
        self._set("job_exporter_platform_up", float(up))
        if ok:
            self._set("job_exporter_last_successful_poll_timestamp_seconds", now)
        else:
            self._add("job_exporter_poll_failures_total", 1)

    def state(
        self,
        *,
        pending_results: int,
        unreadable_records: int,
        catching_up: bool,
        ledger_records: int,
        leader: bool,
        last_sweep: float | None,
    ) -> None:
        """Set the gauges after a poll; `last_sweep`: POSIX seconds, 0: none yet, None: off."""
        self._set("job_exporter_unreadable_records", unreadable_records)
        if last_sweep is not None:
            self._set(SWEPT, last_sweep)
        self._set("job_exporter_pending_results", pending_results)
        self._set("job_exporter_catching_up", catching_up)
        self._set("job_exporter_ledger_records", ledger_records)
        self._set("job_exporter_leader", leader)

    def leader_gauges(self) -> Mapping[Series, float]:
        """Return the gauges that the leader reports to its followers."""
        return {series: value for series, value in self._gauges.items() if series.family not in OWN}

    def adopt(self, reported: Mapping[Series, float]) -> Mapping[Series, float]:
        """Adopt the leader's gauges about itself; return the others, which are the platform's."""
        self._set("job_exporter_leader", False)
        self._gauges.update((series, reported[series]) for series in reported.keys() & self._gauges.keys())
        return {series: value for series, value in reported.items() if series not in self._gauges}

    def counters(self) -> Mapping[Series, Sample]:
        """Return a copy of the counters and histograms, which are never held back."""
        return {series: Sample(value=value, born=0.0) for series, value in self._counters.items()}

    def gauges(self) -> Mapping[Series, float]:
        """Return a copy of the gauges."""
        return dict(self._gauges)

    def _add(self, name: str, amount: float, *labels: tuple[str, str], part: str = "") -> None:
        series = Series(name, labels, part)
        self._counters[series] = self._counters.get(series, 0.0) + amount

    def _set(self, name: str, value: float) -> None:
        self._gauges[Series(name)] = float(value)
