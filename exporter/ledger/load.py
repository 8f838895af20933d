"""Loads the ledger into memory: everything for a leader, or what a follower shows."""

from dataclasses import replace

import msgspec
import sqlalchemy as sa

from exporter.ledger import tables
from exporter.ledger.commit import later
from exporter.ledger.tables import counters, failures, followed, moving, recent, settled
from exporter.model import FailedRecord
from exporter.tracking.state import State
from exporter.tracking.tallies import Tally
from exporter.tracking.values import Tracked


def load(connection: sa.Connection, *, everything: bool) -> State:
    """Load the state; what a follower does not show stays empty unless `everything`."""
    progress = tables.progress(connection)
    samples = {
        tables.series_of(row): tables.sample_of(row) for row in connection.execute(sa.select(counters))
    }
    failed = connection.execute(sa.select(failures).order_by(failures.c.number.desc()))
    tallies = connection.execute(sa.select(recent))
    state = State(
        counters=samples,
        latest=dict(progress.latest),
        failures=tuple(msgspec.json.decode(row.state, type=FailedRecord) for row in failed),
        recent={row.number: msgspec.json.decode(row.state, type=Tally) for row in tallies},
        time=progress.time,
        holds=later((sample.held_until for sample in samples.values()), progress.time),
    )
    if not everything:
        return state
    open_ = connection.execute(sa.select(followed))
    return replace(
        state,
        tail=progress.tail,
        counting_start=progress.counting_start,
        followed={row.id: msgspec.json.decode(row.state, type=Tracked) for row in open_},
        numbers={tables.series_of(row): row.number for row in connection.execute(sa.select(moving))},
        records=connection.scalar(sa.select(sa.func.count()).select_from(settled)) or 0,
    )
