"""The durable state: what was found, what is followed, what was counted. SQLAlchemy Core.

`commit` is the only writer, one transaction each: a record's id goes in together with the increments it
causes, and the primary key of `settled` refuses a second time. What memory holds is a copy, replaced
after the transaction has ended well; a commit that fails changes neither.

Replicas may share a ledger on PostgreSQL. One leads, and writes; each transaction proves its right to
(`lease`). The others load the counters anew after each commit. Where a commit failed the leader loads
everything anew before it goes on: a connection that broke at the very end does not tell whether it was done.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import sqlalchemy as sa
from msgspec.structs import replace as change

from exporter.discovery.tail import Tail
from exporter.ledger import load, statements, tables
from exporter.ledger.clock import LedgerClock
from exporter.ledger.database import Database
from exporter.ledger.errors import LedgerError, LostLeadershipError, NotLeadingError
from exporter.ledger.lease import CHANNEL, Leadership, new_holder, notify
from exporter.ledger.tables import settled
from exporter.model import LeaderStatus, Sample, Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from exporter.tracking.decision import Changes
from exporter.tracking.folding import fold_all
from exporter.tracking.state import State

KEPT_SETTLED = 5_000  # the newest ids are never pruned, however old: a re-check can meet them again
LEASE = 15.0  # seconds: that of the default poll interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the metrics need of the ledger: which series there are, and how they are cut."""

    initial: tuple[Series, ...] = ()  # exist from the start
    siblings: Callable[[Series], Iterable[Series]] = lambda series: (series,)  # are born together (rule 9)
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # bounds by family
    label_limit: int = 500  # values of each label that comes from the platform (rule 10)
    zero_hold: float = 0.0  # seconds for which a series that is born is shown at 0 (rule 9)


