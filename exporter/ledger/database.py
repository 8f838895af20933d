"""Transactions on the database of a ledger: an SQLite file, or PostgreSQL."""

import asyncio
import contextlib
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from exporter.ledger import address, postgres
from exporter.ledger.errors import LedgerError, advised, explained
from exporter.ledger.sqlite_file import SqliteFile

STATEMENT_SECONDS = 60.0  # limit of a slow statement: loading, pruning
# Limit of any other. A server answers a statement of a commit within milliseconds; if it says nothing for
# this long, it never will, even though the connection is open.
ANSWER_SECONDS = 5.0
SPARE_SECONDS = 2.0  # a slow server gets so much longer, to end the statement itself
SILENCE_SECONDS = 30.0  # without a notification, after which the connection is tested


class _OfThread(threading.local):
    seconds = STATEMENT_SECONDS  # that a statement may take
    watch: postgres.Watch | None = None


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
        path, parsed = address.sqlite_path(url), address.parsed(url)
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        self.shared = path is None  # other processes may use it, too
        self._patience = STATEMENT_SECONDS if patience is None else patience
        self._answer = max(ANSWER_SECONDS, self._patience)
        self._settings = {**postgres.CONNECTION, "application_name": f"job-exporter {caller}".rstrip()}
        self._thread = _OfThread()
        self._is_watched = self.shared and patience is not None
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        with explained(self.name):
            self.engine = self._postgresql(parsed) if path is None else _sqlite(parsed, read_only=read_only)
        self._file = None if path is None or read_only else SqliteFile(path)

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
        with explained(self.name), self._watching(slow), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Read one consistent state. `slow`: statements may take long."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with explained(self.name), self._watching(slow), self.engine.connect() as connection:
            if self.shared:
                connection.execution_options(**options)
            else:
                connection.exec_driver_sql("BEGIN")  # Python's driver begins no transaction for a query
            yield connection

    async def notifications(self, channel: str) -> AsyncIterator[None]:
        """Yield once when listening begins and at each notification.

        Raises LedgerError when the connection breaks, or does not answer a test.
        """
        import psycopg  # noqa: PLC0415  (an extra: needed for PostgreSQL only)

        _, given = self.engine.dialect.create_connect_args(self.engine.url)
        settings = {**self._settings, **given, "autocommit": True}
        try:
            async with await psycopg.AsyncConnection.connect(**settings) as connection:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                yield
                while True:
                    async for _ in connection.notifies(timeout=SILENCE_SECONDS):
                        yield
                    async with asyncio.timeout(self._answer):
                        await connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise LedgerError(f"ledger {self.name}: {advised(str(error))}") from None
        except TimeoutError:
            raise LedgerError(f"ledger {self.name}: the connection for notifications is silent") from None

    def _postgresql(self, url: sa.URL) -> sa.Engine:
        engine = postgres.make_engine(url, self._settings)
        sa.event.listen(
            engine, "begin", lambda made: postgres.limit(made, self._patience, self._thread.seconds)
        )
        sa.event.listen(engine, "connect", lambda made, _record: self._connections.add(made))
        sa.event.listen(engine, "before_cursor_execute", self._renew)
        return engine

    @contextlib.contextmanager
    def _watching(self, slow: bool) -> Iterator[None]:
        """Close the connections if an answer is overdue."""
        if not self._is_watched:
            yield
            return
        seconds = self._thread.seconds = STATEMENT_SECONDS if slow else self._answer
        with postgres.Watch(seconds + SPARE_SECONDS, self._hang_up) as self._thread.watch:
            yield

    def _renew(self, *_: object) -> None:
        if self._thread.watch is not None:
            self._thread.watch.renew()

    def _hang_up(self) -> None:
        for connection in [*self._connections]:
            postgres.hang_up(connection)


def _sqlite(url: sa.URL, *, read_only: bool) -> sa.Engine:
    if read_only:
        return sa.create_engine(url, creator=lambda: _connect(url.database), poolclass=sa.NullPool)
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _connect(path: str | None) -> sqlite3.Connection:
    # Without a write-ahead log nobody uses the file; `immutable` then keeps SQLite from creating a log. Each
    # transaction has its own connection, so this is decided each time.
    immutable = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro{immutable}", uri=True)


def _set_pragmas(connection: Any, _record: Any) -> None:
    # WAL: others can read while the exporter writes. FULL: a commit survives a power cut. A second is shorter
    # than a stop may take: if another program writes, the poll fails and is tried again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        connection.execute(f"PRAGMA {pragma}").close()
