"""The database under a ledger, and how it is reached.

An SQLite ledger is held by one process, through a lock file beside it. On PostgreSQL every setting is one
of a transaction, and nothing is prepared: so any connection pooler may stand in between.
"""

import asyncio
import contextlib
import os
import socket
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from exporter.ledger import address
from exporter.ledger.errors import LedgerError, SchemaError, advised, explained
from exporter.ledger.sqlite_file import Lock
from exporter.ledger.watchdog import Watchdog

OLDEST_POSTGRESQL = 13  # the oldest that its makers still mended when this was written
# A connection that is cut without a word is noticed after 5 s of silence and 3 questions, 2 s apart; what was
# sent and not confirmed, after 10 s. Nothing takes 60 s but a server that hangs.
POSTGRESQL_CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # Else a database in SQL_ASCII (a server set up in the C locale) answers in bytes.
    "client_encoding": "utf8",
}
STATEMENT_SECONDS = 60.0
# A server answers a statement of a commit within milliseconds. One that says nothing for so long never will,
# though its connection is open: it is hung up. Loading and pruning may take as long as a statement can.
ANSWER_SECONDS = 5.0
NEWS_SECONDS = 30.0  # of silence, after which the connection that tells of commits is asked for an answer
SPARE_SECONDS = 2.0  # that a server which is only slow has to end a statement by itself