class Ledger:
    """The ledger of one platform, open for one process; `state` is what the last good commit left."""

    def __init__(
        self,
        url: str,
        *,
        platform: str,
        now: float,
        layout: Layout,
        lease: float = LEASE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the ledger; make it, or bring it up to date; lead, where no other replica does.

        `lease`: seconds after which another replica may take over from a silent one.
        Raises LedgerError: it can't be reached or written, it is not a ledger, newer than the program,
        another platform's, or held by another process.
        """
        self._layout, self._platform = layout, platform
        self._clock = LedgerClock(monotonic)
        holder = new_holder()
        self._database = Database(url, patience=lease, caller=holder, watched=True)
        self._leadership = Leadership(holder, lease) if self._database.shared else None
        self.notes: list[
            str
        ] = []  # what a change of layout did to the counters when this process began to lead
        self.state = State()
        # What the leader last said; None: nothing yet, or there is only one process.
        self.leader_status: LeaderStatus | None = None
        self.loads = 0  # how often memory was replaced by what the database holds
        self._doubtful = True  # memory may be behind the database
        try:
            self._open(now)
            self.refresh()
            self._database.lock.mark()
        except BaseException:
            self._database.lock.forget()  # nothing is left beside what is no ledger
            self.close()
            raise

    def close(self) -> None:
        """Let go of the ledger."""
        self._database.close()

    # -- who writes

    @property
    def shared(self) -> bool:
        """Whether other replicas may be at work on it."""
        return self._leadership is not None

    @property
    def follows(self) -> bool:
        """Whether another replica leads, or none; what is in memory is only what a follower shows."""
        return self.shared and self.term is None

    @property
    def leads(self) -> bool:
        """Whether this process may write, as far as it knows; a commit finds out."""
        return self._leadership is None or self._leadership.leads

    @property
    def doubtful(self) -> bool:
        """Whether a commit failed so that `refresh` must come before the next."""
        return self._doubtful

    @property
    def term(self) -> int | None:
        """The term that this process leads in, or did when it last heard; None: it follows, or is alone."""
        return self._leadership.term if self._leadership else None

    def keep_lead(self) -> None:
        """Renew the lease. Raises LedgerError; LostLeadershipError if another has taken over."""
        with self._writing():
            pass

    def take_lead(self, *, now: float) -> bool:
        """Take the lead if no replica has it, and load what it left. Raises LedgerError."""
        if self._leadership is None or self._leadership.term is not None:
            return False
        with self._database.reading() as connection:
            if not self._leadership.is_free(connection):
                return False
        self._open(now)
        if not self.leads:
            return False
        self.refresh()
        return True

    def give_up_lead(self) -> None:
        """Let another replica take over at once. Raises LedgerError."""
        if self._leadership is None or self._leadership.term is None:
            return
        with self._database.writing() as connection:
            self._leadership.give_up(connection)
            notify(connection)
        self._leadership.hold(None)

    def news(self) -> AsyncIterator[None]:
        """Tell of each commit, until the connection breaks. Raises LedgerError. Some poolers lose them."""
        return self._database.notifications(CHANNEL)

    # -- what is there

    def time(self) -> float:
        """Ledger time, in seconds: what waits, waits by it."""
        return self._clock.now()

    def refresh(self) -> None:
        """Load what the database holds: everything to lead, or what a follower shows. Raises LedgerError."""
        follows = self.follows
        if self.shared and not follows:
            self.keep_lead()  # waits for a commit of ours that the server is still at
        with self._database.reading(slow=not follows) as connection:
            state = load.counted(connection, self.state) if follows else load.loaded(connection)
            self.leader_status = load.leader_status(connection)
        self._clock.go_on_from(state.time)
        self.state, self._doubtful = state, False
        self.loads += 1

    def known(self, ids: Collection[str]) -> set[str]:
        """Which of these records are followed, counted or the baseline.

        One that vanished is not: if it comes back, it is followed again.
        """
        known = {id_ for id_ in ids if id_ in self.state.followed}
        with self._database.reading() as connection:
            for chunk in statements.chunks([id_ for id_ in ids if id_ not in known]):
                known.update(connection.scalars(statements.KNOWN, {"ids": chunk}))
        return known

    # -- what is written

    def commit(self, changes: Changes, *, now: float) -> State:
        """Write a round's changes in one transaction; a record counts only if it never did.

        `now` is our wall clock. Raises LedgerError; then nothing has changed.
        """
        self._require_memory()
        with self._writing() as connection:
            state = self._applied(connection, changes, wall=now)
            self._notify(connection)
        self.state = state
        return state

    def release(self, *, now: float) -> bool:
        """Make ledger time durable if held samples are due to be shown; whether there are any.

        What is shown once must not be held again by the next process. `now` is our wall clock.
        Raises LedgerError.
        """
        time = self.time()
        if not self.state.holds or self.state.holds[0] > time or self._doubtful:
            return False
        with self._writing() as connection:
            self._put_progress(connection, self.state.tail, wall=now, time=time)
            self._notify(connection)
        self.state = replace(self.state, time=time, holds=_later(self.state.holds, time))
        return True

    def tell(self, leader_status: LeaderStatus) -> None:
        """Say to the other replicas how a poll ended. Raises LedgerError."""
        with self._writing() as connection:
            tables.put(connection, "leader_status", leader_status)
            self._notify(connection)
        self.leader_status = leader_status

    def prune(self, *, before: float) -> int:
        """Forget what was settled and had ended before `before`, but the newest; how many were forgotten.

        A record that began and ended by the latest of their times and is met again is the baseline: see
        `CountingStart`. Their own times tell it, so that no jump of our clock makes one count again, or a new
        one the baseline.
        """
        newest = sa.select(settled.c.id).order_by(settled.c.settled.desc()).limit(KEPT_SETTLED)
        over = (sa.or_(at.is_(None), at <= before) for at in (settled.c.started, settled.c.ended))
        old = sa.and_(settled.c.settled < before, *over, settled.c.id.not_in(newest))
        bounds = sa.select(sa.func.max(settled.c.ended), sa.func.max(settled.c.started)).where(old)
        self._require_memory()
        state = self.state
        with self._writing(slow=True) as connection:
            ended, started = connection.execute(bounds).one()
            gone = connection.execute(sa.delete(settled).where(old)).rowcount
            began = state.counting_start
            if gone and began is not None:
                began = began.pruned(ended=ended or 0.0, started=started or 0.0)
                tables.put(connection, "beginning", began)
        self.state = replace(state, counting_start=began, records=state.records - gone)
        return gone

    def _applied(self, connection: sa.Connection, changes: Changes, *, wall: float) -> State:
        """Write the changes; what memory is to hold once the transaction has ended well."""
        state, time = self.state, self.time()
        newborn = Sample(value=0.0, born=wall, held_until=self._held_until(time))
        before = len(state.counters)
        ids = [item.id for item in changes.settlements]
        revived = statements.revive(connection, [item.id for item in changes.found])
        counted = set(statements.counted(connection, ids))
        settlements = [item for item in changes.settlements if item.id not in counted]
        groups = (changes.increments, *(item.increments for item in settlements))
        folded = fold_all(groups, state.counters, self._layout.label_limit)
        numbers = statements.number(connection, state.numbers, chain.from_iterable(folded[1:]))
        moved = [effects.written(increments, numbers) for increments in folded[1:]]
        statements.settle(connection, settlements, moved, wall=wall, time=time)
        samples = self._count(connection, chain.from_iterable(folded), newborn)
        self._put_progress(connection, changes.tail, wall=wall, time=time)
        if changes.counting_start != state.counting_start:
            tables.put(connection, "beginning", changes.counting_start)
        return State(
            tail=changes.tail,
            counting_start=changes.counting_start,
            followed=statements.follow(connection, state.followed, changes),
            counters=samples,
            latest=statements.keep_latest(connection, state.latest, changes.latest),
            failures=statements.keep_failures(connection, state.failures, settlements),
            recent=statements.keep_recent(connection, state.recent, settlements, samples, wall),
            numbers=numbers,
            records=state.records + len(settlements) - revived,
            time=time,
            holds=_later((*state.holds, newborn.held_until) if len(samples) > before else state.holds, time),
        )

    def _put_progress(self, connection: sa.Connection, tail: Tail, *, wall: float, time: float) -> None:
        tables.put(connection, "progress", tables.Progress(time=time, wall=wall, tail=tail))

    def _held_until(self, time: float) -> float:
        """Until when (ledger time) a series that is born at `time` is held; 0: not at all."""
        return time + self._layout.zero_hold if self._layout.zero_hold else 0.0

    def _count(
        self, connection: sa.Connection, increments: Iterable[Increment], newborn: Sample
    ) -> Mapping[Series, Sample]:
        """Add increments to the counters; a series that is born brings its siblings (rule 9)."""
        had = self.state.counters
        added = statements.added(increments, had, self._layout.siblings, newborn)
        statements.upsert(connection, added)
        merged = dict(had)
        for series, sample in added.items():
            before = had.get(series)
            merged[series] = change(
                sample,
                value=sample.value + (before.value if before else 0.0),
                exemplar=sample.exemplar or (before.exemplar if before else None),
            )
        return merged

    def _open(self, now: float) -> None:
        """Bring the ledger up to date; lead, where no other replica does, and lay out the counters."""
        grant, notes = None, []
        with self._database.writing(slow=True) as connection:
            tables.migrate(connection)
            tables.claim(connection, self._platform)
            if self._leadership is not None:
                grant = self._leadership.take(connection)
            if self._leadership is None or grant is not None:
                notes = self._lay_out(connection, now)
        self.notes = notes
        if self._leadership is not None:
            self._doubtful = True  # what a follower shows is not enough to go on from
            self._leadership.hold(grant)

    def _lay_out(self, connection: sa.Connection, now: float) -> list[str]:
        """Give the counters the layout of the settings; returns what was changed, in words."""
        layout = self._layout
        progress = tables.get(connection, "progress", tables.Progress)
        if progress is not None:
            self._clock.go_on_from(progress.time)
        held_until = self._held_until(self.time())
        notes = tables.lay_out(
            connection,
            record_labels=layout.record_labels,
            buckets=layout.buckets,
            held_until=held_until,
        )
        tables.bear(connection, layout.initial, born=now, held_until=held_until)
        return notes

    @contextlib.contextmanager
    def _writing(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Run a transaction that proves its right first. Raises LedgerError, LostLeadershipError."""
        if self._leadership is None:
            with self._database.writing(slow=slow) as connection:
                yield connection
            return
        try:
            with self._database.writing(slow=slow) as connection:
                grant = self._leadership.prove(connection)
                yield connection
        except NotLeadingError:
            self._leadership.hold(None)
            raise LostLeadershipError("another replica leads: nothing was written") from None
        except BaseException:
            self._doubtful = True
            raise
        self._leadership.hold(grant)

    def _require_memory(self) -> None:
        """Never write what was decided on a memory that may be behind. Raises LedgerError."""
        if self._doubtful:
            raise LedgerError("the ledger must be loaded anew before anything is written")

    def _notify(self, connection: sa.Connection) -> None:
        if self.shared:
            notify(connection)


def _later(holds: Iterable[float], time: float) -> tuple[float, ...]:
    return tuple(sorted({hold for hold in holds if hold > time}))
