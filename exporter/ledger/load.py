"""Loads the ledger into memory: everything for a leader, or the counters that a follower shows."""

from dataclasses import replace

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger import tables
from exporter.ledger.clock import FIRST
from exporter.ledger.tables import Progress, counters, failures, followed, moving, recent, settled
from exporter.model import FailedRecord, LeaderStatus, Series
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import State
from exporter.tracking.tallies import Tally
from exporter.tracking.values import Tracked


def everything(connection: sa.Connection) -> State:
    """Load what a leader needs."""
    progress = tables.get(connection, "progress", Progress)
    rows = connection.execute(sa.select(followed))
    numbered = connection.execute(sa.select(moving))
    return replace(
        shown(connection),
        tail=progress.tail if progress else Tail(),
        counting_start=tables.get(connection, "beginning", CountingStart),
        followed={row.id: msgspec.json.decode(row.state, type=Tracked) for row in rows},
        numbers={tables.series_of(row): row.number for row in numbered},
        records=connection.scalar(sa.select(sa.func.count()).select_from(settled)) or 0,
    )


def shown(connection: sa.Connection) -> State:
    """Load what a follower shows; the rest stays empty."""
    progress = tables.get(connection, "progress", Progress)
    time = progress.time if progress else FIRST
    rows = connection.execute(
        sa.select(counters).order_by(counters.c.family, counters.c.labels, counters.c.part)
    )
    found = {tables.series_of(row): tables.sample_of(row) for row in rows}
    samples = {series: sample for series, sample in found.items() if series.part != "latest"}
    failed = connection.execute(sa.select(failures).order_by(failures.c.number.desc()))
    tallies = connection.execute(sa.select(recent))
    return State(
        counters=samples,
        latest={
            Series(series.family, series.labels): sample.value
            for series, sample in found.items()
            if series.part == "latest"
        },
        failures=tuple(msgspec.json.decode(row.state, type=FailedRecord) for row in failed),
        recent={row.number: msgspec.json.decode(row.state, type=Tally) for row in tallies},
        time=time,
        holds=tuple(sorted({one.held_until for one in samples.values() if one.held_until > time})),
    )


def leader_status(connection: sa.Connection) -> LeaderStatus | None:
    """Load what the leader last wrote; None: no replica has polled yet."""
    return tables.get(connection, "leader_status", LeaderStatus)
