"""CPU of what a poll makes the exporter render, and of a scrape, beside prometheus-client."""

from collections.abc import Callable, Iterable
from itertools import cycle

import prometheus_client
from msgspec.structs import replace

from exporter.metrics.exposition import Exposition
from exporter.metrics.families import FAMILIES, initial_series, siblings
from exporter.model import Sample, Series, Snapshot
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Increment
from tests.benchmarks.figures import Figure, Section, at_least, plain
from tests.benchmarks.measuring import cpu_seconds, median

SIZES = (1000, 10_000, 100_000)
AIM = 50.0
TOUCHED = 100  # label sets that a poll changes: a busy one


def idc_series(count: int) -> list[Series]:
    """At least `count` series, as that many IDCs bring them."""
    first = siblings(Series("job_host_results_total", (("idc", ""), ("status", "success"))))
    return [
        replace(series, labels=(("idc", f"idc-{number:06}"), *series.labels[1:]))
        for number in range(-(-count // len(first)))
        for series in first
    ]


def increments(count: int) -> tuple[Increment, ...]:
    """What brings `count` series into a ledger."""
    return tuple(Increment(series=series, value=7.0) for series in idc_series(count))


def client_registry(count: int) -> prometheus_client.CollectorRegistry:
    """The same series as prometheus-client keeps them, without the `_created` lines that we do not have."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = prometheus_client.CollectorRegistry()
    counters: dict[str, prometheus_client.Counter] = {}
    helps = {family.name: family.help for family in FAMILIES}
    for series in idc_series(count):
        if series.family not in counters:
            names = [name for name, _ in series.labels]
            counters[series.family] = prometheus_client.Counter(
                series.family, helps[series.family], names, registry=registry
            )
        counters[series.family].labels(*(value for _, value in series.labels)).inc(7.0)
    return registry


def measure() -> Section:
    """Render snapshots of each size."""
    figures = [figure for size in SIZES for figure in _sized(size)]
    return Section(
        title="CPU of a poll's metrics, and of a scrape",
        method="In one process, without HTTP. What a poll makes the exporter render: both formats, plain and "
        f"compressed, in a thread; after a poll that changed {TOUCHED} series spread over all, after one "
        "that changed every series, and from nothing. A scrape is a look-up. Beside it prometheus-client's "
        "own generate_latest, which its server calls for each scrape, of one format, on the same families.",
        figures=tuple(figures),
    )


def _sized(size: int) -> list[Figure]:
    series = [*initial_series(MetricsSettings()), *idc_series(size)]
    samples = {one: Sample(value=7.0, born=0.0) for one in series}
    registry = client_registry(size)
    exposition = Exposition()
    # Every so many-th series, and each time the next ones.
    step = max(1, len(series) // TOUCHED)
    batches = cycle([series[start::step] for start in range(min(step, 20))])

    def change(some: Iterable[Series]) -> None:
        for one in some:
            samples[one] = replace(samples[one], value=samples[one].value + 1)

    def after(some: Callable[[], Iterable[Series]], times: int) -> float:
        """CPU seconds of showing what has changed: the median of some."""
        taken = []
        for _ in range(times):
            change(some())
            taken.append(cpu_seconds(lambda: exposition.show(Snapshot(counters=samples)), times=1, repeat=1))
        return median(taken)

    first = cpu_seconds(lambda: exposition.show(Snapshot(counters=samples)), times=1, repeat=1)
    few, every = after(lambda: next(batches), 20), after(lambda: series, 5)
    again = cpu_seconds(lambda: exposition.scrape(accept="text/plain", accept_encoding=""), times=10_000)
    client = cpu_seconds(lambda: prometheus_client.generate_latest(registry), times=1)
    name = f"{size:,} series"
    return [
        plain(f"{name}: a poll that changed {TOUCHED} of them", f"{few * 1e3:.1f} ms"),
        plain(f"{name}: a poll that changed all of them", f"{every * 1e3:.1f} ms"),
        plain(f"{name}: the first rendering", f"{first * 1e3:.1f} ms"),
        plain(f"{name}: a scrape", f"{again * 1e3:.4f} ms"),
        plain(f"{name}: prometheus-client, a scrape", f"{client * 1e3:.1f} ms"),
        at_least(f"{name}: times cheaper: a scrape", client / again, AIM),
    ]
