"""Who may write to a ledger that replicas share: a lease with a fencing term, in a row of the database.

1. The row names the leader's term, and until when its lease runs by the database's own clock: clocks of
   replicas do not matter.
2. Taking over makes the term one greater. Only a lease that has run out, or was given up, can be taken.
3. Every transaction that writes begins by renewing the lease under its own term. So it holds the row until
   its end: nobody takes over meanwhile. And it fails where somebody has, however long ago its process was
   paused or cut off. The primary key of `settled` is the guard behind that.
4. A process that is paused inside a transaction loses it: the server ends it after the time of a lease.
5. Nothing here depends on a session: a lock of one is lost behind a pooler, and a paused holder keeps it.

Times that the process compares are of its monotonic clock, taken before a question was sent: it believes to
lead no longer than the database does.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from exporter.ledger.errors import NotLeadingError
from exporter.ledger.tables import leader

_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)  # the database's clock
CHANNEL = "job_exporter_ledger"  # replicas are woken through it after each commit


def new_holder() -> str:
    """A name for this process that no other has, for a person to find it by."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The right to write, as the database gave it."""

    term: int
    until: float  # by the process' monotonic clock


class Leadership:
    """This process' part in it. `take`, `prove` and `give_up` belong into a transaction of the caller's.

    What they answer is kept with `hold` only after that transaction has ended well.
    """

    def __init__(self, holder: str, lease: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`holder`: from `new_holder`; `lease`: seconds after which a silent leader may be replaced."""
        self.holder, self.lease = holder, lease
        self._monotonic = monotonic
        self._grant: Grant | None = None

    @property
    def term(self) -> int | None:
        """The term that this process holds, or held when it last heard; None: it does not lead."""
        return self._grant.term if self._grant else None

    @property
    def leads(self) -> bool:
        """Whether the lease still runs, as far as this process can know."""
        return self._grant is not None and self._monotonic() < self._grant.until

    def hold(self, grant: Grant | None) -> None:
        """Keep what the database has granted, or know that it granted nothing."""
        self._grant = grant

    def is_free(self, connection: sa.Connection) -> bool:
        """Whether `take` may be worth its locks."""
        return connection.scalar(self._free()) is not None

    def take(self, connection: sa.Connection) -> Grant | None:
        """Take the lead if nobody has it; None if somebody does.

        A row that is locked is one of a leader at work: it is not waited for.
        """
        asked = self._monotonic()
        term = connection.scalar(
            sa.update(leader)
            .where(leader.c.number.in_(self._free().with_for_update(skip_locked=True)))
            .values(term=leader.c.term + 1, holder=self.holder, until=_NOW + self.lease)
            .returning(leader.c.term)
        )
        return None if term is None else Grant(term=term, until=asked + self.lease)

    def _free(self) -> sa.Select[tuple[int]]:
        # What is ours without our knowing was granted by a commit that did not tell how it ended.
        return sa.select(leader.c.number).where(sa.or_(leader.c.until < _NOW, leader.c.holder == self.holder))

    def prove(self, connection: sa.Connection) -> Grant:
        """Renew the lease and hold its row until the transaction ends. Raises NotLeadingError."""
        asked, term = self._monotonic(), self.term
        renewed = connection.execute(
            sa.update(leader)
            .where(leader.c.term == term, leader.c.holder == self.holder)
            .values(until=_NOW + self.lease)
        )
        if term is None or not renewed.rowcount:
            raise NotLeadingError
        return Grant(term=term, until=asked + self.lease)

    def give_up(self, connection: sa.Connection) -> None:
        """Let another take over at once."""
        connection.execute(
            sa.update(leader)
            .where(leader.c.term == self.term, leader.c.holder == self.holder)
            .values(until=0.0)
        )


def notify(connection: sa.Connection) -> None:
    """Wake the other replicas when this transaction commits."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))
