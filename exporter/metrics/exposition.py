"""Snapshot → what a scrape gets, rendered at most once per change and format.

A poll touches few of the series: what it left as it was is not rendered again (`rendering.py`), and the
bodies that were asked for since the last change are kept.

Zero first (rule 9 of counting): a sample that is held is shown at `held_at`, 0 for one that is born, until a
snapshot carries a ledger time of `held_until` or later. That time is durable: no restart takes a value back.

`publish` and `scrape` belong to one thread (the event loop); neither waits for anything.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, compress, count
from operator import is_not

from exporter.metrics.families import MetricsConfig, MetricType, families
from exporter.metrics.negotiation import Format, accepts_gzip, choose_format
from exporter.metrics.rendering import END, Block, Group, Section
from exporter.model import Sample, Series, Snapshot

_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, unknown system: the same bytes each time
_DEFLATE_END = b"\x03\0"  # an empty last block


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One answer; send it with `Vary: Accept, Accept-Encoding`."""

    body: bytes
    content_type: str
    content_encoding: str | None = None  # "gzip" or none
    status: int = 200


class Exposition:
    """Shows the last published snapshot to whoever scrapes; scraping changes nothing that others see."""

    def __init__(self, *, config: MetricsConfig | None = None) -> None:
        self._sections = [Section(family) for family in families(config or MetricsConfig())]
        gauges = [section.family.type is MetricType.GAUGE for section in self._sections]
        self._gauges = _Source(compress(self._sections, gauges))
        self._counters = _Source(compress(self._sections, (not gauge for gauge in gauges)))
        self._held: list[Group] = []
        self._bodies: dict[tuple[bool, bool], bytes] = {}
        self.renders = 0  # bodies put together so far

    def publish(self, snapshot: Snapshot) -> None:
        """Show `snapshot` from now on.

        Series of families that are not in the catalog are left out. Raises ValueError, and goes on showing
        what it showed, on a part that is neither "sum" nor a number.
        """
        gauges = {series: Sample(value=value, born=0.0) for series, value in snapshot.gauges.items()}
        changed = self._counters.update(snapshot.counters)
        changed |= self._gauges.update(gauges)
        self._held += self._counters.newborn()
        if self._release(snapshot.time) or changed:
            self._bodies.clear()

    def scrape(self, *, accept: str, accept_encoding: str) -> Scrape:
        """Answer a request with these headers ("" where missing)."""
        chosen = choose_format(accept)
        gzip = accepts_gzip(accept_encoding)
        body = self._body(openmetrics=chosen is not Format.TEXT, gzip=gzip)
        return Scrape(body=body, content_type=chosen.value, content_encoding="gzip" if gzip else None)

    def _release(self, time: float) -> bool:
        """Show the groups whose hold is over at this ledger time."""
        released = [group for group in self._held if group.held_until <= time]
        self._held = [group for group in self._held if group.held_until > time]
        for group in released:
            group.release()
        return bool(released)

    def _body(self, *, openmetrics: bool, gzip: bool) -> bytes:
        body = self._bodies.get((openmetrics, gzip))
        if body is None:
            body = self._zipped(openmetrics) if gzip else self._plain(openmetrics)
            self._bodies[openmetrics, gzip] = body
            self.renders += 1
        return body

    def _plain(self, openmetrics: bool) -> bytes:
        return b"".join(block.plain(openmetrics) for block in self._blocks(openmetrics))

    def _zipped(self, openmetrics: bool) -> bytes:
        """Make one gzip member of blocks compressed apart: each ends on a byte and needs no other."""
        plain = self._body(openmetrics=openmetrics, gzip=False)
        trailer = zlib.crc32(plain).to_bytes(4, "little") + (len(plain) % 2**32).to_bytes(4, "little")
        deflated = (block.deflated(openmetrics) for block in self._blocks(openmetrics))
        return b"".join((_GZIP_HEADER, *deflated, _DEFLATE_END, trailer))

    def _blocks(self, openmetrics: bool) -> Iterator[Block]:
        for section in self._sections:
            yield from section.blocks
        if openmetrics:
            yield END


class _Source:
    """One mapping of a snapshot, and where each of its series is shown.

    From one snapshot to the next most keys and samples are the same objects in the same order, with new ones
    at the end, so that comparing them runs at the speed of C.
    """

    def __init__(self, sections: Iterable[Section]) -> None:
        self._sections = {section.family.name: section for section in sections}
        self._keys: list[Series] = []
        self._samples: list[Sample] = []
        self._places: list[tuple[Group, int] | None] = []  # of each key: its group, and its number there
        self._newborn: list[Group] = []

    def update(self, samples: Mapping[Series, Sample]) -> bool:
        """Take a new snapshot's mapping; tell whether anything that is shown may differ."""
        keys, values = list(samples), list(samples.values())
        kept = len(self._keys)
        cleared = keys[:kept] != self._keys
        if cleared:
            kept = 0
        added = [self._group(series) for series in keys[kept:]]
        if cleared:
            self._clear()
        changed = self._replace(values[:kept])
        self._keys, self._samples = keys, values
        if added or cleared:
            self._add(zip(keys[kept:], values[kept:], added, strict=True), everywhere=cleared)
        return bool(added) or cleared or changed

    def newborn(self) -> list[Group]:
        """Give, once, the groups that came since the last time and are to be held."""
        groups, self._newborn = self._newborn, []
        return groups

    def _group(self, series: Series) -> Group | None:
        section = self._sections.get(series.family)
        return section.group(series) if section else None

    def _clear(self) -> None:
        for place in self._places:
            if place is not None:
                place[0].clear()
        self._places = []

    def _replace(self, values: list[Sample]) -> bool:
        changed = False
        for index in compress(count(), map(is_not, values, self._samples)):
            place = self._places[index]
            if place is not None and values[index] != self._samples[index]:
                group, number = place
                group.replace(number, values[index])
                changed = True
        return changed

    def _add(self, samples: Iterable[tuple[Series, Sample, Group | None]], *, everywhere: bool) -> None:
        new: dict[str, list[Group]] = {}  # by family
        for series, sample, group in samples:
            if group is None:
                self._places.append(None)
                continue
            if not group.samples:
                new.setdefault(group.family.name, []).append(group)
            self._places.append((group, len(group.samples)))
            group.add(series.part, sample)
        self._newborn += (group for group in chain.from_iterable(new.values()) if group.hold())
        if everywhere:
            for section in self._sections.values():
                section.arrange()
        else:
            for name, groups in new.items():
                self._sections[name].come(groups)
