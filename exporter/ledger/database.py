"""The database of a ledger (`state.url`): an SQLite file, or PostgreSQL, and transactions on it.

Errors do not repeat the address: it may contain a password.
"""

import contextlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exporter.ledger import postgres
from exporter.ledger.errors import LedgerError, explained
from exporter.ledger.sqlite_file import SqliteFile, make_engine, make_reading_engine

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
IN_MEMORY = (None, "", ":memory:")  # names of SQLite databases without a file
ADVICE = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
STATEMENT_SECONDS = 60.0  # limit of a slow statement: loading, pruning
# Limit of any other. A server answers a statement of a commit within milliseconds; if it says nothing for
# this long, it never will, even though the connection is open.
ANSWER_SECONDS = 5.0
SPARE_SECONDS = 2.0  # a slow server gets so much longer, to end the statement itself


class Database:
    """The database of a ledger; all methods raise LedgerError."""

    def __init__(
        self, url: str, *, patience: float | None = None, caller: str = "", read_only: bool = False
    ) -> None:
        """Lock and check an SQLite file; PostgreSQL is not connected to yet. Raises LedgerError.

        `patience`: seconds after which PostgreSQL ends an idle transaction, because a process that was paused
        in a transaction must not keep its locks; connections to a server that does not answer are closed.
        None: a minute, and they stay open. `caller`: shown in PostgreSQL's list of connections. `read_only`:
        do not lock an SQLite file, and leave no trace.
        """
        path, address = sqlite_path(url), _parsed(url)
        self.name = address.set(query={}).render_as_string(hide_password=True)
        self.shared = path is None  # other processes may use it, too
        self._patience = patience
        self._answer = max(ANSWER_SECONDS, patience or 0.0)
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._file = None if path is None or read_only else SqliteFile(path)
        with explained(self.name):
            if path is not None and read_only:
                self.engine = make_reading_engine(path)
            elif path is not None:
                self.engine = make_engine(address)
            else:
                self.engine = postgres.make_engine(address, caller)
                sa.event.listen(self.engine, "connect", lambda made, _record: self._connections.add(made))

    def close(self) -> None:
        """Release it. A thread that waits for an answer of the server gets an error."""
        self._hang_up()
        self.engine.dispose()
        if self._file is not None:
            self._file.close()

    @contextlib.contextmanager
    def writing(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Run a transaction; commit it at the end of the block. `slow`: statements may take long."""
        if self._file is not None:
            self._file.require_in_place()
        with self._transaction(slow) as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Read one consistent state. `slow`: statements may take long."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.shared else {}
        with self._transaction(slow, **options) as connection:
            if not self.shared:
                connection.exec_driver_sql("BEGIN")  # Python's driver begins no transaction for a query
            yield connection
            connection.rollback()  # there is nothing to commit

    @contextlib.contextmanager
    def _transaction(self, slow: bool, **options: Any) -> Iterator[sa.Connection]:
        """Run a transaction. Close all connections if an answer is overdue."""
        seconds = STATEMENT_SECONDS if slow or self._patience is None else self._answer
        watch: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.shared and self._patience is not None:
            watch = postgres.watched(seconds + SPARE_SECONDS, self._hang_up)
        with explained(self.name), watch as renew, self.engine.connect() as connection:
            if renew is not None:
                sa.event.listen(connection, "before_cursor_execute", renew)
            with connection.execution_options(**options).begin():
                if self.shared:
                    postgres.limit(connection, self._patience or STATEMENT_SECONDS, seconds)
                yield connection

    def _hang_up(self) -> None:
        for connection in [*self._connections]:
            postgres.hang_up(connection)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite ledger; None for PostgreSQL. Raises LedgerError, also for one in memory."""
    address = _parsed(url)
    if address.drivername != "sqlite":
        return None
    if address.database in IN_MEMORY:
        raise LedgerError(
            "state.url names no file, and a ledger in memory is lost at the end of the process; "
            "write sqlite:///job-exporter.db"
        )
    return Path(str(address.database))


def _parsed(url: str) -> sa.URL:
    """Parse an address; PostgreSQL is reached through psycopg. Raises LedgerError."""
    try:
        address = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # a password without @HOST is read as a port
        raise LedgerError(f"state.url is not a database address, or the host is missing; {ADVICE}") from None
    if address.drivername not in DRIVERS:
        raise LedgerError(f"state.url names a database that is not supported; {ADVICE}")
    return address.set(drivername=DRIVERS[address.drivername])
