"""Rule 10: a label value beyond the limit becomes `other`; sums stay right, and it is counted. PURE."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from msgspec.structs import replace

from exporter.model import Series
from exporter.tracking.counting import Increment

OTHER = "other"  # replaces values beyond the label limit
BOUNDED_LABELS = ("idc", "provider", "script_type")  # values of these come from the platform


def fold(increment: Increment, known: Mapping[str, set[str]], limit: int) -> Iterator[Increment]:
    """Replace values beyond the limit. `known`: label → values that have a series; it is not changed."""
    over = [
        name
        for name, value in increment.series.labels
        if name in known and value not in known[name] and len(known[name]) >= limit
    ]
    if not over:
        yield increment
        return
    for name in over:
        yield Increment(series=Series("job_exporter_label_overflow_total", (("label", name),)))
    labels = tuple((name, OTHER if name in over else value) for name, value in increment.series.labels)
    yield replace(increment, series=replace(increment.series, labels=labels))


class Folding:
    """Folds increments one after the other: a new value counts towards the limit at once."""

    def __init__(self, had: Collection[Series], limit: int) -> None:
        """`had`: the existing series."""
        self._had = had
        self._limit = limit

    def fold(self, increment: Increment) -> list[Increment]:
        """The increment to count, and one for each value that became `other`."""
        if increment.series in self._had:
            return [increment]
        folded = list(fold(increment, self._values, self._limit))
        for part in folded:
            _add_values(part.series, self._values)
        return folded

    @cached_property
    def _values(self) -> dict[str, set[str]]:
        """Label → values that have a series. Slow: visits all series, so only when a new series comes."""
        values: dict[str, set[str]] = {name: set() for name in BOUNDED_LABELS}
        for series in self._had:
            _add_values(series, values)
        return values


def _add_values(series: Series, values: dict[str, set[str]]) -> None:
    for name, value in series.labels:
        if name in values and value != OTHER:
            values[name].add(value)


def fold_all(
    groups: Iterable[Iterable[Increment]], had: Collection[Series], limit: int
) -> list[tuple[Increment, ...]]:
    """Fold each group; `had`: the existing series."""
    folding = Folding(had, limit)
    return [tuple(part for increment in group for part in folding.fold(increment)) for group in groups]
