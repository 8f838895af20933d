"""How a change of the metrics' layout is carried over."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from exporter.ledger import bulk
from exporter.ledger.tables import counters, get, put, row_of, sample_of, series_of
from exporter.model import UNKNOWN, Sample, Series

FINISHED = "job_records_finished_total"  # the one family whose labels are a setting


def lay_out(
    connection: sa.Connection,
    *,
    record_labels: tuple[str, ...],
    buckets: Mapping[str, tuple[float, ...]],
    held_until: float,
) -> list[str]:
    """Rule 8: give the counters the layout of the settings; what was done, in words for the log.

    Counters with new labels are new series. Until `held_until` (ledger time) they are shown at what was
    carried over, so that Prometheus sees what they count next as an increase.
    """
    notes = []
    had_labels = get(connection, "record_labels", tuple[str, ...])
    if had_labels is not None and had_labels != record_labels:
        _relabel(connection, record_labels, held_until)
        notes.append(
            f"record labels changed from {', '.join(had_labels) or 'none'} to "
            f"{', '.join(record_labels) or 'none'}: counters were carried over"
        )
    put(connection, "record_labels", record_labels)
    for family, bounds in buckets.items():
        had_bounds = get(connection, "buckets " + family, tuple[float, ...])
        if had_bounds is not None and had_bounds != bounds:
            connection.execute(sa.delete(counters).where(counters.c.family == family))
            notes.append(f"buckets of {family} changed: that histogram starts anew")
        put(connection, "buckets " + family, bounds)
    return notes


def _relabel(connection: sa.Connection, record_labels: tuple[str, ...], held_until: float) -> None:
    """Sum removed labels away, give added ones the value `unknown`."""
    merged: dict[Series, Sample] = {}
    of_family = counters.c.family == FINISHED
    for row in connection.execute(sa.select(counters).where(of_family)):
        had = dict(series_of(row).labels)
        kept = tuple((name, had.get(name, UNKNOWN)) for name in ("result_status", *record_labels))
        series, sample = Series(FINISHED, kept), sample_of(row)
        if series in merged:
            before = merged[series]
            sample = Sample(value=before.value + sample.value, born=min(before.born, sample.born))
        merged[series] = sample
    held = {
        series: Sample(
            value=sample.value,
            born=sample.born,
            exemplar=sample.exemplar,
            held_until=held_until,
            held_at=sample.value,
        )
        for series, sample in merged.items()
    }
    connection.execute(sa.delete(counters).where(of_family))
    bulk.insert(connection, counters, [row_of(*item) for item in held.items()])


def bear(connection: sa.Connection, initial: Iterable[Series], *, born: float, held_until: float) -> None:
    """Make the series that exist from the start, at 0, where they are not there yet.

    What is there is not asked for: who is paused while it reads much holds its locks as long.
    """
    zero = Sample(value=0.0, born=born, held_until=held_until)
    rows = [row_of(series, zero) for series in initial]
    bulk.insert(connection, counters, rows, "ON CONFLICT DO NOTHING")
