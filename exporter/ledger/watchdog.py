"""Ends what a database does not answer: a connection may be open and silent for ever.

A proxy may drop the server's side and keep ours, and answer keepalives itself. So only a deadline helps. It
is one of an answer, not of a transaction: each statement sets it anew.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 0.5  # seconds between two looks: a deadline is a matter of seconds


class Watchdog:
    """Calls `bark` from a thread of its own while any answer is overdue."""

    def __init__(self, bark: Callable[[], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bark, self._monotonic = bark, monotonic
        self._lock = threading.Lock()
        self._limits: dict[int, float] = {}  # seconds, by thread
        self._deadlines: dict[int, float] = {}  # monotonic, by thread
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Expect an answer to what this thread asks within so many seconds, until the block ends."""
        thread = threading.get_ident()
        self._start()
        self._limits[thread] = seconds
        self.renew()
        try:
            yield
        finally:
            self._deadlines.pop(thread, None)
            self._limits.pop(thread, None)

    @property
    def limit(self) -> float | None:
        """Seconds that an answer to this thread may take; None: any."""
        return self._limits.get(threading.get_ident())

    def renew(self) -> None:
        """Begin to wait for the next answer: the last one has come."""
        if (limit := self.limit) is not None:
            self._deadlines[threading.get_ident()] = self._monotonic() + limit

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(TICK):
            now = self._monotonic()
            if any(deadline < now for deadline in [*self._deadlines.values()]):
                self._bark()
