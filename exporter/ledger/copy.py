"""A ledger → another database, whole or not at all: every counter, every id, compared row by row.

Nobody may write to the source meanwhile, and the target must be empty. All goes into one transaction; an
SQLite target is written beside its place, and put there once it is whole.
"""

import contextlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exporter.ledger import address, bulk, migrations, tables
from exporter.ledger.database import Database
from exporter.ledger.errors import LedgerBusyError, LedgerError
from exporter.ledger.sqlite_file import Lock

ROWS = 1_000  # read and written at once: what is in memory
PATIENCE = 60.0  # seconds that either server may wait for the other


def copy(source: str, target: str) -> Mapping[str, int]:
    """Copy the ledger at one address to the other; rows by table. Raises LedgerError: then nothing was."""
    if source == target:
        raise LedgerError("source and target are the same ledger; name another target")
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(_source(source))
        writing = stack.enter_context(_target(target))
        counts = {}
        for table in tables.TABLES:
            counts[table.name] = _copied(reading, writing, table)
        for table in tables.TABLES:
            _compare(reading, writing, table)
        return counts


@contextlib.contextmanager
def _source(url: str) -> Iterator[sa.Connection]:
    """A ledger that nobody writes to until the block ends, as it is at this moment."""
    path = address.sqlite_path(address.parsed(url))
    if path is not None and not path.is_file():
        raise LedgerError(f"there is no ledger at {path} to copy")
    database = Database(url, patience=PATIENCE)
    try:
        with database.consistent() as connection:
            _require_current(connection, database.name)
            if database.shared:
                _fence(connection, database.name)
            yield connection
    finally:
        database.close()


def _require_current(connection: sa.Connection, name: str) -> None:
    version, current = migrations.version(connection), len(migrations.MIGRATIONS)
    if version is None:
        raise LedgerError(f"ledger {name}: there is none to copy")
    if version != current:
        raise LedgerError(
            f"ledger {name}: it has version {version}, this program copies version {current}; "
            "start this program on it first"
        )


def _fence(connection: sa.Connection, name: str) -> None:
    """Hold the row without which no replica commits. Raises LedgerBusyError if one leads."""
    now = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
    free = sa.select(tables.leader.c.number).where(tables.leader.c.until < now)
    if connection.scalar(free.with_for_update(skip_locked=True)) is None:
        raise LedgerBusyError(f"ledger {name}: an exporter writes to it; stop all that share it, then copy")


@contextlib.contextmanager
def _target(url: str) -> Iterator[sa.Connection]:
    """An empty ledger, which is there once the block has ended well; else nothing is."""
    path = address.sqlite_path(address.parsed(url))
    if path is None:
        with _emptied(url) as connection:
            yield connection
        return
    lock = Lock(path)
    beside = path.with_name(path.name + ".copying")
    try:
        _require_absent(path)
        _remove(beside)  # of a copy that was cut short
        with _emptied(f"sqlite:///{beside}") as connection:
            yield connection
        beside.replace(path)
        lock.mark()
    except BaseException:
        lock.forget()
        raise
    finally:
        _remove(beside)
        lock.release()


def _require_absent(path: Path) -> None:
    if path.exists():
        raise LedgerError(f"{path} is there already; name a new file to copy to")


@contextlib.contextmanager
def _emptied(url: str) -> Iterator[sa.Connection]:
    database = Database(url, patience=PATIENCE)
    try:
        with database.writing() as connection:
            if migrations.version(connection) is not None:
                raise LedgerError(
                    f"ledger {database.name}: there is one already; name an empty database to copy to"
                )
            migrations.migrate(connection)
            for table in tables.TABLES:
                connection.execute(sa.delete(table))  # what a new ledger says of itself
            yield connection
            _go_on_counting(connection)
    finally:
        database.close()


def _go_on_counting(connection: sa.Connection) -> None:
    """Let PostgreSQL number new rows after those that came with a number."""
    if connection.dialect.name == "postgresql":
        highest = sa.select(sa.func.coalesce(sa.func.max(tables.failures.c.number), 0) + 1).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(tables.failures.name, "number")
        connection.execute(sa.select(sa.func.setval(sequence, highest, False)))


def _copied(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> int:
    count = 0
    with contextlib.closing(_rows(reading, table)) as rows:
        for part in rows.partitions(ROWS):
            bulk.insert(writing, table, [dict(row._mapping) for row in part])
            count += len(part)
    return count


def _compare(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> None:
    """Go through both, row by row. Raises LedgerError at the first difference, or if one has more."""
    with (
        contextlib.closing(_rows(reading, table)) as source,
        contextlib.closing(_rows(writing, table)) as target,
    ):
        for number, (here, there) in enumerate(zip_longest(source, target), 1):
            if here is None or there is None or tuple(here) != tuple(there):
                raise LedgerError(
                    f"the copy is not the same as its source in row {number} of {table.name}; "
                    "nothing was copied"
                )


def _rows(connection: sa.Connection, table: sa.Table) -> sa.CursorResult[Any]:
    """All rows, in an order that is the same in every database; not all in memory."""
    keys = [
        sa.collate(key, "C")
        if connection.dialect.name == "postgresql" and isinstance(key.type, sa.String)
        else key
        for key in table.primary_key.columns
    ]
    return connection.execute(sa.select(table).order_by(*keys), execution_options={"yield_per": ROWS})


def _remove(path: Path) -> None:
    """Remove an SQLite database with all that belongs to it."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