class Database:
    """The database of a ledger, held by this process if it is an SQLite file; all raise LedgerError."""

    def __init__(self, url: str, *, patience: float, caller: str = "", watched: bool = False) -> None:
        """Get ready to reach it; nothing is opened yet. Raises LedgerError.

        A transaction on PostgreSQL that nothing is heard of for `patience` seconds is ended by the server: a
        process that is paused in the middle of one must not hold its locks. It shows `caller` to a person
        who asks it for its connections. `watched`: hang up on a server that does not answer.
        """
        parsed = address.parsed(url)
        self.name = address.named(parsed)
        self.lock = Lock(address.sqlite_path(parsed))
        self._caller = f"job-exporter {caller}".rstrip()
        self._patience = patience
        self._watchdog = Watchdog(self.hang_up)
        try:
            self.engine = self._engine(parsed)
            self.lock.refuse_damaged()
        except BaseException:
            self.lock.forget()  # nothing is left beside what is no ledger
            self.lock.release()
            raise
        self.shared = self.engine.dialect.name == "postgresql"  # other processes may use it, too
        self._is_watched = watched and self.shared
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        if self.shared:
            sa.event.listen(self.engine, "connect", lambda made, _record: self._connections.add(made))
            sa.event.listen(self.engine, "before_cursor_execute", lambda *_: self._watchdog.renew())

    def close(self) -> None:
        """Let go of it; what waits for an answer of a server that hangs breaks off."""
        self._watchdog.close()
        self.hang_up()
        self.engine.dispose()
        self.lock.release()

    def hang_up(self) -> None:
        """End all connections, from whichever thread; what waits for an answer fails."""
        for connection in [*self._connections]:
            _hang_up(connection)

    async def notifications(self, channel: str) -> AsyncIterator[None]:
        """Yield once when listening begins, and at each notification; until the connection breaks.

        Raises LedgerError.
        """
        import psycopg  # noqa: PLC0415  (an extra: only who has PostgreSQL needs it)

        _, given = self.engine.dialect.create_connect_args(self.engine.url)
        try:
            async with await psycopg.AsyncConnection.connect(
                **{"application_name": self._caller, **POSTGRESQL_CONNECTION, **given}, autocommit=True
            ) as connection:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                yield
                while True:
                    async for _ in connection.notifies(timeout=NEWS_SECONDS):
                        yield
                    async with asyncio.timeout(max(ANSWER_SECONDS, self._patience)):
                        await connection.execute("SELECT 1")  # silence may be news, or a dead connection
        except psycopg.Error as error:
            raise LedgerError(f"ledger {self.name}: {advised(str(error))}") from None
        except TimeoutError:
            raise LedgerError(f"ledger {self.name}: the connection that tells of commits is silent") from None

    @contextlib.contextmanager
    def writing(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Run a transaction, which is committed if the block ends well. `slow`: statements may take long."""
        self.lock.refuse_moved()
        with explained(self.name), self._watching(slow), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def consistent(self) -> Iterator[sa.Connection]:
        """Read and hold rows, and see one moment throughout."""
        options = {"isolation_level": "REPEATABLE READ"} if self.shared else {}
        with explained(self.name), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextlib.contextmanager
    def reading(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Read, and see one moment throughout. `slow`: statements may take long."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.shared else {}
        with explained(self.name), self._watching(slow), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    def _watching(self, slow: bool) -> contextlib.AbstractContextManager[None]:
        """Hang up where an answer is overdue."""
        if not self._is_watched:
            return contextlib.nullcontext()
        limit = STATEMENT_SECONDS if slow else max(ANSWER_SECONDS, self._patience)
        return self._watchdog.watching(limit + SPARE_SECONDS)

    def _statement_seconds(self) -> float:
        """How long the server lets a statement of this thread run."""
        limit = self._watchdog.limit
        return STATEMENT_SECONDS if limit is None else limit - SPARE_SECONDS

    def _engine(self, parsed: sa.URL) -> sa.Engine:
        try:
            if parsed.drivername == "postgresql+psycopg":
                return self._postgresql(parsed)
            engine = sa.create_engine(parsed)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError) as error:
            if getattr(error, "name", None) == "psycopg":
                raise LedgerError(
                    "PostgreSQL needs the package psycopg; install job-exporter[postgresql]"
                ) from None
            raise LedgerError(
                f"state.url is not understood ({type(error).__name__}); {address.ADVICE}"
            ) from None
        sa.event.listen(engine, "connect", _sqlite_pragmas)
        return engine

    def _postgresql(self, url: sa.URL) -> sa.Engine:
        """Make an engine each of whose statements is one message, with its values written into it.

        The server ends a transaction of which it hears nothing between two statements. Between the messages
        of one, as psycopg usually sends it, it waits for ever, and a process that is paused there keeps its
        locks.
        """
        import psycopg  # noqa: PLC0415  (an extra: only who has PostgreSQL needs it)

        given = {name: value for name, value in POSTGRESQL_CONNECTION.items() if name not in url.query}
        engine = sa.create_engine(
            url,
            pool_size=2,  # one for a commit, one for a heartbeat beside it
            pool_pre_ping=True,  # a server that was restarted costs no commit
            connect_args={
                "cursor_factory": psycopg.ClientCursor,
                "application_name": self._caller,
                **given,
            },
        )
        sa.event.listen(engine, "begin", self._limit)
        sa.event.listen(engine, "connect", _require_version)
        return engine

    def _limit(self, connection: sa.Connection) -> None:
        """Set the server's own deadlines of a transaction."""
        seconds = {
            "idle_in_transaction_session_timeout": self._patience,
            "lock_timeout": self._patience,
            "statement_timeout": self._statement_seconds(),
        }
        settings = [
            sa.func.set_config(name, f"{max(1, round(value * 1000))}ms", True)
            for name, value in seconds.items()
        ]
        connection.execute(sa.select(*settings))


def _hang_up(connection: Any) -> None:
    """End a connection that another thread may be waiting on."""
    with (
        contextlib.suppress(Exception),  # it may be closed, or being closed
        socket.socket(fileno=os.dup(connection.fileno())) as double,
    ):
        double.shutdown(socket.SHUT_RDWR)


def _require_version(connection: Any, _record: Any) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_POSTGRESQL:
        connection.close()
        raise SchemaError(
            f"PostgreSQL {version} is too old; {OLDEST_POSTGRESQL} or newer is needed, or SQLite: "
            "name another database in state.url"
        )


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    # WAL lets a reader look while the exporter writes; FULL keeps a commit through a power cut. No one else
    # should write: who does is waited for shorter than a stop may take, then the poll fails and tries again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        connection.execute(f"PRAGMA {pragma}").close()
