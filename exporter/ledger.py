"""The durable state: what was found, what is followed, what was counted. SQLAlchemy Core.

`commit` is the only writer, one transaction each: a record's id goes in together with the increments it
causes, and the primary key of `settled` refuses a second time. What memory holds is a copy, replaced
after the transaction has ended well; a commit that fails changes neither.

    LedgerError            the ledger can't be used; the message says what to do
    └── LedgerBusyError         another process holds it
"""

import contextlib
import fcntl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa

from exporter import moves, schema, writing
from exporter.counting import Increment, fold_all
from exporter.deciding import Changes
from exporter.model import FailedRecord, Sample, Series
from exporter.recent import Recent, Tally
from exporter.schema import counters, failures, followed, moving, recent, settled
from exporter.tail import Tail
from exporter.tracker import Beginning, Outcome, Tracked

KEPT_SETTLED = 5_000  # the newest ids are never pruned, however old: a re-check can meet them again


class LedgerError(Exception):
    """The ledger can't be used."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the metrics need of the ledger: which series there are, and how they are cut."""

    initial: tuple[Series, ...] = ()  # exist from the start
    siblings: Callable[[Series], Iterable[Series]] = lambda series: (series,)  # are born together (rule 9)
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # bounds by family
    label_limit: int = 500  # values of each label that comes from the platform (rule 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is followed and counted, immutable; `followed` by record id."""

    tail: Tail = field(default_factory=Tail)
    beginning: Beginning | None = None  # None: nothing was read yet
    followed: Mapping[str, Tracked] = field(default_factory=dict)
    counters: Mapping[Series, Sample] = field(default_factory=dict)
    latest: Mapping[Series, float] = field(default_factory=dict)  # gauges that keep the greatest value
    failures: tuple[FailedRecord, ...] = ()  # newest first
    recent: Recent = field(default_factory=dict)  # what ended in the last hours
    numbers: Mapping[Series, int] = field(default_factory=dict)  # of series, in `settled.moved`
    records: int = 0  # rows of `settled`


