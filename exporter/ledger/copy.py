"""Copies a ledger to another database, completely or not at all, and compares both row by row.

Nobody may write to the source meanwhile, and the target must be empty. All rows are written in one
transaction. A copy that is killed leaves an SQLite file without a version: the next copy uses it again.
"""

import contextlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from exporter.ledger import tables
from exporter.ledger.database import Database, sqlite_path
from exporter.ledger.errors import LedgerBusyError, LedgerError
from exporter.ledger.lease import DATABASE_NOW

ROWS = 1_000  # rows in memory


def copy(source: str, target: str) -> Mapping[str, int]:
    """Copy a ledger from one address to another; return rows by table. Raises LedgerError."""
    with _target(target) as writing, _source(source) as reading:
        return {table.name: _copied(reading, writing, table) for table in tables.COPIED}


@contextlib.contextmanager
def _source(url: str) -> Iterator[sa.Connection]:
    """Read a ledger that nobody writes to until the block ends."""
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        raise LedgerError(f"there is no ledger {path} to copy")
    with contextlib.closing(Database(url)) as database, database.writing() as connection:
        tables.require_current(connection)
        # Lock the row that a replica needs for each commit.
        free = sa.select(tables.leader.c.number).where(tables.leader.c.until < DATABASE_NOW)
        if database.shared and connection.scalar(free.with_for_update(skip_locked=True)) is None:
            raise LedgerBusyError(
                f"ledger {database.name}: an exporter writes to it; stop all that share it, then copy"
            )
        yield connection


@contextlib.contextmanager
def _target(url: str) -> Iterator[sa.Connection]:
    """Create a ledger without rows. If the block fails, nothing is left of it."""
    path = sqlite_path(url)
    with contextlib.closing(Database(url)) as database, contextlib.ExitStack() as undo:
        if path is not None and not path.exists():
            undo.callback(path.unlink, missing_ok=True)
            undo.callback(database.engine.dispose)  # first, so that SQLite removes its log
        with database.writing() as connection:
            if tables.version(connection) is not None:
                name = "a new file" if path else "an empty database"
                raise LedgerError(f"ledger {database.name} already exists; name {name} to copy to")
            tables.migrate(connection)
            for table in tables.COPIED:
                connection.execute(sa.delete(table))  # the migration wrote the version
            yield connection
        undo.pop_all()


def _copied(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> int:
    """Copy a table, and read both again; return its rows. Raises LedgerError at the first that differs."""
    with contextlib.closing(_rows(reading, table)) as rows:
        for part in rows.partitions(ROWS):
            tables.insert(writing, table, [dict(row._mapping) for row in part])
    count = 0
    with (
        contextlib.closing(_rows(reading, table)) as source,
        contextlib.closing(_rows(writing, table)) as target,
    ):
        for count, (had, has) in enumerate(zip_longest(source, target), 1):
            if had is None or has is None or tuple(had) != tuple(has):
                raise LedgerError(
                    f"the copy differs from its source in row {count} of {table.name}; nothing was copied"
                )
    return count


def _rows(connection: sa.Connection, table: sa.Table) -> sa.CursorResult[Any]:
    """All rows in the same order in every database, `ROWS` in memory at a time."""
    keys = [
        sa.collate(key, "C")
        if connection.dialect.name == "postgresql" and isinstance(key.type, sa.String)
        else key
        for key in table.primary_key.columns
    ]
    return connection.execute(sa.select(table).order_by(*keys), execution_options={"yield_per": ROWS})
