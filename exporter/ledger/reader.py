"""The ledger, looked at beside the daemon that writes it: nothing is made, locked, changed or migrated.

Each question is a transaction of its own: a long one would keep the daemon's database from tidying up.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger import address, tables
from exporter.ledger.clock import FIRST
from exporter.ledger.database import Database
from exporter.ledger.errors import LedgerError, SchemaError, explained
from exporter.ledger.statements import chunks
from exporter.ledger.tables import counters, followed, moving, settled
from exporter.model import Series
from exporter.tracking import effects
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.known import Known, LedgerStatus
from exporter.tracking.values import Outcome, Stage, Tracked

PATIENCE = 60.0  # seconds after which PostgreSQL ends a transaction of which it hears nothing
LEDGER_STATUSES = {
    Outcome.SETTLED: LedgerStatus.COUNTED,
    Outcome.BASELINE: LedgerStatus.BASELINE,
    Outcome.VANISHED: LedgerStatus.VANISHED,
}


class Inspection:
    """The ledger of one platform; everything raises LedgerError, which says what to do."""

    def __init__(self, url: str, *, platform: str) -> None:
        """Find the ledger, and refuse that of another version or platform."""
        self._reading, self.close = _beside(url)
        self._series: dict[int, Series] = {}  # by its number; they are only ever added to
        try:
            self._require(platform)
        except LedgerError:
            self.close()
            raise

    def _require(self, platform: str) -> None:
        with self._reading() as connection:
            if not sa.inspect(connection).has_table(tables.meta.name):
                raise SchemaError("it is no ledger; name the daemon's in state.url")
            version = tables.get(connection, "version", int) or 0
            owner = tables.get(connection, "platform", str)
            newest = len(tables.MIGRATIONS)
            if version != newest:
                other = "this program once as the daemon" if version < newest else "the newer program instead"
                raise SchemaError(f"it has version {version}, this program reads {newest}; start {other}")
            if owner != platform:
                raise SchemaError(
                    f"it belongs to the platform {owner}, not {platform}; "
                    "name another ledger in state.url, or that platform in api.base-url"
                )

    def tail(self) -> tuple[Tail, CountingStart | None]:
        """What the daemon knows of the platform's pages, and where counting began."""
        with self._reading() as connection:
            progress = tables.get(connection, "progress", tables.Progress)
            tail = progress.tail if progress else Tail()
            return tail, tables.get(connection, "beginning", CountingStart)

    def time(self) -> float:
        """Ledger time of the daemon's last commit, in seconds."""
        with self._reading() as connection:
            progress = tables.get(connection, "progress", tables.Progress)
        return progress.time if progress else FIRST

    def created(self) -> float | None:
        """Since when counters stand there, at 0 then; our clock."""
        with self._reading() as connection:
            first = sa.select(sa.func.min(counters.c.born)).where(counters.c.born > 0)
            born: float | None = connection.scalar(first)
        return born

    def known(self, ids: Collection[str]) -> dict[str, Known]:
        """What the ledger has of these records, by id."""
        had: dict[str, Known] = {}
        with self._reading() as connection:
            self._learn(connection)
            progress = tables.get(connection, "progress", tables.Progress)
            for chunk in chunks(list(ids)):
                open_set = connection.execute(sa.select(followed).where(followed.c.id.in_(chunk)))
                had |= {row.id: _followed(row, progress) for row in open_set}
                left = connection.execute(sa.select(settled).where(settled.c.id.in_(chunk)))
                had |= {row.id: self._settled(row) for row in left}
        return had

    def counted(self, begin: float, end: float, *, after: str, limit: int) -> list[Known]:
        """Give records counted that ended after `begin` and by `end`, in the order of their ids.

        At most `limit` of those behind the id `after`; the times are the platform's.
        """
        ended = settled.c.ended.is_not(None) & (settled.c.ended > begin) & (settled.c.ended <= end)
        wanted = ended & (settled.c.outcome == Outcome.SETTLED) & (settled.c.id > after)
        with self._reading() as connection:
            self._learn(connection)
            rows = connection.execute(sa.select(settled).where(wanted).order_by(settled.c.id).limit(limit))
            return [self._settled(row) for row in rows]

    def _learn(self, connection: sa.Connection) -> None:
        new = sa.select(moving).where(moving.c.number > max(self._series, default=0))
        self._series |= {row.number: tables.series_of(row) for row in connection.execute(new)}

    def _settled(self, row: sa.Row[Any]) -> Known:
        try:
            moved = None if row.moved is None else effects.read(row.moved, self._series)
        except (ValueError, KeyError):
            raise SchemaError(
                f"what it says of record {row.id} is damaged; restore it from a backup"
            ) from None
        return Known(
            id=row.id,
            status=LEDGER_STATUSES[Outcome(row.outcome)],
            found=row.found,
            settled=row.settled,
            result=row.result,
            start=row.started,
            end=row.ended,
            lookups=row.looks,
            done=row.done,
            moved=moved,
        )


def _followed(row: sa.Row[Any], progress: tables.Progress | None) -> Known:
    tracked = msgspec.json.decode(row.state, type=Tracked)
    dated = progress.wall - progress.time if progress else 0.0  # of ledger time: our wall clock
    return Known(
        id=row.id,
        status=LedgerStatus.SETTLING if tracked.stage is Stage.DONE else LedgerStatus.OPEN,
        found=dated + tracked.found,
        tracked=tracked,
        start=tracked.start,
        lookups=tracked.lookups,
        done=None if tracked.done is None else dated + tracked.done,
    )


def _beside(url: str) -> tuple[Callable[[], AbstractContextManager[sa.Connection]], Callable[[], None]]:
    """How to begin a transaction that only reads and sees one moment throughout, and how to end them all.

    Raises LedgerError.
    """
    path = address.sqlite_path(address.parsed(url))
    if path is None:
        database = Database(url, patience=PATIENCE)
        return database.reading, database.close
    if not path.is_file():
        raise LedgerError(f"there is no ledger {path}: name the daemon's in state.url")
    engine = sa.create_engine("sqlite://", creator=lambda: _opened(str(path)), poolclass=sa.NullPool)

    @contextmanager
    def reading() -> Iterator[sa.Connection]:
        with explained(url), engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # Python's driver begins none for a query
            yield connection

    return reading, engine.dispose


def _opened(path: str) -> sqlite3.Connection:
    # Where there is no log nobody has the file open, and SQLite would leave one behind if it were not told
    # that nothing changes. Each transaction has a connection of its own: it is asked anew.
    still = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"file:{quote(path)}?mode=ro{still}", uri=True)
