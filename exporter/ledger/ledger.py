"""The ledger of one platform: the state in memory, and its copy in the database.

`commit` writes one poll's changes in one transaction: the ids of records go in together with the increments
they cause, and the primary key of `settled` refuses an id a second time. The state in memory is replaced
after the transaction was committed; if the commit fails, neither changes.

On PostgreSQL, replicas can share a ledger. One leads and writes; each transaction first proves that it may
(see `lease`). The followers load the counters after its commits. After a commit that failed, the leader
loads everything again, because a broken connection does not tell whether the commit was done.

All deadlines use ledger time: the number of seconds for which a ledger was polled. It runs by the monotonic
clock, so a jump of the wall clock does not change it. Each commit writes it to the ledger, and the next
process continues from there: a downtime does not count.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import sqlalchemy as sa

from exporter.ledger import state as stored
from exporter.ledger import tables
from exporter.ledger.database import Database
from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.layout import Layout, lay_out
from exporter.ledger.lease import Leadership
from exporter.model import LeaderStatus
from exporter.tracking.state import State
from exporter.tracking.values import Changes, Outcome


class Ledger:
    """A ledger in use by this process; `state` is the state after the last commit."""

    def __init__(
        self,
        url: str,
        *,
        platform: str,
        now: float,
        layout: Layout,
        lease: float = 15.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the ledger, or create it; lead unless another replica does.

        `lease`: seconds after which another replica can replace a silent leader; `now`: our wall clock.
        Raises LedgerError if the ledger cannot be used, see `errors`.
        """
        self._layout, self._platform = layout, platform
        self._monotonic = monotonic
        self._ahead = tables.Progress().time - monotonic()  # of ledger time
        self._leadership = Leadership(lease)
        self._database = Database(url, patience=lease, caller=self._leadership.holder)
        self.shared = self._database.shared  # other replicas can use the ledger, too
        self.notes: list[str] = []  # log lines on changes of the layout, from when this process began to lead
        self.state = State()
        self.leader_status: LeaderStatus | None = None  # of the last load; None: no replica has polled
        self.loads = 0  # how often `state` was loaded from the database
        self.doubtful = True  # `state` may be older than the database: `refresh` must run before a commit
        try:
            self._open(now)
            self.refresh()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the ledger."""
        self._database.close()

    # -- leading

    @property
    def follows(self) -> bool:
        """Whether this replica does not lead: then `state` has only what a follower shows."""
        return self.term is None

    @property
    def leads(self) -> bool:
        """Whether this process may write, as far as it knows; a commit verifies it."""
        return self._leadership.leads

    @property
    def term(self) -> int | None:
        """The term in which this process leads, always 0 with SQLite; None: it follows."""
        return self._leadership.grant and self._leadership.grant.term

    def keep_lead(self) -> None:
        """Renew the lease. Raises LedgerError; LostLeadershipError if another replica has taken over."""
        with self._writing():
            pass

    def take_lead(self, *, now: float) -> bool:
        """Lead if no replica does, and load the ledger; return whether it worked. Raises LedgerError."""
        if not self.follows:
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
        """Let another replica take over now. Raises LedgerError."""
        if self.follows or not self.shared:
            return
        with self._database.writing() as connection:
            self._leadership.give_up(connection)
        self._leadership.grant = None

    # -- reading

    def time(self) -> float:
        """Ledger time in seconds; never goes back within a process."""
        return self._monotonic() + self._ahead

    def refresh(self) -> None:
        """Load `state` from the database. Raises LedgerError."""
        follows = self.follows
        if self.shared and not follows:
            self.keep_lead()  # waits until the server has finished an earlier commit of this process
        with self._database.reading(slow=not follows) as connection:
            state = stored.load(connection, everything=not follows)
            self.leader_status = tables.get(connection, "leader_status", LeaderStatus)
        self._continue_from(state.time)
        self.state, self.doubtful = state, False
        self.loads += 1

    def follow(self) -> bool:
        """Load the leader's commits and report since the last load; return whether there were any.

        Raises LedgerError.
        """
        with self._database.reading() as connection:
            written = tables.progress(connection).time, tables.get(connection, "leader_status", LeaderStatus)
        if written == (self.state.time, self.leader_status) and not self.doubtful:
            return False
        self.refresh()
        return True

    def known(self, ids: Collection[str]) -> set[str]:
        """Which of these records are followed, counted or baseline.

        A record that vanished is not among them: if it comes back, it is followed again.
        """
        with self._database.reading() as connection:
            outcomes = stored.outcomes(connection, [*ids])
        settled = {id_ for id_, outcome in outcomes.items() if outcome != Outcome.VANISHED}
        return settled | (self.state.followed.keys() & ids)

    # -- writing

    def commit(self, changes: Changes, *, now: float) -> State:
        """Write a poll's changes in one transaction; return the new state. `now`: our wall clock.

        A record counts only if it never did. Raises LedgerError; then nothing has changed.
        """
        self._require_state()
        with self._writing() as connection:
            state = stored.commit(connection, self.state, changes, self._layout, wall=now, time=self.time())
        self.state = state
        return state

    def release(self, *, now: float) -> bool:
        """Write the ledger time if held samples are due to be shown; return whether any are.

        A sample that was shown once must not be held again after a restart. `now`: our wall clock.
        Raises LedgerError.
        """
        time = self.time()
        if not self.state.holds or self.state.holds[0] > time or self.doubtful:
            return False
        state = replace(self.state, time=time, holds=stored.later(self.state.holds, time))
        with self._writing() as connection:
            stored.put_progress(connection, state, wall=now)
        self.state = state
        return True

    def tell(self, leader_status: LeaderStatus) -> None:
        """Tell the other replicas how a poll ended. Raises LedgerError."""
        with self._writing() as connection:
            tables.put(connection, "leader_status", leader_status)
        self.leader_status = leader_status

    def prune(self, *, before: float) -> int:
        """Delete records that ended and were settled before `before`, but not the newest; return how many.

        A pruned record that is met again is baseline: see `CountingStart.pruned`. This is decided by the
        records' own times, so that no jump of our clock counts a record twice or makes a new one baseline.
        """
        self._require_state()
        with self._writing(slow=True) as connection:
            state = stored.prune(connection, self.state, before=before)
        gone = self.state.records - state.records
        self.state = state
        return gone

    def _open(self, now: float) -> None:
        """Migrate the ledger; lead unless another replica does, and adapt the counters to the layout."""
        notes: list[str] = []
        with self._database.writing(slow=True) as connection:
            tables.migrate(connection)
            tables.claim(connection, self._platform)
            grant = self._leadership.take(connection)
            if grant is not None:
                self._continue_from(tables.progress(connection).time)
                notes = lay_out(connection, self._layout, self._layout.newborn(wall=now, time=self.time()))
        self.notes, self._leadership.grant = notes, grant
        self.doubtful = True  # a follower's state is not complete

    @contextlib.contextmanager
    def _writing(self, *, slow: bool = False) -> Iterator[sa.Connection]:
        """Run a transaction that renews the lease first. Raises LedgerError, LostLeadershipError."""
        try:
            with self._database.writing(slow=slow) as connection:
                grant = self._leadership.renew(connection)
                yield connection
        except LostLeadershipError:
            self._leadership.grant = None
            raise
        except BaseException:
            self.doubtful |= self.shared
            raise
        self._leadership.grant = grant

    def _continue_from(self, committed: float) -> None:
        """Move ledger time forward to that of the last commit, unless this process is already past it."""
        self._ahead += max(0.0, committed - self.time())

    def _require_state(self) -> None:
        """Raise LedgerError if `state` may be older than the database."""
        if self.doubtful:
            raise LedgerError("the ledger must be loaded again before anything is written")
