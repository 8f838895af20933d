"""Ledger time: the number of seconds for which a ledger was polled. All deadlines use it.

It runs by the monotonic clock, so a jump of the wall clock does not change it. Each commit writes it to the
ledger, and the next process continues from there: a downtime does not count.
"""

import time
from collections.abc import Callable

FIRST = 1_000_000.0  # of a new ledger: small, so that nobody takes it for a POSIX time


class LedgerClock:
    """Tells ledger time; never goes back within a process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead = FIRST - monotonic()

    def now(self) -> float:
        """Ledger time in seconds."""
        return self._monotonic() + self._ahead

    def continue_from(self, committed: float) -> None:
        """Move forward to the time of the last commit, unless this process is already past it."""
        self._ahead += max(0.0, committed - self.now())
