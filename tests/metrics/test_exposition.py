"""The exposition compared with prometheus-client's writer and parsers, after any history."""

import asyncio
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from exporter.metrics.collector import BLOCK
from exporter.metrics.exposition import Exposition
from exporter.metrics.families import FAMILIES, Family, MetricType, bucket_part
from exporter.model import Exemplar, HostStatus, Sample, Series, Snapshot
from tests.harness.metrics import (
    BY_NAME,
    DURATION,
    HOSTS,
    ODD,
    OPENMETRICS,
    clean,
    counters,
    host,
    parse_openmetrics,
    show,
    shown,
)


def grouped(snapshot: Snapshot) -> dict[str, dict[tuple[str, ...], dict[str, float]]]:
    """Return family → label values in the order of the label names → part → value."""
    groups: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    values = {series: sample.value for series, sample in snapshot.counters.items()} | dict(snapshot.gauges)
    for series, value in values.items():
        labels = tuple(clean(text) for _, text in sorted(series.labels))
        groups[series.family][labels][series.part] += value
    return groups


class Oracle(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._groups = grouped(snapshot)

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if groups := self._groups.get(family.name):
                yield self._metric(family, groups)

    def _metric(self, family: Family, groups: dict[tuple[str, ...], dict[str, float]]) -> Metric:
        names = sorted(family.labels)
        if family.type is MetricType.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.help, labels=names)
            for labels, parts in sorted(groups.items()):
                histogram.add_metric(labels, self._buckets(family, parts), parts.get("sum", 0.0))
            return histogram
        kind = CounterMetricFamily if family.type is MetricType.COUNTER else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=names)
        for labels, parts in sorted(groups.items()):
            metric.add_metric(labels, parts[""])
        return metric

    def _buckets(self, family: Family, parts: dict[str, float]) -> list[tuple[str, float]]:
        total, buckets = 0.0, []
        for bound in (*family.buckets, math.inf):
            total += parts.get(bucket_part(bound, family.buckets), 0.0)
            buckets.append((bucket_part(bound, family.buckets), total))
        return buckets


