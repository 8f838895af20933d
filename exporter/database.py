"""The database under a ledger: how it is reached, and what it says when it fails, with what to do about it.

    LedgerError            the ledger can't be used; the message says what to do
    ├── LedgerBusyError         another process holds it
    └── LostLeadershipError     another replica may have taken over: nothing was written

An SQLite ledger is held by one process, through a lock file beside it. On PostgreSQL every setting is one
of a transaction, and nothing is prepared: so any connection pooler may stand in between.
"""

import contextlib
import fcntl
import os
import re
import socket
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa

from exporter import integrity
from exporter.schema import SchemaError

OLDEST_POSTGRESQL = 13  # the oldest that its makers still mended when this was written
# A connection that is cut without a word is noticed after 5 s of silence and 3 questions, 2 s apart; what was
# sent and not confirmed, after 10 s. Nothing takes 60 s but a server that hangs.
POSTGRESQL_CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
STATEMENT_SECONDS = 60.0
IN_MEMORY = (None, "", ":memory:")  # what SQLite is told instead of a file


class LedgerError(Exception):
    """The ledger can't be used."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger."""


class LostLeadershipError(LedgerError):
    """This replica does not lead, or no longer: what it wanted to write was not written."""


class Database:
    """The database of a ledger, held by this process if it is an SQLite file; all raise LedgerError."""

    def __init__(self, url: str, *, patience: float, caller: str = "") -> None:
        """Get ready to reach it; nothing is opened yet. Raises LedgerError.

        A transaction on PostgreSQL that nothing is heard of for `patience` seconds is ended by the server: a
        process that is paused in the middle of one must not hold its locks. It shows `caller` to a person
        who asks it for its connections.
        """
        self.name = _name(url)
        self.lock = Lock(url)
        self._caller = f"job-exporter {caller}".rstrip()
        try:
            self.engine = _engine(url, patience, self._caller)
            self.lock.refuse_damaged()
        except BaseException:
            self.lock.forget()  # nothing is left beside what is no ledger
            self.lock.release()
            raise
        self.shared = self.engine.dialect.name == "postgresql"  # other processes may use it, too
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        if self.shared:
            sa.event.listen(self.engine, "connect", lambda made, _record: self._connections.add(made))

    def close(self) -> None:
        """Let go of it; what waits for an answer of a server that hangs breaks off."""
        for connection in [*self._connections]:
            _hang_up(connection)
        self.engine.dispose()
        self.lock.release()

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
                async for _ in connection.notifies():
                    yield
        except psycopg.Error as error:
            raise LedgerError(f"ledger {self.name}: {_advice(str(error))}") from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Run a transaction, which is committed if the block ends well."""
        self.lock.refuse_moved()
        with explained(self.name), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def consistent(self) -> Iterator[sa.Connection]:
        """Read and hold rows, and see one moment throughout."""
        options = {"isolation_level": "REPEATABLE READ"} if self.shared else {}
        with explained(self.name), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Read, and see one moment throughout."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.shared else {}
        with explained(self.name), self.engine.connect() as connection:
            yield connection.execution_options(**options)


def _hang_up(connection: Any) -> None:
    """End a connection that another thread may be waiting on."""
    with (
        contextlib.suppress(Exception),  # it may be closed, or being closed
        socket.socket(fileno=os.dup(connection.fileno())) as double,
    ):
        double.shutdown(socket.SHUT_RDWR)


def _engine(url: str, patience: float, name: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername == "postgresql+psycopg":
            return _postgresql(parsed, patience, name)
        if parsed.get_backend_name() == "sqlite" and parsed.database in IN_MEMORY:
            raise LedgerError(
                "state.url names no file, and a ledger in memory forgets what was counted; "
                "write sqlite:///job-exporter.db"
            )
        engine = sa.create_engine(parsed)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError) as error:
        if getattr(error, "name", None) == "psycopg":
            raise LedgerError(
                "PostgreSQL needs the package psycopg; install job-exporter[postgresql]"
            ) from None
        raise LedgerError(
            f"state.url is not understood ({type(error).__name__}); "
            "write sqlite:///PATH, or postgresql+psycopg://USER@HOST/NAME"
        ) from None
    sa.event.listen(engine, "connect", _sqlite_pragmas)
    return engine


def _name(url: str) -> str:
    """Name the database of an address, without anything that may be a password."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        return "of state.url"
    return parsed.set(query={}).render_as_string(hide_password=True)