class Ledger:
    """The ledger of one platform, open for one process; `state` is what the last good commit left."""

    def __init__(self, url: str, *, platform: str, now: float, layout: Layout) -> None:
        """Open the ledger; make it, or bring it up to date.

        `notes` tells what a change of layout did. Raises LedgerError: the path is not writable, it is
        not a ledger, newer than the program, another platform's, or held by another process.
        """
        self._layout = layout
        self._lock, is_new = _locked(url)
        try:
            self._engine = _engine(url)
            with self._explained(), self._engine.begin() as connection:
                schema.migrate(connection)
                schema.claim(connection, platform)
                self.notes = schema.lay_out(
                    connection, record_labels=layout.record_labels, buckets=layout.buckets
                )
                schema.bear(connection, layout.initial, now)
            with self._explained(), self._engine.connect() as connection:
                self.state = _loaded(connection)
        except BaseException:
            if self._lock is not None and is_new:
                Path(self._lock.name).unlink(missing_ok=True)  # nothing is left beside what is no ledger
            self.close()
            raise

    def close(self) -> None:
        """Let go of the ledger."""
        with contextlib.suppress(AttributeError):  # opening failed before there was an engine
            self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def known(self, ids: Collection[str]) -> set[str]:
        """Which of these records are followed, counted or the baseline.

        One that vanished is not: if it comes back, it is followed again.
        """
        known = {id_ for id_ in ids if id_ in self.state.followed}
        with self._explained(), self._engine.connect() as connection:
            for chunk in writing.chunks([id_ for id_ in ids if id_ not in known]):
                rows = sa.select(settled.c.id).where(
                    settled.c.id.in_(chunk), settled.c.outcome != Outcome.VANISHED
                )
                known.update(connection.scalars(rows))
        return known

    def commit(self, changes: Changes, *, now: float) -> State:
        """Write a round's changes in one transaction; a record counts only if it never did.

        Raises LedgerError; then nothing has changed.
        """
        with self._explained(), self._engine.begin() as connection:
            state = self._applied(connection, changes, now)
        self.state = state
        return state

    def prune(self, *, before: float) -> int:
        """Forget what was settled before `before`, but the newest; the number of ids forgotten.

        A record that ended by then and is met again is the baseline: see `Beginning`.
        """
        newest = sa.select(settled.c.id).order_by(settled.c.settled.desc()).limit(KEPT_SETTLED)
        old = sa.delete(settled).where(settled.c.settled < before, settled.c.id.not_in(newest))
        state = self.state
        with self._explained(), self._engine.begin() as connection:
            gone = connection.execute(old).rowcount
            began = state.beginning
            if gone and began is not None and began.floor is not None:
                began = Beginning(horizon=max(began.horizon, before), floor=max(began.floor, before))
                schema.put(connection, "beginning", began)
        self.state = replace(state, beginning=began, records=state.records - gone)
        return gone

    def _applied(self, connection: sa.Connection, changes: Changes, now: float) -> State:
        """Write the changes; what memory is to hold once the transaction has ended well."""
        state = self.state
        ids = [item.id for item in changes.settlements]
        revived = writing.revive(connection, [item.id for item in changes.found])
        counted = set(writing.counted(connection, ids))
        settlements = [item for item in changes.settlements if item.id not in counted]
        groups = (changes.increments, *(item.increments for item in settlements))
        folded = fold_all(groups, state.counters, self._layout.label_limit)
        numbers = writing.number(connection, state.numbers, chain.from_iterable(folded[1:]))
        moved = [moves.written(increments, numbers) for increments in folded[1:]]
        writing.settle(connection, settlements, moved, now)
        samples = self._count(connection, chain.from_iterable(folded), now)
        schema.put(connection, "tail", changes.tail)
        schema.put(connection, "beginning", changes.beginning)
        return State(
            tail=changes.tail,
            beginning=changes.beginning,
            followed=writing.follow(connection, state.followed, changes),
            counters=samples,
            latest=writing.keep_latest(connection, state.latest, changes.latest),
            failures=writing.keep_failures(connection, state.failures, settlements),
            recent=writing.keep_recent(connection, state.recent, settlements, samples, now),
            numbers=numbers,
            records=state.records + len(settlements) - revived,
        )

    def _count(
        self, connection: sa.Connection, increments: Iterable[Increment], now: float
    ) -> Mapping[Series, Sample]:
        """Add increments to the counters; a series that is born brings its siblings (rule 9)."""
        had = self.state.counters
        added: dict[Series, Sample] = {}
        for increment in increments:
            writing.add(added, had, increment, self._layout.siblings, now)
        writing.upsert(connection, added)
        merged = dict(had)
        for series, sample in added.items():
            before = had.get(series)
            merged[series] = replace(
                sample,
                value=sample.value + (before.value if before else 0.0),
                exemplar=sample.exemplar or (before.exemplar if before else None),
            )
        return merged

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database says into a LedgerError that says what to do."""
        try:
            yield
        except schema.SchemaError as error:
            raise LedgerError(f"ledger {self._name}: {error}") from None
        except msgspec.DecodeError as error:
            raise LedgerError(
                f"ledger {self._name} holds what this program did not write ({error}); "
                "move it away to start anew, or restore it from a backup"
            ) from None
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise LedgerError(f"ledger {self._name}: {_advice(str(cause))}") from None

    @property
    def _name(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"state.url is not understood ({type(error).__name__}); "
            "write sqlite:///PATH, or postgresql+psycopg://USER@HOST/NAME"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_pragmas)
    return engine


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    # WAL lets a reader look while the exporter writes; FULL keeps a commit through a power cut. No one else
    # should write: who does is waited for shorter than a stop may take, then the poll fails and tries again.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _locked(url: str) -> tuple[IO[str] | None, bool]:
    """Hold the file beside an SQLite ledger, and whether it is new; the kernel lets go of it at our end."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return None, False  # `_engine` says so
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return None, False
    path = Path(f"{parsed.database}.lock")
    is_new = not path.exists()
    try:
        lock = path.open("a")
    except OSError as error:
        raise LedgerError(
            f"the ledger {parsed.database} can't be written ({error.strerror}); "
            "name a file in a folder of this user in state.url"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LedgerBusyError(
            f"the ledger {parsed.database} is held by another job-exporter; "
            "stop that one, or name another file in state.url"
        ) from None
    return lock, is_new


def _advice(said: str) -> str:
    """What a database said, and what to do about it."""
    said = " ".join(said.split())[:200]
    for words, advice in {
        "not a database": "it is not a ledger; name another file in state.url, or move this one away",
        "malformed": "it is damaged; restore it from a backup, or move it away to start anew",
        "unable to open": "name a file in a folder of this user in state.url",
        "readonly": "let this user write the file and its folder",
        "attempt to write a readonly": "let this user write the file and its folder",
        "full": "make room on its disk; nothing is lost meanwhile",
        "locked": "another program writes to it; stop that one",
    }.items():
        if words in said:
            return f"{said}: {advice}"
    return said


def _loaded(connection: sa.Connection) -> State:
    samples = {
        schema.series_of(row): schema.sample_of(row) for row in connection.execute(sa.select(counters))
    }
    open_set = connection.execute(sa.select(followed))
    lines = connection.execute(sa.select(failures).order_by(failures.c.number.desc()))
    tallies = connection.execute(sa.select(recent))
    numbered = connection.execute(sa.select(moving))
    return State(
        tail=schema.get(connection, "tail", Tail) or Tail(),
        beginning=schema.get(connection, "beginning", Beginning),
        followed={row.id: msgspec.json.decode(row.state, type=Tracked) for row in open_set},
        counters={series: sample for series, sample in samples.items() if series.part != "latest"},
        latest={
            replace(series, part=""): sample.value
            for series, sample in samples.items()
            if series.part == "latest"
        },
        failures=tuple(msgspec.json.decode(row.state, type=FailedRecord) for row in lines),
        recent={row.number: msgspec.json.decode(row.state, type=Tally) for row in tallies},
        numbers={schema.series_of(row): row.number for row in numbered},
        records=connection.scalar(sa.select(sa.func.count()).select_from(settled)) or 0,
    )
