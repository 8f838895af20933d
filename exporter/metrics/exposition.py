"""A snapshot → what every scrape gets until the next one.

`show` renders both formats, plain and compressed, then replaces what `scrape` looks up. A scrape never waits
for rendering. It changes nothing that another scrape sees.
"""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics.collector import OPENMETRICS_END, Block, Text, blocks, head
from exporter.metrics.families import Family, MetricType, families
from exporter.metrics.negotiation import Format, accepts_gzip, choose_format
from exporter.model import Sample, Series, Snapshot
from exporter.settings import MetricsSettings

GZIP_LEVEL = 1  # level 6 makes bodies a tenth smaller and takes twice the time

Bodies = Mapping[tuple[bool, bool], bytes]  # by: OpenMetrics? compressed?


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One answer; send it with `Vary: Accept, Accept-Encoding`."""

    body: bytes
    content_type: str
    content_encoding: str | None = None  # "gzip" or none
    status: int = 200


class Exposition:
    """Shows the last snapshot. `show` belongs to one thread at a time, `scrape` to any."""

    def __init__(self, *, config: MetricsSettings | None = None) -> None:
        self._families = families(config or MetricsSettings())
        gauge = MetricType.GAUGE
        self._counters = _Source([family for family in self._families if family.type is not gauge])
        self._gauges = _Source([family for family in self._families if family.type is gauge])
        self._heads = {family.name: head(family) for family in self._families}
        self._time = 0.0  # ledger time; the latest that was shown
        self._texts: list[Text] = []
        self._bodies = _bodies([])
        self._closed = False

    def show(self, snapshot: Snapshot) -> None:
        """Render `snapshot`, then show it.

        Series of families that are not in the catalog are left out. Raises ValueError on a part of a
        histogram that is neither "sum" nor a number; what was shown until then stays.
        """
        # Time never goes back here: a value that was shown is never taken back.
        time = max(self._time, snapshot.time)
        self._counters.take(snapshot.counters)
        self._gauges.take(
            {series: Sample(value=value, born=0.0) for series, value in snapshot.gauges.items()}
        )
        texts: list[Text] = []
        for family in self._families:
            source = self._gauges if family.type is MetricType.GAUGE else self._counters
            blocks_ = source.blocks.get(family.name, ())
            if blocks_:
                texts.append(self._heads[family.name])
            for block in blocks_:
                if self._closed:
                    return
                texts.append(block.lines(source.samples, time))
        if texts != self._texts:
            self._bodies = _bodies(texts)
        self._texts, self._time = texts, time

    def close(self) -> None:
        """Break off the rendering that another thread is at: a stop does not wait for it."""
        self._closed = True

    def scrape(self, *, accept: str, accept_encoding: str) -> Scrape:
        """Answer a request with these headers ("" where missing)."""
        chosen = choose_format(accept)
        zipped = accepts_gzip(accept_encoding)
        body = self._bodies[chosen is not Format.TEXT, zipped]
        return Scrape(body=body, content_type=chosen.value, content_encoding="gzip" if zipped else None)


def _bodies(texts: Iterable[Text]) -> Bodies:
    """Join the pieces. The same pieces always make the same bytes."""
    plain = b"".join([text for text, _ in texts])
    openmetrics = b"".join([*(text for _, text in texts), OPENMETRICS_END])
    return {
        (chosen, zipped): gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body
        for chosen, body in ((False, plain), (True, openmetrics))
        for zipped in (False, True)
    }


class _Source:
    """One mapping of a snapshot, counters or gauges, and the blocks that show it.

    From one snapshot to the next the series are most often the same ones in the same order.
    """

    def __init__(self, catalog: Iterable[Family]) -> None:
        self._catalog = {family.name: family for family in catalog}
        self._series: Sequence[Series] = []
        self.samples: Sequence[Sample] = []
        self.blocks: Mapping[str, list[Block]] = {}  # by family

    def take(self, mapping: Mapping[Series, Sample]) -> None:
        """Take the mapping of a new snapshot."""
        series, self.samples = list(mapping), list(mapping.values())
        if series == self._series:
            return
        found: dict[str, list[tuple[int, Series]]] = {}
        for number, one in enumerate(series):
            if one.family in self._catalog:
                found.setdefault(one.family, []).append((number, one))
        self.blocks = {
            name: blocks(self._catalog[name], numbered, self.blocks.get(name, ()))
            for name, numbered in found.items()
        }
        self._series = series
