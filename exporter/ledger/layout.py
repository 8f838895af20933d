"""Which series the metrics have, and how the counters follow a change of it (rule 8)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from msgspec.structs import replace

from exporter.ledger.tables import counters, get, insert, put, row_of, sample_of, series_of
from exporter.model import UNKNOWN, Sample, Series
from exporter.tracking.counting import FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the ledger must know of the metrics."""

    initial: tuple[Series, ...] = ()  # exist from the start
    siblings: Callable[[Series], Iterable[Series]] = lambda series: (series,)  # are born together (rule 9)
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # bounds by family
    label_limit: int = 500  # values of each label that comes from the platform (rule 10)
    zero_hold: float = 0.0  # seconds for which a new series is shown at 0 (rule 9)

    def newborn(self, *, wall: float, time: float) -> Sample:
        """The sample of a series that is born at ledger time `time`."""
        return Sample(value=0.0, born=wall, held_until=time + self.zero_hold if self.zero_hold else 0.0)


def lay_out(connection: sa.Connection, layout: Layout, newborn: Sample) -> list[str]:
    """Adapt the counters to the layout; return log lines on what changed.

    Counters with new labels are new series. They are held at the value that was carried over, so that
    Prometheus sees the next increments.
    """
    notes = []
    had_labels = get(connection, "record_labels", tuple[str, ...])
    if had_labels is not None and had_labels != layout.record_labels:
        _relabel(connection, layout.record_labels, newborn.held_until)
        notes.append(
            f"record labels changed from {', '.join(had_labels) or 'none'} to "
            f"{', '.join(layout.record_labels) or 'none'}: counters were carried over"
        )
    put(connection, "record_labels", layout.record_labels)
    for family, bounds in layout.buckets.items():
        if get(connection, f"buckets {family}", tuple[float, ...]) not in (None, bounds):
            connection.execute(sa.delete(counters).where(counters.c.family == family))
            notes.append(f"buckets of {family} changed: that histogram starts anew")
        put(connection, f"buckets {family}", bounds)
    # Existing series are not read first: a process that is paused in a long read would keep its locks.
    initial = [row_of(series, newborn) for series in layout.initial]
    insert(connection, counters, initial, existing="skip")
    return notes


def _relabel(connection: sa.Connection, record_labels: tuple[str, ...], held_until: float) -> None:
    """Sum over removed labels; give added labels the value `unknown`."""
    of_family = counters.c.family == FINISHED  # the only family whose labels are a setting
    merged: dict[Series, Sample] = {}
    for row in connection.execute(sa.select(counters).where(of_family)):
        had, sample = dict(series_of(row).labels), sample_of(row)
        labels = tuple((name, had.get(name, UNKNOWN)) for name in ("result_status", *record_labels))
        series = Series(FINISHED, labels)
        before = merged.get(series, replace(sample, value=0.0))
        value = before.value + sample.value
        born = min(before.born, sample.born)
        merged[series] = replace(before, value=value, born=born, held_until=held_until, held_at=value)
    connection.execute(sa.delete(counters).where(of_family))
    insert(connection, counters, [row_of(*item) for item in merged.items()])
