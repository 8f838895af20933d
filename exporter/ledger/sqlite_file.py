"""The file of an SQLite ledger: checked before anything is written, and locked for one process.

The lock is an empty file beside the ledger, because SQLite uses locks on the ledger itself. The kernel
releases it when the process ends.

The check reads all pages, because SQLite would find a damaged page only when it next uses it, perhaps weeks
later in a commit. It takes 0.2 s of CPU for half a million records, and its connection cannot write.
"""

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path

from exporter.ledger.errors import LedgerBusyError, LedgerError, advised

MALFORMED = "database disk image is malformed"  # SQLite's own words


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


def _check(path: Path) -> None:
    """Raise LedgerError if the file is damaged; there may be none."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            fault = None if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",) else MALFORMED
    except UnicodeDecodeError:
        fault = MALFORMED
    except sqlite3.Error as error:
        fault = str(error)
    if fault is not None:
        raise LedgerError(f"ledger {path}: {advised(fault)}")
