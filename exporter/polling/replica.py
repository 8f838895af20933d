"""A replica's life beside its polls: it keeps the lead, or waits for it and shows what the leader commits.

A beat comes three times a lease. Who leads renews the lease, however long a poll takes. Who follows takes
over as soon as that is possible, and polls at once; else it loads the counters anew, when it is told of a
commit, and by the clock each poll interval, for where nothing is told (behind some poolers). While a poll is
in flight memory is that poll's: what must change it waits, so that a poll knows of one term only; who has
lost the lead breaks its poll off. Nothing that goes wrong here ends it: the next beat may be a good one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from exporter.polling.poller import Poller

BEATS = 3  # a lease: two may be late before another takes over
# Seconds at a stop for handing over, and for what waits in vain: what is left of the two that are promised.
GIVE_UP, BREAK_OFF = 0.4, 0.1
SILENT = (
    "its database does not answer: see that the server runs and can be reached; nothing is lost meanwhile"
)

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def lease_of(interval: float) -> float:
    """Seconds of a lease, so that a failover is done within two poll intervals.

    Not below a second: beats would be late on a busy machine. Not above 15: nothing is gained by it.
    """
    return min(max(interval, 1.0), 15.0)


class Replica:
    """One of several on a ledger; `run` until it is cancelled."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        poller: Poller,
        interval: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`interval`: seconds between polls."""
        self._ledger, self._poller, self._interval, self._wall = ledger, poller, interval, wall
        self._beat = lease_of(interval) / BEATS
        self._news = asyncio.Event()
        self._led = ledger.leads
        self._loaded = 0.0  # when the counters were loaded; by the loop's clock
        self._load_seconds = 0.0  # that loading took
        self._polls: set[asyncio.Task[None]] = set()
        self._threads: set[asyncio.Task[Any]] = set()
        self.trouble: str | None = None  # with the database

    async def run(self) -> None:
        """Take part, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            while True:
                await self._heartbeat()
                await self._pause()

    async def hand_over(self) -> None:
        """Give the lead up; without an answer of the database it ends by itself."""
        with contextlib.suppress(TimeoutError, LedgerError):
            await asyncio.wait_for(asyncio.shield(self._begun(self._ledger.give_up_lead)), GIVE_UP)

    async def ended(self) -> bool:
        """Whether no thread waits for the database any more, now that the ledger is closed: it may hang."""
        if self._threads:
            await asyncio.wait(self._threads, timeout=BREAK_OFF)
        return not self._threads

    async def _heartbeat(self) -> None:
        """One beat; trouble is told once, and lasts until a beat is good."""
        try:
            if not self._ledger.follows:
                await self._in_thread(self._ledger.keep_lead)
            elif self._poller.busy:
                self._poller.break_off()
                return
            else:
                await self._follow()
            self._is_well()
        except LostLeadershipError:
            self._is_well()
            log.warning("another replica leads now")
            self._poller.break_off()
            self._news.set()
        except LedgerError as error:
            self._is_troubled(str(error))
        except Exception as error:
            if self.trouble is None:
                log.error("a replica's beat failed by a fault of the exporter", exc_info=True)
            self.trouble = type(error).__name__
        self._show_lead()

    def _is_troubled(self, said: str) -> None:
        if self.trouble is None:
            log.warning("the ledger can't be reached", error=said)
        self.trouble = said

    def _is_well(self) -> None:
        if self.trouble is not None:
            log.info("the ledger is back")
        self.trouble = None

    async def _follow(self) -> None:
        """Take over, or load what the leader has committed."""
        ledger, loop = self._ledger, asyncio.get_running_loop()
        if await self._in_thread(lambda: ledger.take_lead(now=self._wall())):
            log.info("leading", term=ledger.term)
            for note in ledger.notes:
                log.warning("ledger changed", note=note)
            self._led = True
            poll = asyncio.create_task(self._poller.poll())
            self._polls.add(poll)
            poll.add_done_callback(self._polls.discard)
        elif self._news.is_set() or loop.time() - self._loaded >= self._interval:
            self._news.clear()
            began = loop.time()
            await self._in_thread(ledger.refresh)
            self._loaded = loop.time()
            self._load_seconds = self._loaded - began
            self._poller.publish()

    async def _pause(self) -> None:
        """Wait for the next beat, or for news; as long as loading took: half of the time is enough for it."""
        if not self._ledger.follows or self.trouble is not None:
            await asyncio.sleep(self._beat)
            return
        await asyncio.sleep(min(self._load_seconds, self._beat))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), self._beat)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        """Run it in a thread; see meanwhile whether the lease has run out, and say so if it takes as long."""
        task = self._begun(job)
        beats = 0
        while True:
            done, _ = await asyncio.wait({task}, timeout=self._beat)
            if done:
                return task.result()
            beats += 1
            if beats == BEATS:
                self._is_troubled(SILENT)
            self._show_lead()

    def _begun(self, job: Callable[[], T]) -> asyncio.Task[T]:
        task = asyncio.create_task(asyncio.to_thread(job))
        self._threads.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[Any]) -> None:
        self._threads.discard(task)
        if not task.cancelled():
            task.exception()  # who has stopped waiting for it does not want to know

    def _show_lead(self) -> None:
        """Show at once that the lead is lost, or had again; of one that was taken the first poll tells."""
        if self._led != self._ledger.leads:
            self._led = self._ledger.leads
            self._poller.publish()

    async def _listen(self) -> None:
        """Be told of commits; where that fails, try again: the clock does instead meanwhile."""
        while True:
            try:
                async for _ in self._ledger.news():
                    self._news.set()
            except LedgerError:
                pass  # a beat tells of it
            except Exception:
                log.error("listening for commits failed by a fault of the exporter", exc_info=True)
            await asyncio.sleep(self._interval)
