"""The replica loop beside the polls: keep the lead, or follow the leader and take over.

A heartbeat fires three times per lease. The leader renews the lease on each, however long a poll takes. A
follower takes over if the lease is free and polls at once. Otherwise it reloads the counters if the leader
has committed. A poll in flight owns the memory: changes wait until it ends, so each poll belongs to one
term. A replica that lost the lead aborts its poll. No error ends the loop: the next heartbeat tries again.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from exporter.polling.poller import Poller

BEATS = 3  # heartbeats per lease: two may be late before another replica takes over
# Seconds at shutdown to hand over the lead, and to wait for blocked threads; the whole stop takes two.
GIVE_UP, BREAK_OFF = 0.4, 0.1
SILENT = (
    "the database does not answer: check that the server runs and is reachable; no data is lost meanwhile"
)

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def lease_of(interval: float) -> float:
    """Seconds of a lease: a failover ends within two poll intervals.

    At least 1 s: on a busy machine, faster heartbeats would be late. At most 15 s: longer has no benefit.
    """
    return min(max(interval, 1.0), 15.0)


class Replica:
    """One of several replicas on a ledger; `run` runs until cancelled."""

    def __init__(self, *, ledger: Ledger, poller: Poller, interval: float) -> None:
        """`interval`: seconds between polls."""
        self._ledger, self._poller = ledger, poller
        self._beat = lease_of(interval) / BEATS
        self._led = ledger.leads
        self._tasks: set[asyncio.Task[Any]] = set()  # polls, and jobs in threads
        self.trouble: str | None = None  # current database problem; None: none

    async def run(self) -> None:
        """Run the replica loop until cancelled."""
        while True:
            await self._heartbeat()
            await asyncio.sleep(self._beat)

    async def hand_over(self) -> None:
        """Give up the lead. If the database does not answer, the lease expires by itself."""
        task = self._begun(asyncio.to_thread(self._ledger.give_up_lead))
        done, _ = await asyncio.wait({task}, timeout=GIVE_UP)
        if done and (error := task.exception()) is not None:
            log.warning("the lead was not handed over: another replica waits for the lease", error=str(error))

    async def ended(self) -> bool:
        """After the ledger is closed: whether all threads have ended. A thread may hang on the database."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=BREAK_OFF)
        return not self._tasks

    async def _heartbeat(self) -> None:
        """Run one heartbeat. Log a problem once; it lasts until a heartbeat succeeds."""
        try:
            if not self._ledger.follows:
                await self._in_thread(self._ledger.keep_lead)
            elif self._poller.busy:
                self._poller.break_off()
                return
            else:
                await self._follow()
            self._set_trouble(None)
        except LostLeadershipError:
            self._set_trouble(None)
            log.warning("another replica leads now")
            self._poller.break_off()
        except LedgerError as error:
            self._set_trouble(str(error))
        except Exception as error:
            if self.trouble is None:
                log.error("heartbeat failed because of a bug in the exporter", exc_info=True)
            self.trouble = type(error).__name__
        self._show_lead()

    def _set_trouble(self, trouble: str | None) -> None:
        """Log a problem when it begins and when it ends (None)."""
        if trouble is not None and self.trouble is None:
            log.warning("the ledger is unreachable", error=trouble)
        elif trouble is None and self.trouble is not None:
            log.info("the ledger is reachable again")
        self.trouble = trouble

    async def _follow(self) -> None:
        """Take over the lead if it is free; otherwise load what the leader has committed."""
        ledger = self._ledger
        if await self._in_thread(lambda: ledger.take_lead(now=time.time())):
            log.info("leading", term=ledger.term)
            for note in ledger.notes:
                log.warning("ledger changed", note=note)
            self._led = True
            self._begun(self._poller.poll())
        elif await self._in_thread(ledger.follow):
            self._poller.publish()

    async def _in_thread(self, job: Callable[[], T]) -> T:
        """Run a job in a thread. Meanwhile, check the lease; report a problem after the length of a lease."""
        task = self._begun(asyncio.to_thread(job))
        beats = 0
        while True:
            done, _ = await asyncio.wait({task}, timeout=self._beat)
            if done:
                return task.result()
            beats += 1
            if beats == BEATS:
                self._set_trouble(SILENT)
            self._show_lead()

    def _begun(self, job: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it

    def _show_lead(self) -> None:
        """Publish at once when the lead is lost or regained. After a takeover, the first poll does."""
        if self._led != self._ledger.leads:
            self._led = self._ledger.leads
            self._poller.publish()
