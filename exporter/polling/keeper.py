"""Writes the changes of a poll to the ledger, one transaction at a time, and logs what is worth a line."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog

from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import Ledger
from exporter.model import Clock
from exporter.settings.time_range import shown
from exporter.tracking.values import Changes, Outcome

PRUNE_INTERVAL = 3600.0  # seconds between two prunings of the ledger
ODD_TIMES = 3  # records with impossible times before a warning: one or two may be written by hand

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Keeper:
    """Commits, loads and releases: each replaces the ledger's memory, so only one runs at a time."""

    def __init__(self, ledger: Ledger, *, retention: float, clock: Callable[[], Clock]) -> None:
        """`retention`: seconds that the ids of settled records are kept."""
        self._ledger, self._retention, self._clock = ledger, retention, clock
        self._writing = asyncio.Lock()
        self._prune_due = 0.0  # ledger time
        self._hours_off: set[str] = set()  # ids of records with impossible times, until the warning

    async def idle(self) -> None:
        """Wait until nothing is being written."""
        async with self._writing:
            pass

    async def _done(self, job: Callable[[], T]) -> T:
        """Run a job in a thread. One in flight completes even during shutdown."""
        async with self._writing:
            return await asyncio.shield(asyncio.to_thread(job))

    async def refresh(self) -> None:
        """Load the ledger again if its memory may be wrong after a failed commit."""
        if self._ledger.doubtful:
            await self._done(self._ledger.refresh)

    async def commit(self, changes: Changes) -> None:
        """Commit, and log what is worth a line. Raises LedgerError."""
        before, start = self._ledger.state.tail, self._ledger.state.counting_start
        after, total = changes.tail, changes.tail.total or 0
        await self._done(partial(self._ledger.commit, changes, now=self._clock().wall))
        if after.order is not None and after.order is not before.order:
            log.info("order of pages found", order=str(after.order))
        if start is not None and start.floor is None and changes.counting_start.floor is not None:
            lowest = changes.counting_start.lowest
            log.info(
                "first reading ended",
                records=total,
                looked_back_to=None if lowest is None else shown(lowest),
                bytes=changes.counting_start.read,
            )
        if changes.given_up:
            log.warning(
                "page positions without a record: counted as hidden, the sweep checks them again",
                positions=changes.given_up,
                records=total,
            )
        for id_, why in changes.unreadable.items():
            log.warning("record is unreadable: it is retried with backoff", record=id_, error=why)
        self._warn_of_times(changes.hours_off)
        for item in changes.settlements:
            if item.outcome is Outcome.VANISHED:
                log.warning("record vanished from the platform before it was done", record=item.id)

    def _warn_of_times(self, hours_off: Mapping[str, float]) -> None:
        """Warn once when several records have impossible times; a single one may be a mistake."""
        if len(self._hours_off) >= ODD_TIMES:
            return
        self._hours_off |= hours_off.keys()  # ids: one record may be looked up many times
        if len(self._hours_off) >= ODD_TIMES:
            record_id, hours = next(iter(hours_off.items()))
            log.warning(
                "record times are wrong by hours: set api.timezone to the zone of times without an offset, "
                "and set all masters of the platform to the same zone",
                record=record_id,
                hours=round(hours, 2),
            )

    async def prune(self) -> None:
        """Forget records that were settled long ago, at most once per `PRUNE_INTERVAL`."""
        start, clock = self._ledger.state.counting_start, self._clock()
        if clock.now < self._prune_due or start is None or start.registered is None:
            return
        self._prune_due = clock.now + PRUNE_INTERVAL
        # The earlier clock: keeping ids too long does no harm.
        before = min(clock.wall, clock.platform) - self._retention
        gone = await self._done(partial(self._ledger.prune, before=before))
        if gone:
            log.info("ledger pruned", records=gone)

    async def release(self) -> bool:
        """Publish held samples that are due; True if there were any. A failure is left to the next poll."""
        try:
            return await self._done(partial(self._ledger.release, now=self._clock().wall))
        except LedgerError:
            return False
