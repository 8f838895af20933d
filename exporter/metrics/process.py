"""The metrics that the exporter keeps about itself."""

from collections.abc import Mapping

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

OF_EACH = ("job_exporter_build_info", "job_exporter_leader")  # gauges that each replica has its own of


class ProcessMetrics:
    """What the exporter counts about itself; lives as long as the process, known series start at 0.

    It is an observer of the job API (`request`) and is told by the poller how polls ended.
    """

    def __init__(self, *, version: str, python: str) -> None:
        config = MetricsSettings()  # the process' own families do not depend on it
        known = initial_series(config, origin=Origin.PROCESS)
        # Every bucket too: a series that is born would move all that come after it in a snapshot.
        bounds = (*REQUEST_BUCKETS, float("inf"))
        parts = [
            Series(series.family, series.labels, bucket_part(bound, REQUEST_BUCKETS))
            for series in known
            if series.part
            for bound in bounds
        ]
        self._counters = {series: Sample(value=0.0, born=0.0) for series in (*known, *parts)}
        # Since they were last asked for; a request counts in four series, and nobody looks at each.
        self._added: dict[tuple[str, tuple[tuple[str, str], ...], str], float] = {}
        self._gauges: dict[Series, float] = {
            Series(family.name): 0.0
            for family in FAMILIES
            if family.origin is Origin.PROCESS and family.type is MetricType.GAUGE and not family.labels
        }
        self._gauges[Series("job_exporter_build_info", (("version", version), ("python", python)))] = 1.0

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        """Count one request: its `endpoint`, how long it took, bytes of its body, why it failed if it did."""
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

        `up`: it reached the platform and understood it, whatever else failed.
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
        last_sweep: float = 0.0,
    ) -> None:
        """Tell how the exporter stands after a poll; `last_sweep`: POSIX seconds, 0: none has ended."""
        self._set("job_exporter_unreadable_records", unreadable_records)
        self._set("job_exporter_last_sweep_timestamp_seconds", last_sweep)
        self._set("job_exporter_pending_results", pending_results)
        self._set("job_exporter_catching_up", catching_up)
        self._set("job_exporter_ledger_records", ledger_records)
        self._set("job_exporter_leader", leader)

    def said(self) -> Mapping[Series, float]:
        """Give the gauges that the one replica that polls tells the others: not what each has its own of."""
        return {series: value for series, value in self._gauges.items() if series.family not in OF_EACH}

    def follow(self, said: Mapping[Series, float]) -> Mapping[Series, float]:
        """Take over what the replica that polls says of itself; give the rest, which is the platform's."""
        self._set("job_exporter_leader", False)
        own = {series for series in said if series in self._gauges}
        self._gauges.update((series, said[series]) for series in own)
        return {series: value for series, value in said.items() if series not in own}

    def counters(self) -> Mapping[Series, Sample]:
        """Give a copy of the counters and histograms; `born` is 0: they are never held."""
        for key, amount in self._added.items():
            series = Series(*key)
            before = self._counters.get(series)
            self._counters[series] = Sample(value=amount + (before.value if before else 0.0), born=0.0)
        self._added.clear()
        return dict(self._counters)

    def gauges(self) -> Mapping[Series, float]:
        """Give a copy of the gauges."""
        return dict(self._gauges)

    def _add(self, name: str, amount: float, *labels: tuple[str, str], part: str = "") -> None:
        key = name, labels, part
        self._added[key] = self._added.get(key, 0.0) + amount

    def _set(self, name: str, value: float) -> None:
        self._gauges[Series(name)] = float(value)