def meaning(metrics: Iterable[Metric]) -> set[tuple[str, str, str, tuple[tuple[str, str], ...], float]]:
    """The samples that a scraper reads, without their order."""
    return {
        (metric.name, metric.type, sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
        for metric in metrics
        for sample in metric.samples
    }


LABEL = st.sampled_from(["success", "fail", "idc-1"]) | st.text(max_size=5) | ODD
COUNT = st.integers(0, 10**7).map(float)
AMOUNT = st.floats(0, 1e12, allow_nan=False)


@st.composite
def series_of(draw: st.DrawFn, *types: MetricType) -> Series:
    family = draw(st.sampled_from([family for family in FAMILIES if family.type in types]))
    labels = tuple((name, draw(LABEL)) for name in family.labels)
    if family.type is not MetricType.HISTOGRAM:
        return Series(family.name, labels)
    bounds = [bucket_part(bound, family.buckets) for bound in (*family.buckets, math.inf)]
    return Series(family.name, labels, draw(st.sampled_from(["sum", *bounds])))


COUNTER_SERIES = series_of(MetricType.COUNTER, MetricType.HISTOGRAM)
GAUGES = st.dictionaries(series_of(MetricType.GAUGE), st.floats(allow_nan=False), max_size=10)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    keys = draw(st.lists(COUNTER_SERIES, max_size=20, unique=True))
    return Snapshot(
        counters={key: Sample(value=draw(AMOUNT if key.part == "sum" else COUNT), born=1.0) for key in keys},
        gauges=draw(GAUGES),
    )


@given(snapshots())
def test_text_is_byte_equal_to_prometheus_client(snapshot: Snapshot) -> None:
    """For any labels and values the text is what prometheus-client writes for the same families."""
    assert shown(snapshot).encode() == generate_latest(Oracle(snapshot))


@given(snapshots())
def test_both_formats_mean_the_same_to_both_parsers(snapshot: Snapshot) -> None:
    """The text parser and the strict OpenMetrics parser read exactly the families that were published."""
    expected = meaning(Oracle(snapshot).collect())
    assert meaning(parse_text(shown(snapshot))) == expected
    assert meaning(parse_openmetrics(shown(snapshot, accept=OPENMETRICS))) == expected


# --- what is shown is a function of the snapshot and the clock ---


@dataclass
class Story:
    """A run of births, increments, gauges that come and go, and time, at random."""

    random: Random
    now: float = 100.0
    counters: dict[Series, Sample] = field(default_factory=dict)
    gauges: dict[Series, float] = field(default_factory=dict)

    def step(self) -> Snapshot:
        match self.random.randrange(6):
            case 0 | 1:
                idc = f"idc-{self.random.randrange(2000):04}"
                for status in HostStatus:
                    self.counters.setdefault(host(idc, status), self.newborn())
                self.add(host(idc))
            case 2:
                value = 10 ** self.random.uniform(-1, 5)
                labels = (("result_status", self.random.choice(["success", "fail"])),)
                self.add(Series(DURATION, labels, bucket_part(value, BY_NAME[DURATION].buckets)))
                self.add(Series(DURATION, labels, "sum"), value)
            case 3 if self.counters:
                for _ in range(self.random.randrange(5)):
                    self.add(self.random.choice(list(self.counters)))
            case 4:
                self.gauges = {} if self.gauges else {Series("job_records_overdue"): self.random.random()}
            case 5:
                items = list(self.counters.items())
                self.random.shuffle(items)
                self.counters = {key: replace(sample) for key, sample in items}
        return Snapshot(counters=dict(self.counters), gauges=dict(self.gauges), time=self.now)

    def newborn(self) -> Sample:
        return Sample(value=0.0, born=self.now, held_until=self.now + 60.0)

    def add(self, series: Series, amount: float = 1.0) -> None:
        old = self.counters.get(series, self.newborn())
        exemplar = Exemplar(record_id=f"r{self.random.randrange(100)}", value=amount, timestamp=self.now)
        self.counters[series] = Sample(
            value=old.value + amount,
            born=old.born,
            exemplar=None if series.part == "sum" else exemplar,
            held_until=old.held_until,
        )


@pytest.mark.parametrize("seed", range(8))
def test_what_was_published_and_scraped_before_leaves_no_trace(seed: int) -> None:
    """After any history a scrape equals, byte for byte, that of a new exposition with the last snapshot."""
    random = Random(seed)
    story = Story(random)
    lived = Exposition()
    for _ in range(120):
        story.now += random.choice([0.0, 1.0, 20.0])
        snapshot = story.step()
        lived.show(snapshot)
        if random.random() < 0.5:
            accept, encoding = random.choice(["", OPENMETRICS]), random.choice(["", "gzip"])
            again = shown(snapshot, accept=accept)
            assert show(lived, accept=accept, encoding=encoding) == again


def test_many_series_are_sorted_across_blocks() -> None:
    """Thousands of series that come in any order, in parts, are shown in the order of their labels."""
    series = [host(f"idc-{number:04}") for number in range(1500)]
    Random(1).shuffle(series)
    exposition = Exposition()
    for end in (700, 701, 1500):
        exposition.show(counters(*series[:end]))
        assert show(exposition, encoding="gzip") == show(exposition)
    lines = [line for line in show(exposition).splitlines() if line.startswith(HOSTS)]
    assert len(lines) == 1500
    assert lines == sorted(lines)


def test_series_that_come_one_by_one_are_sorted_across_blocks() -> None:
    """Series that are added one by one, anywhere in the order, are shown in order."""
    exposition, had = Exposition(), {}
    for number in (*range(0, 200, 3), *range(1, 160, 3)[::-1], *range(-1, -40, -1)):
        had[host(f"idc-{number + 1000:04}")] = Sample(value=1.0, born=1.0)
        exposition.show(Snapshot(counters=dict(had)))
    for encoding in ("", "gzip"):
        assert show(exposition, encoding=encoding) == shown(Snapshot(counters=had))


def test_the_compressed_body_is_one_plain_gzip_member() -> None:
    """The compressed body is one gzip member, which every reader supports."""
    exposition = Exposition()
    exposition.show(counters(*(host(f"idc-{number}") for number in range(1000))))
    body = exposition.scrape(accept=OPENMETRICS, accept_encoding="gzip").body
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(body).decode() == show(exposition, accept=OPENMETRICS)
    assert reader.eof
    assert not reader.unused_data


# --- caching ---


ASKED = [(accept, encoding) for accept in ("", OPENMETRICS) for encoding in ("", "gzip")]


def bodies(exposition: Exposition) -> list[bytes]:
    """Scrape in both formats, plain and compressed."""
    return [exposition.scrape(accept=accept, accept_encoding=encoding).body for accept, encoding in ASKED]


def are_the_same(some: list[bytes], others: list[bytes]) -> bool:
    """Whether each body is the same object, not only equal."""
    return all(one is other for one, other in zip(some, others, strict=True))


def test_a_scrape_gives_what_was_rendered_when_the_snapshot_was_shown() -> None:
    """Any number of scrapes renders nothing; a snapshot that shows the same is not rendered again."""
    exposition = Exposition()
    one = Sample(value=1.0, born=1.0)
    exposition.show(Snapshot(counters={host("a"): one}))
    first = bodies(exposition)
    assert are_the_same(bodies(exposition), first)
    old_version = exposition.scrape(accept="application/openmetrics-text;version=0.0.1", accept_encoding="")
    assert old_version.body is first[2]
    exposition.show(Snapshot(counters={host("a"): replace(one)}, version=2))
    assert are_the_same(bodies(exposition), first), "an equal snapshot is no change"
    exposition.show(Snapshot(counters={host("a"): replace(one, value=2.0)}))
    assert not any(one is other for one, other in zip(bodies(exposition), first, strict=True))


def test_a_hold_that_ends_is_a_change_and_time_alone_is_none() -> None:
    """Time makes one new rendering, when the hold of a series is over."""
    exposition = Exposition()
    held = counters(host("a"), held_until=160.0).counters
    seen = []
    for time in (100.0, 120.0, 159.9, 160.0, 161.0, 500.0):
        exposition.show(Snapshot(counters=held, time=time))
        seen.append(exposition.scrape(accept="", accept_encoding="").body)
    assert seen[0] is seen[1] is seen[2] is not seen[3]
    assert seen[3] is seen[4] is seen[5]


def test_what_a_poll_left_alone_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When one of a thousand label sets changes, only its block is rendered again."""
    lines = []

    def counting(given: Collector) -> bytes:
        text = generate_latest(given)
        lines.append(text.count(b"\n") - 2)
        return text

    exposition = Exposition()
    before = counters(*(host(f"idc-{number:04}") for number in range(1000)))
    exposition.show(before)
    monkeypatch.setattr("exporter.metrics.collector.generate_latest", counting)
    changed = {**before.counters, host("idc-0500"): Sample(value=2.0, born=1.0)}
    exposition.show(Snapshot(counters=changed))
    assert lines == [BLOCK]
    assert show(exposition) == shown(Snapshot(counters=changed))


def test_a_rendering_that_is_broken_off_leaves_what_was_shown() -> None:
    """A closed exposition stops rendering and keeps the last complete bodies."""
    exposition = Exposition()
    exposition.show(counters(host("a")))
    before = bodies(exposition)
    exposition.close()
    exposition.show(counters(host("a"), host("b"), value=2.0))
    assert are_the_same(bodies(exposition), before)


async def test_two_scrapes_at_once_are_equal() -> None:
    """Scrapes that run at the same time get the same bytes."""
    exposition = Exposition()
    exposition.show(counters(host("a"), host("b")))

    async def scrape() -> str:
        await asyncio.sleep(0)
        return show(exposition)

    first, second = await asyncio.gather(scrape(), scrape())
    assert first == second
