"""Increments in the order of time → points of each label set. PURE.

A point is what one part of a label set has grown by at one step; steps without growth have none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.metrics.collector import showable
from exporter.metrics.families import Family, MetricsConfig, Origin, families, initial_series, siblings
from exporter.model import Series
from exporter.tracking.counting import Increment
from exporter.tracking.folding import Folding

LAG = "job_exporter_count_lag_seconds"  # how late the exporter was: here there was none
LATE = "job_exporter_records_late_total"  # which records only its sweep found: here there was none
DISCOVERED = "job_records_discovered_total"
LabelSet = tuple[str, tuple[tuple[str, str], ...]]  # family, labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What the part of a label set has grown by at a step."""

    group: int  # number of the label set
    step: int
    part: str
    value: float


def filled_families(config: MetricsConfig) -> tuple[Family, ...]:
    """The families that a backfill writes: the ledger's counters and histograms."""
    return tuple(
        family
        for family in families(config)
        if family.origin is Origin.LEDGER and family.name not in {LAG, LATE}
    )


class Sums:
    """All label sets of a backfill; folded and born as in the ledger (rules 9 and 10 of counting)."""

    def __init__(self, config: MetricsConfig, *, label_limit: int) -> None:
        self._folding = Folding((), label_limit)
        self._names = {family.name for family in filled_families(config)}
        self._grown: dict[tuple[int, str], float] = {}  # at the step under way
        self._step = 0
        self._numbers: dict[LabelSet, int] = {}
        self._births: list[int] = []
        for series in initial_series(config):
            if series.family in self._names:
                self._bear(series, 0)

    @property
    def label_sets(self) -> Iterator[tuple[LabelSet, int, int]]:
        """Give each label set, its number, and the step at which it begins with 0."""
        return ((labels, number, self._births[number]) for labels, number in self._numbers.items())

    def add(self, step: int, increments: Iterable[Increment]) -> list[Point]:
        """Add what happened at a step, not before the last one; the points of the step that is over."""
        over: list[Point] = []
        if step != self._step:
            over = self.rest()
            self._step = step
        for increment in increments:
            for folded in self._folding.fold(increment):
                self._add(folded)
        return over

    def rest(self) -> list[Point]:
        """Give the points of the step under way."""
        points = [
            Point(group=group, step=self._step, part=part, value=value)
            for (group, part), value in self._grown.items()
        ]
        self._grown.clear()
        return points

    def _add(self, increment: Increment) -> None:
        series = increment.series
        if series.family not in self._names:
            return
        place = self._number(series), series.part
        self._grown[place] = self._grown.get(place, 0.0) + increment.value

    def _number(self, series: Series) -> int:
        """The number of a series' label set; one that is new is born with its siblings."""
        key = _label_set(series)
        if key not in self._numbers:
            for sibling in (*siblings(series), series):
                self._bear(sibling, self._step - 1)
        return self._numbers[key]

    def _bear(self, series: Series, step: int) -> None:
        key = _label_set(series)
        if key not in self._numbers:
            self._numbers[key] = len(self._births)
            self._births.append(max(0, step))


def _label_set(series: Series) -> LabelSet:
    """What tells a label set from others once it is shown."""
    return series.family, tuple((name, showable(value)) for name, value in series.labels)
