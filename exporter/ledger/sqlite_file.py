"""The lock file beside an SQLite ledger: one process holds a ledger, and finds it again where it left it."""

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO

from exporter.ledger.errors import LedgerBusyError, LedgerError, advised


class Lock:
    """The file beside an SQLite ledger that one process holds; the kernel lets go of it when that ends."""

    def __init__(self, ledger: Path | None) -> None:
        """Take it; there is none for a ledger on a server (None). Raises LedgerError."""
        self._file: IO[str] | None = None
        self._is_new = False
        self._ledger = Path()  # the file that it is for
        self._held: object = None  # which files these are; None: not known yet
        if ledger is not None:
            self._take(str(ledger))

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
        if said := damage(self._ledger, is_used=Path(self._file.name).stat().st_size > 0):
            raise LedgerError(f"ledger {self._ledger}: {advised(said)}")

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


MALFORMED = "database disk image is malformed"  # SQLite's own words
EMPTIED = f"the file is empty, and once held a ledger: {MALFORMED}"


def damage(path: Path, *, is_used: bool) -> str | None:
    """What is wrong with the file; None: nothing, or it is to be made. `is_used`: it was a ledger before."""
    if not path.is_file():
        return None
    if not path.stat().st_size:
        return EMPTIED if is_used else None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except UnicodeDecodeError:
        return MALFORMED
    except sqlite3.Error as error:
        return str(error)
    return None if found == "ok" else MALFORMED