def _postgresql(url: sa.URL, patience: float, name: str) -> sa.Engine:
    """Make an engine each of whose statements is one message, with its values written into it.

    The server ends a transaction of which it hears nothing between two statements. Between the messages of
    one, as psycopg usually sends it, it waits for ever, and a process that is paused there keeps its locks.
    """
    import psycopg  # noqa: PLC0415  (an extra: only who has PostgreSQL needs it)

    given = {name: value for name, value in POSTGRESQL_CONNECTION.items() if name not in url.query}
    engine = sa.create_engine(
        url,
        pool_size=2,  # one for a commit, one for a heartbeat beside it
        pool_pre_ping=True,  # a server that was restarted costs no commit
        connect_args={"cursor_factory": psycopg.ClientCursor, "application_name": name, **given},
    )

    def limit(connection: sa.Connection) -> None:
        seconds = {
            "idle_in_transaction_session_timeout": patience,
            "lock_timeout": patience,
            "statement_timeout": STATEMENT_SECONDS,
        }
        settings = [
            sa.func.set_config(name, f"{max(1, round(value * 1000))}ms", True)
            for name, value in seconds.items()
        ]
        connection.execute(sa.select(*settings))

    sa.event.listen(engine, "begin", limit)
    sa.event.listen(engine, "connect", _require_version)
    return engine


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


