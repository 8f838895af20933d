"""CPU of a scrape, beside prometheus-client rendering the same families."""

import time
from itertools import cycle

import prometheus_client
from msgspec.structs import replace

from exporter.metrics.exposition import Exposition
from exporter.metrics.families import FAMILIES, MetricsConfig, initial_series, siblings
from exporter.model import Sample, Series, Snapshot
from exporter.tracking.counting import Increment
from tests.benchmarks.figures import Section, at_least, plain
from tests.benchmarks.measuring import cpu_seconds, median

SERIES = 10_000
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
    """Render in turns."""
    time.time()
    series = [*initial_series(MetricsConfig()), *idc_series(SERIES)]
    samples = {one: Sample(value=7.0, born=0.0) for one in series}
    registry = client_registry(SERIES)
    exposition = Exposition()
    exposition.publish(Snapshot(counters=samples))
    # Spread over all blocks: every so many-th series, and each time the next ones.
    batches = cycle([series[start :: len(series) // TOUCHED] for start in range(20)])

    def scrape(encoding: str = "") -> None:
        exposition.scrape(accept="text/plain", accept_encoding=encoding)

    def poll() -> None:
        for one in next(batches):
            samples[one] = replace(samples[one], value=samples[one].value + 1)
        exposition.publish(Snapshot(counters=samples))

    def first_scrape(encoding: str = "") -> float:
        """CPU seconds of the first scrape after a poll: the median of some."""
        taken = []
        for _ in range(20):
            poll()
            began = time.process_time()
            scrape(encoding)
            taken.append(time.process_time() - began)
        return median(taken)

    client = cpu_seconds(lambda: prometheus_client.generate_latest(registry), times=3)
    scrape()
    again = cpu_seconds(scrape, times=10_000)
    published = cpu_seconds(poll, times=20)
    first, zipped = first_scrape(), first_scrape("gzip")
    return Section(
        title=f"CPU of a scrape of {SERIES:,} series",
        method="In one process, without HTTP: prometheus-client's generate_latest on the same families; "
        "ours as a scrape between two polls, and as the first one after a poll that changed "
        f"{TOUCHED} series spread over all. The publication is the poll's work, not the scrape's.",
        figures=(
            plain("prometheus-client", f"{client * 1e3:.1f} ms"),
            plain("ours: a scrape between polls", f"{again * 1e3:.4f} ms"),
            at_least("times cheaper: a scrape between polls", client / again, AIM),
            plain("ours: the first after a poll", f"{first * 1e3:.2f} ms"),
            at_least("times cheaper: the first after a poll", client / first, AIM),
            plain("ours: the first after a poll, gzip", f"{zipped * 1e3:.2f} ms"),
            plain("ours: the poll's publication", f"{published * 1e3:.2f} ms"),
        ),
    )
