"""An hour of a made-up platform as two scrape jobs saw it, for a real Prometheus to load as blocks.

Job `one` is a single exporter; job `two` is the same exporter in two replicas that show equal counters,
as replicas on one ledger do. So every figure that counts replicas once is the same for both jobs.
"""

from collections.abc import Iterator
from itertools import product

from exporter.metrics.families import FAMILIES, Family, MetricType, number

START = 1_767_225_600  # 2026-01-01 00:00 UTC: at the edge of a block of two hours
END = START + 3600
SCRAPE = 15  # seconds
# Label values that the catalog leaves to the platform.
OPEN_VALUES = {
    "idc": ("上海", "深圳", "unknown"),
    "provider": ("salt", "ssh"),
    "script_type": ("shell", "python"),
    "version": ("1.2.3",),
    "python": ("3.11.2",),
}
TARGETS = (
    ("one", "10.0.0.1:16868", "single-0"),
    ("two", "10.0.0.2:16868", "job-exporter-0"),
    ("two", "10.0.0.3:16868", "job-exporter-1"),
)
AGES = {
    "job_exporter_last_successful_poll_timestamp_seconds": 5,
    "job_exporter_last_sweep_timestamp_seconds": 1000,
    "job_record_oldest_open_start_timestamp_seconds": 90,
    "job_record_last_finished_timestamp_seconds": 20,
}
Labels = dict[str, str]


def openmetrics() -> str:
    """Return the world as OpenMetrics text with timestamps, for `promtool tsdb create-blocks-from`."""
    lines = ["# TYPE up gauge"]
    for family in (None, *FAMILIES):
        if family:
            lines.append(f"# TYPE {family.name.removesuffix('_total')} {family.type}")
        for job, instance, pod in TARGETS:
            scrape = {"job": job, "instance": instance, "pod": pod}
            for name, labels, growth in series(family) if family else [("up", {}, None)]:
                text = ",".join(f'{key}="{value}"' for key, value in {**labels, **scrape}.items())
                for now in range(START, END + 1, SCRAPE):
                    value = growth * (now - START) if growth is not None else gauge(name, instance, now)
                    lines.append(f"{name}{{{text}}} {number(value)} {now}")
    return "\n".join([*lines, "# EOF", ""])


def series(family: Family) -> Iterator[tuple[str, Labels, float | None]]:
    """Give (name, labels, growth a second) of each series of a family; a gauge has no growth."""
    values = (values or OPEN_VALUES.get(label, ("x",)) for label, values in family.labels.items())
    for i, combination in enumerate(product(*values)):
        labels = dict(zip(family.labels, combination, strict=True))
        if family.type is MetricType.GAUGE:
            yield family.name, labels, None
        elif family.type is MetricType.COUNTER:
            yield family.name, labels, speed(i)
        else:
            bounds = [number(bound) for bound in family.buckets] + ["+Inf"]
            for position, bound in enumerate(bounds):
                yield f"{family.name}_bucket", {**labels, "le": bound}, speed(i) * (position + 1)
            yield f"{family.name}_count", labels, speed(i) * len(bounds)
            yield f"{family.name}_sum", labels, speed(i) * 3


def speed(index: int) -> float:
    """Return how fast the series at `index` of its family grows: the first label set most."""
    return 1 / (index + 1)


def gauge(name: str, instance: str, now: float) -> float:
    """Return the value of a gauge: one replica of each job leads, ages stay the same, all else is 1."""
    if name in AGES:
        return now - AGES[name]
    return float(not (name == "job_exporter_leader" and instance == TARGETS[-1][1]))