class Lock:
    """The file beside an SQLite ledger that one process holds; the kernel lets go of it when that ends."""

    def __init__(self, url: str) -> None:
        """Take it; there is none for a ledger on a server. Raises LedgerError."""
        self._file: IO[str] | None = None
        self._is_new = False
        self._ledger = Path()  # the file that it is for
        self._held: object = None  # which files these are; None: not known yet
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
            return  # `_engine` says so
        if parsed.get_backend_name() == "sqlite" and parsed.database not in IN_MEMORY:
            self._take(str(parsed.database))

    def _take(self, database: str) -> None:
        self._ledger = Path(database)
        path = Path(f"{database}.lock")
        self._is_new = not path.exists()
        try:
            file = path.open("a")
        except OSError as error:
            raise LedgerError(
                f"the ledger {database} can't be written ({error.strerror}); "
                "name a file in a folder of this user in state.url"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise LedgerBusyError(
                f"the ledger {database} is held by another job-exporter; "
                "stop that one, or name another file in state.url"
            ) from None
        self._file = file

    def refuse_damaged(self) -> None:
        """Look at the whole file, before anything is written to it. Raises LedgerError."""
        if self._file is None:
            return
        if said := integrity.damage(self._ledger, is_used=Path(self._file.name).stat().st_size > 0):
            raise LedgerError(f"ledger {self._ledger}: {_advice(said)}")

    def refuse_moved(self) -> None:
        """See that what is written can be found again, and that nobody else can take the lock.

        SQLite writes on to a file without a name. Raises LedgerError.
        """
        if self._held is not None and self._held != self._identities():
            raise LedgerError(
                f"ledger {self._ledger}: it, or its lock file, was removed, moved or replaced while in use; "
                "put it back, or restart the exporter, which goes on with what is there then; "
                "nothing is counted meanwhile"
            )

    def mark(self) -> None:
        """Note that there is a ledger beside it: by this is told an emptied file from a new one."""
        if self._file is None:
            return
        self._held = self._identities()
        if not Path(self._file.name).stat().st_size:
            self._file.write("A ledger was made beside this file.\n")
            self._file.flush()

    def _identities(self) -> object:
        return None if self._file is None else (_identity(self._ledger), _identity(Path(self._file.name)))

    def forget(self) -> None:
        """Remove a file that this process made: nothing is left beside what is no ledger."""
        if self._file is not None and self._is_new:
            Path(self._file.name).unlink(missing_ok=True)

    def release(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            self._file.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell which file this is now, whatever its name; None: there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the database says into a LedgerError that says what to do."""
    try:
        yield
    except SchemaError as error:
        raise LedgerError(f"ledger {name}: {error}") from None
    except msgspec.DecodeError as error:
        raise LedgerError(
            f"ledger {name} holds what this program did not write ({error}); "
            "move it away to start anew, or restore it from a backup"
        ) from None
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LedgerError(f"ledger {name}: {_advice(str(cause), getattr(cause, 'sqlstate', None))}") from None


# What PostgreSQL's codes and words (where there is no code: while connecting), and SQLite's words ask for.
_BY_CODE: Mapping[str, str] = {
    "25006": "that server only reads; name the one that writes in state.url",
    "42501": "let this user make tables in its schema (GRANT USAGE, CREATE ON SCHEMA …) and own those of the "
    "ledger (ALTER TABLE … OWNER TO …), or give it a schema of its own",
    "3F000": "there is no schema to write to; make one that this user may use",
    "53100": "make room on its disk; nothing is lost meanwhile",
    "25P03": "this process was paused, or has too little of the CPU; nothing is lost meanwhile",
    "55P03": "another connection holds its rows; if that lasts, end that one on the server",
}
_REACH = "see that the server runs and can be reached from here; nothing is lost meanwhile"
_DAMAGED = "it is damaged; restore it from a backup, or move it away to start anew"
_BY_WORDS: Mapping[str, str] = {
    "invalid connection option": "correct it in state.url",
    "invalid sslmode": "correct it in state.url",
    "invalid port": "correct it in state.url",
    "not a database": "it is not a ledger; name another file in state.url, or move this one away",
    "malformed": _DAMAGED,
    "decode to UTF-8": _DAMAGED,
    "UNIQUE constraint": _DAMAGED,  # its rows contradict each other
    "unable to open": "name a file in a folder of this user in state.url",
    "readonly": "let this user write the file and its folder",
    "disk is full": "make room on its disk; nothing is lost meanwhile",
    "disk I/O error": "see to its disk; nothing is lost meanwhile",
    "is locked": "another program writes to it; stop that one",
    "password authentication failed": "give the right user and password in state.url",
    "no password supplied": "give a password in state.url, or a PGPASSFILE",
    "pg_hba.conf": "let this user in from here, in the server's pg_hba.conf",
    "does not exist": "make it on the server, or name another in state.url",
    "statement pooling": "let the pooler pool sessions or transactions",
    "too many": "raise max_connections of the server, or put a pooler before it",
    "connection failed": _REACH,
    "connection is bad": _REACH,
    "connection timeout": _REACH,
    "server closed the connection": _REACH,
    "terminating connection": _REACH,
    "connection socket closed": _REACH,
    "another command is already in progress": _REACH,  # a statement was cut short, so the ROLLBACK failed
    "failed to resolve": "name the server in state.url as it can be found from here",
}


# What libpq adds to an error: guesses, where the advice says what to do.
_GUESSES = re.compile(r" (?:Is the server running|This probably means) .*")


def _advice(said: str, code: str | None = None) -> str:
    """What a database said, and what to do about it."""
    said = _GUESSES.sub("", " ".join(said.split()))[:200]
    advice = _BY_CODE.get(code or "") or next(
        (advice for words, advice in _BY_WORDS.items() if words in said), None
    )
    return f"{said}: {advice}" if advice else said
