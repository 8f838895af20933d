"""Renders snapshots in a thread, so that neither polls nor scrapes wait for it.

`publish` keeps the newest snapshot, and a task shows it. A snapshot replaces one that is still waiting. A
failure is logged and makes the exporter not ready until a snapshot is shown again.
"""

import asyncio
import time

import structlog

from exporter.metrics.exposition import Exposition
from exporter.model import Snapshot

# Share of the time that rendering may take, because it slows down all other threads: with 10,000 series that
# all change it takes 0.14 s of CPU.
RENDER_SHARE = 0.1
LONGEST_PAUSE = 5.0  # seconds; with 100,000 series on a busy machine the share would be a minute

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Publisher:
    """Takes snapshots from the event loop and shows them."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._newest = Snapshot()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
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
            began = time.monotonic()
            await self.show()
            took = time.monotonic() - began
            await asyncio.sleep(min(took / RENDER_SHARE - took, LONGEST_PAUSE))

    async def show(self) -> None:
        """Show the newest snapshot now. Call it only before `start`."""
        self._changed.clear()
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
        if self._task is not None:
            self._task.cancel()
        self._exposition.close()
