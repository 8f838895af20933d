"""Which replica may write to a shared ledger: a lease with a fencing term, in one row of the database.

1. The row has the leader's term and the end of its lease by the database's clock. The replicas' clocks do not
   matter.
2. A replica can take over only after the lease has ended or was given up. Each takeover increments the term.
3. Each transaction that writes first renews the lease under its own term. It fails if another replica has
   taken over. If it succeeds, it locks the row until its end, so nobody can take over meanwhile. The primary
   key of `settled` is the second safeguard.
4. A process that is paused in a transaction loses it: the server ends it after the time of a lease.
5. No lock of a session is used: a pooler would lose it, and a paused process would keep it.

A process believes that it leads no longer than the database does: it measures the lease by its monotonic
clock from before the statement was sent.
"""

import math
import os
import secrets
import socket
import time
from typing import Any, NamedTuple

import sqlalchemy as sa

from exporter.ledger.errors import LostLeadershipError
from exporter.ledger.tables import leader

DATABASE_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)


class Grant(NamedTuple):
    """A lease that the database granted."""

    term: int
    until: float  # by the process' monotonic clock


ALONE = Grant(term=0, until=math.inf)  # with SQLite: the lock on the file is the lease


class Leadership:
    """The lease of this process: `grant`, None while it does not lead.

    `take`, `renew` and `give_up` run in a transaction of the caller, who stores their result in `grant` after
    that transaction was committed.
    """

    def __init__(self, lease: float) -> None:
        """`lease`: seconds after which a silent leader can be replaced."""
        self.lease = lease
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"  # unique, says where
        self.grant: Grant | None = None

    @property
    def leads(self) -> bool:
        """Whether the lease is valid, as far as this process can know."""
        return self.grant is not None and time.monotonic() < self.grant.until

    def is_free(self, connection: sa.Connection) -> bool:
        """Whether `take` may succeed; locks nothing."""
        return connection.scalar(self._free()) is not None

    def take(self, connection: sa.Connection) -> Grant | None:
        """Take the lease; None if another replica has it.

        A locked row belongs to a leader in a transaction: skip it instead of waiting.
        """
        if connection.dialect.name == "sqlite":
            return ALONE
        asked = time.monotonic()
        term = connection.scalar(
            sa.update(leader)
            .where(leader.c.number.in_(self._free().with_for_update(skip_locked=True)))
            .values(term=leader.c.term + 1, holder=self.holder, until=DATABASE_NOW + self.lease)
            .returning(leader.c.term)
        )
        return None if term is None else Grant(term=term, until=asked + self.lease)

    def _free(self) -> sa.Select[tuple[int]]:
        # The row may already name this process, if the outcome of the commit that took it is unknown.
        is_free = sa.or_(leader.c.until < DATABASE_NOW, leader.c.holder == self.holder)
        return sa.select(leader.c.number).where(is_free)

    def renew(self, connection: sa.Connection) -> Grant:
        """Renew the lease and lock its row until the transaction ends. Raises LostLeadershipError."""
        asked, had = time.monotonic(), self.grant
        if had is ALONE:
            return had
        if had is None or not connection.execute(self._own(had, until=DATABASE_NOW + self.lease)).rowcount:
            raise LostLeadershipError("another replica leads: nothing was written")
        return Grant(term=had.term, until=asked + self.lease)

    def give_up(self, connection: sa.Connection) -> None:
        """End the lease now."""
        if self.grant is not None:
            connection.execute(self._own(self.grant, until=0.0))

    def _own(self, grant: Grant, *, until: Any) -> sa.Update:
        is_own = (leader.c.term == grant.term, leader.c.holder == self.holder)
        return sa.update(leader).where(*is_own).values(until=until)
