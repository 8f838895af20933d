"""Closes connections to a server that does not answer.

A connection can be open and silent for ever: a proxy may drop the server's side, keep ours, and answer
keepalives itself. So each statement has a deadline of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 0.5  # seconds between two checks; deadlines are some seconds


class Watchdog:
    """Calls `bark` from its own thread while any answer is overdue."""

    def __init__(self, bark: Callable[[], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bark, self._monotonic = bark, monotonic
        self._lock = threading.Lock()
        self._limits: dict[int, float] = {}  # seconds, by thread
        self._deadlines: dict[int, float] = {}  # monotonic, by thread
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Give each statement of this thread so many seconds, until the block ends."""
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
        """Seconds that a statement of this thread may take; None: it is not watched."""
        return self._limits.get(threading.get_ident())

    def renew(self) -> None:
        """Begin the deadline of this thread's next statement."""
        if (limit := self.limit) is not None:
            self._deadlines[threading.get_ident()] = self._monotonic() + limit

    def close(self) -> None:
        """End the thread."""
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
