"""Renders snapshots in a thread, so that neither polls nor scrapes wait for it.

`publish` keeps the newest snapshot, and a task shows it. A snapshot replaces one that is still waiting. A
failure is logged and makes the exporter not ready until a snapshot is shown again.
"""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from exporter.metrics.exposition import Exposition
from exporter.model import Snapshot

# While the rendering thread works, the event loop waits for the interpreter again and again. In short bursts
# that costs a scrape a few milliseconds. In one piece, 10,000 series that all change would take 0.14 s.
BURST = 0.0005  # seconds of CPU
RENDER_SHARE = 0.1
MOST_PAUSES = 5.0  # seconds per snapshot; with 100,000 series that all change, they would be 13

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Pauses:
    """Called often by the rendering thread, which made it: sleeps if a burst is over, until `stopped`."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._left = MOST_PAUSES
        self._resumed = time.thread_time()

    def __call__(self) -> None:
        """Sleep, or return at once."""
        worked = time.thread_time() - self._resumed
        if worked >= BURST and self._left > 0:
            pause = worked / RENDER_SHARE - worked
            self._left -= pause
            self._stopped.wait(pause)
            self._resumed = time.thread_time()


class Publisher:
    """Takes snapshots from the event loop and shows them."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._newest = Snapshot()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self.published = 0  # snapshots so far
        self.shown = 0  # of these, the last one that is shown
        self.trouble: str | None = None  # why the newest snapshot is not shown

    def publish(self, snapshot: Snapshot) -> None:
        """Show `snapshot` soon."""
        self._newest = snapshot
        self.published += 1
        self._changed.set()

    def start(self) -> None:
        """Show each snapshot from now on."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await self._show(lambda: Pauses(self._stopped))

    async def show(self) -> None:
        """Show the newest snapshot now, without pauses. Call it only before `start`."""
        await self._show(lambda: lambda: None)

    async def _show(self, pauses: Callable[[], Callable[[], None]]) -> None:
        self._changed.clear()
        number, snapshot = self.published, self._newest
        try:
            await asyncio.to_thread(lambda: self._exposition.show(snapshot, pause=pauses()))
        except Exception as error:
            if self.trouble is None:
                log.error("snapshot not published because of a bug in the exporter", exc_info=True)
            self.trouble = f"the newest metrics could not be shown: {type(error).__name__}"
            return
        self.shown = number
        if self.trouble is not None:
            log.info("snapshots are shown again")
            self.trouble = None

    def stop(self) -> None:
        """Show nothing more."""
        if self._task is not None:
            self._task.cancel()
        self._exposition.close()
        self._stopped.set()  # the process waits for the thread at its end
