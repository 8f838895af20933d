"""Snapshots → the exposition, in a thread, so that neither polls nor scrapes wait for rendering.

`publish` keeps the newest snapshot; a task shows it. Snapshots that come while one is rendered replace each
other. A failure is logged and makes the exporter not ready, until a snapshot is shown again.
"""

import asyncio
import time

import structlog

from exporter.metrics.exposition import Exposition
from exporter.model import Snapshot

# Share of the wall time that rendering may take: a thread that renders slows down all others.
RENDER_SHARE = 0.1
LONGEST_PAUSE = 5.0  # seconds; with 100,000 series and a busy machine the share would be a minute

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Publisher:
    """Takes snapshots from the event loop and has them shown."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._newest = Snapshot()
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.published = 0  # snapshots so far
        self.shown = 0  # those of them that are shown, or were replaced by one that is
        self.trouble: str | None = None  # why the newest snapshot is not shown

    def publish(self, snapshot: Snapshot) -> None:
        """Have `snapshot` shown soon."""
        self._newest = snapshot
        self.published += 1
        self._news.set()

    def start(self) -> None:
        """Show each snapshot from now on."""
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            began = time.monotonic()
            await self.show()
            took = time.monotonic() - began
            await asyncio.sleep(min(took / RENDER_SHARE - took, LONGEST_PAUSE))

    async def show(self) -> None:
        """Show the newest snapshot now. Call it only before `start`."""
        self._news.clear()
        number = self.published
        try:
            await asyncio.to_thread(self._exposition.show, self._newest)
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
        if self._running is not None:
            self._running.cancel()
        self._exposition.close()
