"""Transactions on the database of a ledger: an SQLite file, or PostgreSQL."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

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


class Database:
    """The database of a ledger; all methods raise LedgerError."""

    def __init__(
        self, url: str, *, patience: float = STATEMENT_SECONDS, caller: str = "", watched: bool = False
    ) -> None:
        """Lock and check an SQLite file; PostgreSQL is not connected to yet. Raises LedgerError.

        `patience`: seconds after which PostgreSQL ends an idle transaction, because a process that was paused
        in a transaction must not keep its locks. `caller`: shown in PostgreSQL's list of connections.
        `watched`: close the connections if the server does not answer.
        """
        path, parsed = address.sqlite_path(url), address.parsed(url)
        self.name = address.named(parsed)
        self.shared = path is None  # other processes may use it, too
        self._patience, self._answer = patience, max(ANSWER_SECONDS, patience)
        self._settings = {**postgres.CONNECTION, "application_name": f"job-exporter {caller}".rstrip()}
        self._watchdog = postgres.Watchdog(self._hang_up)
        self._is_watched = watched and self.shared
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        with explained(self.name):
            self.engine = self._postgresql(parsed) if path is None else _sqlite(parsed)
        self._file = None if path is None else SqliteFile(path)

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
    def reading(self, *, slow: bool = False, locking: bool = False) -> Iterator[sa.Connection]:
        """Read one consistent state. `slow`: statements may take long; `locking`: rows may be locked."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": not locking}
        with explained(self.name), self._watching(slow), self.engine.connect() as connection:
            yield connection.execution_options(**options) if self.shared else connection

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
        sa.event.listen(engine, "begin", self._limit)
        sa.event.listen(engine, "connect", lambda made, _record: self._connections.add(made))
        sa.event.listen(engine, "before_cursor_execute", lambda *_: self._watchdog.renew())
        return engine

    def _limit(self, connection: sa.Connection) -> None:
        limit = self._watchdog.limit
        statement = STATEMENT_SECONDS if limit is None else limit - SPARE_SECONDS
        postgres.limit(connection, idle=self._patience, statement=statement)

    def _watching(self, slow: bool) -> contextlib.AbstractContextManager[None]:
        """Close the connections if an answer is overdue."""
        limit = STATEMENT_SECONDS if slow else self._answer
        return (
            self._watchdog.watching(limit + SPARE_SECONDS) if self._is_watched else contextlib.nullcontext()
        )

    def _hang_up(self) -> None:
        for connection in [*self._connections]:
            postgres.hang_up(connection)


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    # WAL: others can read while the exporter writes. FULL: a commit survives a power cut. A second is shorter
    # than a stop may take: if another program writes, the poll fails and is tried again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        connection.execute(f"PRAGMA {pragma}").close()
