"""The file of an SQLite ledger: checked before anything is written, and locked for one process.

The lock is an empty file beside the ledger, because SQLite uses locks on the ledger itself. The kernel
releases it when the process ends.

The check reads all pages, because SQLite would find a damaged page only when it next uses it, perhaps weeks
later in a commit. It takes 0.2 s of CPU for half a million records, and its connection cannot write.
"""

import fcntl
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from exporter.ledger.errors import LedgerBusyError, LedgerError, SchemaError, advised, explained


class SqliteFile:
    """The lock on an SQLite ledger. Raises LedgerError if the file is damaged or cannot be locked."""

    def __init__(self, path: Path) -> None:
        _check(path)
        self._path, self._lock_path = path, Path(f"{path}.lock")
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


def make_engine(address: sa.URL) -> sa.Engine:
    """Make an engine that reads and writes the file."""
    engine = sa.create_engine(address)
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def make_reading_engine(path: Path) -> sa.Engine:
    """Make an engine that only reads the file and leaves no trace."""
    return sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)


def _check(path: Path) -> None:
    """Raise LedgerError if the file is damaged; there may be none."""
    if not path.is_file():
        return
    with explained(str(path)), make_reading_engine(path).connect() as connection:
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
