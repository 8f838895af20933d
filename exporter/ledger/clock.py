"""Ledger time: the seconds in which a ledger was polled. Everything that waits, waits by it.

It runs by the monotonic clock: no jump of a wall clock matters. Each commit carries it into the ledger,
and the next process goes on from there: a downtime does not count, and what waited goes on waiting.
"""

import time
from collections.abc import Callable

FIRST = 1_000_000.0  # of a new ledger: no POSIX time that one could be taken for


class LedgerClock:
    """Tells ledger time; never goes back within a process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead = FIRST - monotonic()

    def now(self) -> float:
        """Ledger time in seconds."""
        return self._monotonic() + self._ahead

    def go_on_from(self, durable: float) -> None:
        """Continue from the time of the last commit, where this process has not come further."""
        self._ahead += max(0.0, durable - self.now())
