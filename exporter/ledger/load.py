"""What memory holds of the ledger, and how it is read: as a whole, or only what a follower shows."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger import tables
from exporter.ledger.clock import FIRST
from exporter.ledger.tables import Progress, counters, failures, followed, moving, recent, settled
from exporter.model import FailedRecord, LeaderStatus, Sample, Series
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import State
from exporter.tracking.tallies import Tally
from exporter.tracking.values import Tracked


def loaded(connection: sa.Connection) -> State:
    """Read everything."""
    open_set = connection.execute(sa.select(followed))
    numbered = connection.execute(sa.select(moving))
    progress = tables.get(connection, "progress", Progress)
    return replace(
        counted(connection, State()),
        tail=progress.tail if progress else Tail(),
        counting_start=tables.get(connection, "beginning", CountingStart),
        followed={row.id: msgspec.json.decode(row.state, type=Tracked) for row in open_set},
        numbers={tables.series_of(row): row.number for row in numbered},
        records=connection.scalar(sa.select(sa.func.count()).select_from(settled)) or 0,
    )


def counted(connection: sa.Connection, had: State) -> State:
    """Read what a replica shows that does not poll; the rest is empty.

    What did not change stays the same object in the same place, so that it is not rendered again.
    """
    found = {
        tables.series_of(row): tables.sample_of(row)
        for row in connection.execute(
            sa.select(counters).order_by(counters.c.family, counters.c.labels, counters.c.part)
        )
    }
    samples = {series: sample for series, sample in found.items() if series.part != "latest"}
    progress = tables.get(connection, "progress", Progress)
    time = progress.time if progress else FIRST
    lines = connection.execute(sa.select(failures).order_by(failures.c.number.desc()))
    tallies = connection.execute(sa.select(recent))
    return State(
        counters=_in_place(had.counters, samples),
        latest={
            Series(series.family, series.labels): sample.value
            for series, sample in found.items()
            if series.part == "latest"
        },
        failures=tuple(msgspec.json.decode(row.state, type=FailedRecord) for row in lines),
        recent={row.number: msgspec.json.decode(row.state, type=Tally) for row in tallies},
        time=time,
        holds=tuple(sorted({one.held_until for one in samples.values() if one.held_until > time})),
    )


def leader_status(connection: sa.Connection) -> LeaderStatus | None:
    """Read what the leader last said; None: no replica has polled yet."""
    return tables.get(connection, "leader_status", LeaderStatus)


def _in_place(had: Mapping[Series, Sample], found: Mapping[Series, Sample]) -> Mapping[Series, Sample]:
    kept = {series: sample for series, sample in had.items() if series in found}
    merged = {series: sample if found[series] == sample else found[series] for series, sample in kept.items()}
    return merged | {series: sample for series, sample in found.items() if series not in kept}
