"""A snapshot to the answers of all scrapes until the next snapshot.

`show` renders both formats, plain and compressed, and then replaces the bodies that `scrape` returns. So a
scrape never waits for rendering, and changes nothing that another scrape sees.
"""

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.metrics.collector import OPENMETRICS_END, Block, Text, blocks, head
from exporter.metrics.families import families
from exporter.metrics.negotiation import Format, accepts_gzip, choose_format
from exporter.model import Sample, Series, Snapshot
from exporter.settings import MetricsSettings

GZIP_LEVEL = 1  # level 6 makes bodies a tenth smaller and takes twice the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One response; send it with `Vary: Accept, Accept-Encoding`."""

    body: bytes
    content_type: str
    content_encoding: str | None = None  # "gzip" or none


class Exposition:
    """Shows the last snapshot. `show` belongs to one thread at a time, `scrape` to any."""

    def __init__(self, *, config: MetricsSettings | None = None) -> None:
        self._families = {family.name: family for family in families(config or MetricsSettings())}
        self._heads = {name: head(family) for name, family in self._families.items()}
        self._series: Sequence[Series] = []  # of the last snapshot; most snapshots have the same ones
        self._blocks: Mapping[str, list[Block]] = {}  # of these series, by family
        self._time = 0.0  # latest ledger time shown
        self._texts: list[Text] = []
        self._bodies = _bodies([])
        self._closed = False

    def show(self, snapshot: Snapshot, *, pause: Callable[[], None] = lambda: None) -> None:
        """Render `snapshot`, then show it; `pause` is called after each small step of that.

        Series of unknown families are left out. Raises ValueError on a part of a histogram that is neither
        "sum" nor a number; the previous snapshot stays.
        """
        # Time never goes back here: a value once shown is never taken back.
        time = max(self._time, snapshot.time)
        gauges = (Sample(value=value, born=0.0) for value in snapshot.gauges.values())
        samples = [*snapshot.counters.values(), *gauges]
        self._sort([*snapshot.counters, *snapshot.gauges], pause)
        texts: list[Text] = []
        for name, help_and_type in self._heads.items():
            if name in self._blocks:
                texts.append(help_and_type)
            for block in self._blocks.get(name, ()):
                if self._closed:
                    return
                texts.append(block.lines(samples, time))
                pause()
        if texts != self._texts:
            self._bodies = _bodies(texts)
        self._texts, self._time = texts, time

    def _sort(self, series: Sequence[Series], pause: Callable[[], None]) -> None:
        """Sort the series of a snapshot into blocks."""
        if series == self._series:
            return
        by_family: dict[str, list[tuple[int, Series]]] = {}
        for number, one in enumerate(series):
            if one.family in self._families:
                by_family.setdefault(one.family, []).append((number, one))
        self._blocks = {
            name: blocks(self._families[name], numbered, self._blocks.get(name, ()), pause)
            for name, numbered in by_family.items()
        }
        self._series = series

    def close(self) -> None:
        """Stop a rendering in another thread, so that a stop does not wait for it."""
        self._closed = True

    def scrape(self, accept: str, accept_encoding: str) -> Scrape:
        """Answer a request with these headers; "" for a missing one."""
        chosen = choose_format(accept)
        zipped = accepts_gzip(accept_encoding)
        body = self._bodies[chosen is not Format.TEXT, zipped]
        return Scrape(body=body, content_type=chosen.value, content_encoding="gzip" if zipped else None)


def _bodies(texts: Iterable[Text]) -> Mapping[tuple[bool, bool], bytes]:
    """Join the pieces, by whether it is OpenMetrics and whether it is compressed."""
    plain = b"".join([text for text, _ in texts])
    openmetrics = b"".join([*(text for _, text in texts), OPENMETRICS_END])
    return {
        (chosen, zipped): gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body
        for chosen, body in ((False, plain), (True, openmetrics))
        for zipped in (False, True)
    }
