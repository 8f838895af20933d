"""Closes connections to a server that does not answer.

A connection can be open and silent for ever: a proxy may drop the server's side, keep ours, and answer
keepalives itself. So each statement has a deadline of its own.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog(threading.local):
    """Calls `bark` from a thread of its own when an answer to this thread is overdue, until it has come."""

    def __init__(self, bark: Callable[[], None]) -> None:
        """Runs once in each thread, as for any `threading.local`."""
        self._bark = bark
        self.limit: float | None = None  # seconds for a statement of this thread; None: it is not watched
        self._answered = threading.Event()

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Give each statement of this thread so many seconds, until the block ends."""
        self.limit = seconds
        self.renew()
        try:
            yield
        finally:
            self.limit = None
            self._answered.set()

    def renew(self) -> None:
        """Begin the deadline of this thread's next statement."""
        self._answered.set()
        if self.limit is not None:
            self._answered = threading.Event()
            name = f"ledger watchdog, {self.limit:g} s"
            job = (self._answered, self.limit, self._bark)
            threading.Thread(target=_watch, args=job, name=name, daemon=True).start()


def _watch(answered: threading.Event, seconds: float, bark: Callable[[], None]) -> None:
    while not answered.wait(seconds):
        bark()
