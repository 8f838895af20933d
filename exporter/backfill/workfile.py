"""The work file of a backfill: which records were read, and the position of the reading. SQLite.

The records of a page and the position after it are written in one transaction.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from exporter.backfill.samples import BackfillError, Point
from exporter.discovery.scan import Walk
from exporter.model import Series
from exporter.settings.time_range import Window
from exporter.tracking.counting import Increment

T = TypeVar("T")
CACHED = 50_000  # series whose numbers are kept in memory
CHUNK = 500  # rows in one statement
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series
    (number INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS records
    (id TEXT PRIMARY KEY, started REAL, ended REAL, counts BLOB) WITHOUT ROWID;
"""
_POINTS = """
DROP TABLE IF EXISTS points;
CREATE TABLE points
    (number INTEGER, step INTEGER, part TEXT, value REAL, PRIMARY KEY (number, step, part)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_ended ON records (ended, id);
CREATE INDEX IF NOT EXISTS records_started ON records (started);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished record as the work file keeps it."""

    id: str
    started: float | None
    ended: float | None  # None: outside of the window
    increments: tuple[Increment, ...] = ()


class WorkFile:
    """The work file, open for one process. All methods raise BackfillError if the file cannot be used."""

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Open or create the file. Raises BackfillError if it was made with other settings than `asked`."""
        self.path = path
        self._is_new, self._is_closed = not path.exists(), False
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=1.0)
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._connection.execute(f"PRAGMA {pragma}").close()
            self._connection.executescript(_TABLES)
        self._number = lru_cache(CACHED)(self._numbered)
        self._series = lru_cache(CACHED)(self._named)
        try:
            self._claim(asked)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. Remove it if it is new and nothing was read."""
        if not self._is_closed:
            is_empty = self._is_new and self.walk is None
            self._is_closed = True
            self._connection.close()
            if is_empty:
                self.remove()

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @property
    def window(self) -> Window | None:
        """The window as the first run computed it; None before that."""
        return self._get("window", Window)

    @window.setter
    def window(self, value: Window) -> None:
        with self._explained(), self._connection:
            self._put("window", value)

    @property
    def walk(self) -> Walk | None:
        """The position of the reading; None before it begins."""
        return self._get("walk", Walk)

    def add(self, records: Iterable[Finished], walk: Walk) -> None:
        """Add the records of a page, and the position after it. A record that is there is replaced."""
        with self._explained(), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                [(item.id, item.started, item.ended, self._packed(item.increments)) for item in records],
            )
            self._put("walk", walk)

    def known(self, ids: list[str]) -> set[str]:
        """Which of these records are in the file."""
        sql = "SELECT id FROM records WHERE id IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self._rows(sql, msgspec.json.encode(ids).decode())}

    def counted(self) -> int:
        """The number of records that ended in the window."""
        return int(next(self._rows("SELECT count(ended) FROM records"))[0])

    def drop(self, which: Callable[[list[str]], set[str]]) -> None:
        """Delete the records that `which` returns."""
        last = ""
        chunk = "SELECT id FROM records WHERE id > ? ORDER BY id LIMIT ?"
        while ids := [row[0] for row in self._rows(chunk, last, CHUNK)]:
            last = ids[-1]
            gone = [(id_,) for id_ in which(ids)]
            with self._explained(), self._connection:
                self._connection.executemany("DELETE FROM records WHERE id = ?", gone)

    def ends(self, *, until: float) -> Iterator[tuple[float, list[Increment]]]:
        """Ends of records up to `until`, ascending, each with the increments of its record."""
        sql = "SELECT ended, counts FROM records WHERE ended <= ? ORDER BY ended, id"
        for ended, counts in self._rows(sql, until):
            yield ended, self._unpacked(counts)

    def starts(self, window: Window) -> Iterator[float]:
        """Starts of records in the window, ascending."""
        sql = "SELECT started FROM records WHERE started > ? AND started <= ? ORDER BY started"
        return (row[0] for row in self._rows(sql, window.begin, window.end))

    def replace_points(self, points: Iterable[Point]) -> None:
        """Store these points instead of those of an earlier run; they may be made from the file."""
        with self._explained(), self._connection:
            self._connection.executescript(_POINTS)
            self._connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?)", points)

    def points_of(self, group: int) -> Iterator[Point]:
        """Points of a label set, in the order of steps."""
        sql = "SELECT * FROM points WHERE number = ? ORDER BY step, part"
        return map(Point._make, self._rows(sql, group))

    def _claim(self, asked: Mapping[str, Any]) -> None:
        had = self._get("asked", dict[str, Any])
        if had is None:
            with self._explained(), self._connection:
                self._put("asked", asked)
            return
        now = msgspec.json.decode(msgspec.json.encode(asked))
        for name in sorted(had.keys() | now.keys()):
            if had.get(name) != now.get(name):
                raise BackfillError(
                    f"{self.path} contains an unfinished backfill with another {name} ({had.get(name)}, now "
                    f"{now.get(name)}): use the same value to continue it, or remove the file to start again"
                )

    # Increments are stored with numbers of their series: a tenth of the size.

    def _packed(self, increments: tuple[Increment, ...]) -> bytes:
        return msgspec.msgpack.encode([(self._number(item.series), item.value) for item in increments])

    def _unpacked(self, counts: bytes) -> list[Increment]:
        pairs = msgspec.msgpack.decode(counts, type=list[tuple[int, float]])
        return [Increment(series=self._series(number), value=value) for number, value in pairs]

    def _numbered(self, series: Series) -> int:
        name = msgspec.msgpack.encode(series)
        self._connection.execute("INSERT OR IGNORE INTO series (name) VALUES (?)", (name,))
        return int(next(self._rows("SELECT number FROM series WHERE name = ?", name))[0])

    def _named(self, number: int) -> Series:
        (name,) = next(self._rows("SELECT name FROM series WHERE number = ?", number))
        return msgspec.msgpack.decode(name, type=Series)

    def _get(self, key: str, type_: type[T]) -> T | None:
        with self._explained():
            row = next(self._rows("SELECT value FROM meta WHERE key = ?", key), None)
            return None if row is None else msgspec.json.decode(row[0], type=type_)

    def _put(self, key: str, value: Any) -> None:
        encoded = msgspec.json.encode(value)
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, encoded))

    def _rows(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._explained():
            yield from self._connection.execute(sql, values)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BackfillError(f"the work file {self.path}: {_advice(str(error))}") from None


def _advice(said: str) -> str:
    for words, advice in {
        "full": "make room on its disk, then run the same command to continue",
        "locked": "another backfill uses it; wait until that one has ended",
        "unable to open": "this user must be able to write to its folder",
        "not a database": "it is not a work file; move it away, or name another --output",
        "readonly": "let this user write the file and its folder",
    }.items():
        if words in said:
            return f"{said}: {advice}"
    return f"{said}: remove it to start again"
