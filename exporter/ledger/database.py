"""The database of a ledger (`state.url`): an SQLite file, or PostgreSQL, and transactions on it.

Errors do not repeat the address: it may contain a password.
"""

import contextlib
import fcntl
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exporter.ledger import postgres
from exporter.ledger.errors import LedgerBusyError, LedgerError, SchemaError, advised, explained

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
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._file = None if path is None or read_only else SqliteFile(path)
        with explained(self.name):
            if path is not None and read_only:
                self.engine = _reading_engine(path)
            elif path is not None:
                self.engine = sa.create_engine(address)
                sa.event.listen(self.engine, "connect", _set_pragmas)
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
        is_quick = self._patience is not None and not slow
        seconds = max(ANSWER_SECONDS, self._patience or 0.0) if is_quick else STATEMENT_SECONDS
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


class SqliteFile:
    """The file of an SQLite ledger: checked before anything is written, and locked for one process.

    The lock is an empty file beside the ledger, because SQLite uses locks on the ledger itself. The kernel
    releases it when the process ends.
    """

    def __init__(self, path: Path) -> None:
        """Raises LedgerError if the file is damaged or cannot be locked."""
        _check(path)
        self._path, self._lock_path = path, Path(f"{path.resolve()}.lock")  # one, whatever links lead here
        try:
            self._lock = self._lock_path.open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise LedgerBusyError(
                f"ledger {path} is in use by another job-exporter; "
                "stop that one, or name another file in state.url"
            ) from None
        except OSError as error:
            raise LedgerError(
                f"ledger {path} cannot be written ({error.strerror}); "
                "name a file in a folder of this user in state.url"
            ) from None
        self._opened: list[tuple[int, int]] = []  # devices and inodes of both files at the first transaction

    def require_in_place(self) -> None:
        """Raise LedgerError if the ledger or its lock file was moved since the first transaction.

        SQLite continues to write to a file that was removed; the next start would not find it.
        """
        try:
            found = [(stat.st_dev, stat.st_ino) for stat in (self._path.stat(), self._lock_path.stat())]
        except OSError:
            found = []
        self._opened = self._opened or found
        if found != self._opened:
            raise LedgerError(
                f"ledger {self._path}: the file or its lock file was moved, removed or replaced in use; "
                "put it back, or restart the exporter to use the file that is there now; "
                "until then nothing is counted"
            )

    def close(self) -> None:
        """Let another process use the ledger."""
        self._lock.close()


def _reading_engine(path: Path) -> sa.Engine:
    """Make an engine that only reads the file and leaves no trace."""
    return sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)


def _check(path: Path) -> None:
    """Raise LedgerError if the file is damaged; there may be none.

    This reads all pages, because SQLite would find a damaged page only when it next uses it, perhaps weeks
    later in a commit. It takes 0.2 s of CPU for half a million records, and its connection cannot write.
    """
    if path.is_file():
        with explained(str(path)), _reading_engine(path).connect() as connection:
            if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
                raise SchemaError(advised("database disk image is malformed"))  # SQLite's own words


def _connect(path: Path) -> sqlite3.Connection:
    # Without a write-ahead log nobody uses the file; `immutable` then keeps SQLite from creating a log. Each
    # transaction has its own connection, so this is decided each time.
    immutable = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{immutable}", uri=True)


def _set_pragmas(connection: Any, _record: Any) -> None:
    # WAL: others can read while the exporter writes. FULL: a commit survives a power cut. A second is shorter
    # than a stop may take: if another program writes, the poll fails and is tried again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        connection.execute(f"PRAGMA {pragma}").close()
