"""When a record counts; the times of the samples, and what grows at each. Pure; times are POSIX seconds."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

from exporter.metrics.collector import showable
from exporter.metrics.families import Family, Origin, families, initial_series, siblings
from exporter.model import Record, Series
from exporter.settings import MetricsSettings
from exporter.settings.time_range import Window
from exporter.tracking.counting import LAG, Increment
from exporter.tracking.finding import LATE
from exporter.tracking.folding import Folding

LEFT_OUT = {LAG, LATE.series.family}  # how late the exporter counted, and found: a backfill cannot tell
LabelSet = tuple[str, tuple[tuple[str, str], ...]]  # family, labels


class BackfillError(Exception):
    """The backfill cannot be done or completed; the message says what to do."""


def ended(record: Record) -> float | None:
    """When a finished record counts: the later of its start and end; None if it has no times."""
    return max((time for time in (record.start, record.end) if time is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The times of the samples: multiples of `step` up to `end`, and `end` itself."""

    begin: float  # the last multiple of `step` before the window: all values are 0
    end: float
    step: float

    def __len__(self) -> int:
        return math.ceil((self.end - self.begin) / self.step) + 1

    def index(self, moment: float) -> int:
        """The first sample at or after this time."""
        return min(math.ceil((moment - self.begin) / self.step), len(self) - 1)

    def at(self, index: int) -> float:
        """The time of a sample."""
        return min(self.begin + index * self.step, self.end)


def grid(window: Window, *, step: float, latest: float = math.inf) -> Grid:
    """The samples of a window, none after `latest`, in whole milliseconds as Prometheus stores them.

    Raises BackfillError if no time is left.
    """
    begin = math.floor(window.begin / step) * step
    end = math.floor(min(window.end, latest) * 1000) / 1000
    if end <= begin:
        raise BackfillError("live counting began before the window: there is nothing to fill in")
    return Grid(begin=begin, end=end, step=step)


class Point(NamedTuple):
    """By how much one part of a label set grows at a step; there is none where it does not grow."""

    group: int  # number of the label set
    step: int
    part: str
    value: float


def filled_families(config: MetricsSettings) -> tuple[Family, ...]:
    """The families of a backfill: the ledger's counters and histograms."""
    return tuple(
        family
        for family in families(config)
        if family.origin is Origin.LEDGER and family.name not in LEFT_OUT
    )


class Sums:
    """Sums increments into points; folds labels and adds siblings as the ledger does (rules 9 and 10)."""

    def __init__(self, config: MetricsSettings, *, label_limit: int) -> None:
        self._folding = Folding((), label_limit)
        self._names = {family.name for family in filled_families(config)}
        self.label_sets: dict[LabelSet, tuple[int, int]] = {}  # number, and step at which it begins with 0
        for series in initial_series(config):
            if series.family in self._names:
                self._bear(series, 0)

    def points(self, ended: Iterable[tuple[int, Iterable[Increment]]]) -> Iterator[Point]:
        """The points of increments at steps, which ascend."""
        for step, records in groupby(ended, key=itemgetter(0)):
            grown: dict[tuple[int, str], float] = {}  # by label set and part
            for increment in chain.from_iterable(increments for _, increments in records):
                for folded in self._folding.fold(increment):
                    if folded.series.family in self._names:
                        place = self._number(folded.series, step), folded.series.part
                        grown[place] = grown.get(place, 0.0) + folded.value
            for (group, part), value in grown.items():
                yield Point(group, step, part, value)

    def _number(self, series: Series, step: int) -> int:
        """The number of a series' label set; a new one is born with its siblings."""
        key = _label_set(series)
        if key not in self.label_sets:
            for sibling in (*siblings(series), series):
                self._bear(sibling, max(0, step - 1))
        return self.label_sets[key][0]

    def _bear(self, series: Series, step: int) -> None:
        self.label_sets.setdefault(_label_set(series), (len(self.label_sets), step))


def _label_set(series: Series) -> LabelSet:
    """Family and labels as they are shown."""
    return series.family, tuple((name, showable(value)) for name, value in series.labels)
