"""Reads a ledger while its daemon runs, without locking or changing anything.

Each question is a transaction of its own, because a long one would keep the database from cleaning up.
"""

from collections.abc import Collection
from itertools import chain
from typing import Any

import msgspec
import sqlalchemy as sa

from exporter.ledger import tables
from exporter.ledger.database import Database, sqlite_path
from exporter.ledger.errors import LedgerError, SchemaError
from exporter.ledger.state import IDS, chunked
from exporter.ledger.tables import counters, followed, moving, settled
from exporter.model import Series
from exporter.tracking import effects
from exporter.tracking.state import Known, LedgerStatus
from exporter.tracking.values import Outcome, Stage, Tracked

_FOLLOWED = sa.select(followed).where(followed.c.id.in_(IDS))
_SETTLED = sa.select(settled).where(settled.c.id.in_(IDS))


class Inspection:
    """The ledger of one platform; all methods raise LedgerError."""

    def __init__(self, url: str, *, platform: str) -> None:
        """Open the ledger. Raises LedgerError if it has another version or belongs to another platform."""
        path = sqlite_path(url)
        if path is not None and not path.is_file():
            raise LedgerError(f"there is no ledger {path}; name the daemon's in state.url")
        database = Database(url, read_only=True)
        self._reading, self.close = database.reading, database.close
        self._series: dict[int, Series] = {}  # by number; rows are never changed
        try:
            with self._reading() as connection:
                tables.require_current(connection)
                tables.require_platform(connection, platform)
        except LedgerError:
            self.close()
            raise

    def progress(self) -> tables.Progress:
        """The small part of the daemon's state, as of its last commit."""
        with self._reading() as connection:
            return tables.progress(connection)

    def created(self) -> float | None:
        """When the first counters were created, by our clock; None: there are none."""
        with self._reading() as connection:
            first = sa.select(sa.func.min(counters.c.born)).where(counters.c.born > 0)
            return connection.execute(first).scalar()

    def known(self, ids: Collection[str]) -> dict[str, Known]:
        """What the ledger knows of these records, by id."""
        with self._reading() as connection:
            self._load_series(connection)
            progress = tables.progress(connection)
            offset = progress.wall - progress.time
            open_ = chain.from_iterable(chunked(connection, _FOLLOWED, [*ids]))
            closed = chain.from_iterable(chunked(connection, _SETTLED, [*ids]))
            known = [_followed(row, offset) for row in open_] + [self._settled(row) for row in closed]
            return {one.id: one for one in known}

    def counted(self, begin: float, end: float, *, after: str, limit: int) -> list[Known]:
        """Counted records that ended after `begin` and up to `end` (the platform's clock), sorted by id.

        At most `limit` records whose id is greater than `after`.
        """
        ended = settled.c.ended.is_not(None) & (settled.c.ended > begin) & (settled.c.ended <= end)
        wanted = ended & (settled.c.outcome == Outcome.SETTLED) & (settled.c.id > after)
        with self._reading() as connection:
            self._load_series(connection)
            rows = connection.execute(sa.select(settled).where(wanted).order_by(settled.c.id).limit(limit))
            return [self._settled(row) for row in rows]

    def _load_series(self, connection: sa.Connection) -> None:
        new = sa.select(moving).where(moving.c.number > max(self._series, default=0))
        self._series |= {row.number: tables.series_of(row) for row in connection.execute(new)}

    def _settled(self, row: sa.Row[Any]) -> Known:
        try:
            moved = effects.read(row.moved or "", self._series)
        except (ValueError, KeyError):
            raise SchemaError(f"its row of record {row.id} is damaged; restore it from a backup") from None
        return Known(
            id=row.id,
            status=LedgerStatus.COUNTED if row.outcome == Outcome.SETTLED else LedgerStatus(row.outcome),
            found=row.found,
            settled=row.settled,
            result=row.result,
            start=row.started,
            end=row.ended,
            lookups=row.looks,
            done=row.done,
            moved=moved,
        )


def _followed(row: sa.Row[Any], offset: float) -> Known:
    """`offset`: from ledger time to our wall clock."""
    tracked = msgspec.json.decode(row.state, type=Tracked)
    return Known(
        id=row.id,
        status=LedgerStatus.SETTLING if tracked.stage is Stage.DONE else LedgerStatus.OPEN,
        found=offset + tracked.found,
        tracked=tracked,
        start=tracked.start,
        lookups=tracked.lookups,
        done=None if tracked.done is None else offset + tracked.done,
    )
