"""One poll: gather (I/O) → decide (pure) → commit (one transaction) → publish (a new snapshot).

A poll requests the total (after a short wait if the duty requires one), then works in rounds until nothing
is due. A round has at most one tail page and `ROUND` look-ups, and its own commit, so an aborted poll loses
no answer. The tail in memory advances only after the commit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog

from exporter.discovery.choosing import next_page
from exporter.discovery.pages import MAX_PAGE_SIZE, PageRequest
from exporter.discovery.tail import FEW_DELETED, Tail, backlog, is_behind, is_late_reading
from exporter.jobapi.errors import ApiError
from exporter.jobapi.protocol import Platform
from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from exporter.metrics.process import ProcessMetrics
from exporter.model import Clock, Snapshot
from exporter.polling.config import PollConfig
from exporter.polling.fetch import Fetched, Fetcher
from exporter.polling.keeper import Keeper
from exporter.polling.paging import Pages
from exporter.polling.status import Status
from exporter.tracking.decision import decide
from exporter.tracking.finding import PageRead
from exporter.tracking.lookups import due
from exporter.tracking.probing import probe_read
from exporter.tracking.values import Changes, Tracked

ROUND = 400  # look-ups per round: 1-2 s between commits, and few to repeat after a crash
SWEPT_AGAIN = 7200.0  # seconds that a sweep may continue after its window was set
MUCH = 2 * MAX_PAGE_SIZE  # more missing records than a normal poll finds: the exporter is catching up

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Poller:
    """Polls one platform into one ledger; `publish` gets a snapshot after each commit and each poll."""

    def __init__(
        self,
        *,
        api: Platform,
        ledger: Ledger,
        config: PollConfig,
        process: ProcessMetrics,
        publish: Callable[[Snapshot], None],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api, self._ledger, self._config = api, ledger, config
        self._wall, self._monotonic, self._sleep = wall, monotonic, sleep
        self._pages = Pages(api, duty=config.duty, monotonic=monotonic)
        self._fetcher = Fetcher(api, pages=self._pages, clock=self._clock)
        self._status = Status(
            ledger=ledger, process=process, config=config, publish=publish, monotonic=monotonic
        )
        self._keeper = Keeper(
            ledger,
            # The ledger must keep the ids of all records that a sweep reads.
            retention=max(config.retention, config.sweep + SWEPT_AGAIN),
            clock=self._clock,
        )
        self._tail: Tail = ledger.state.tail
        self._loads = ledger.loads  # number of the load that `_tail` continues from
        self._term = ledger.term  # term of the last poll
        self._stopping = False
        self._polling = asyncio.Lock()

    async def poll(self) -> None:
        """Poll if this replica leads; repeat while more is due than fits into an interval.

        Logs and counts failures; never raises them.
        """
        if self.busy or self._stopping:
            return
        async with self._polling:
            if self._term != self._ledger.term:  # failures of an earlier term must not delay this one
                self._term = self._ledger.term
                self._status.forget_failures()
            try:
                while not self._status.backs_off and self._ledger.leads and await self._polled():
                    pass
            except asyncio.CancelledError:
                if not self._stopping and not self._ledger.follows:
                    raise

    async def _polled(self) -> bool:
        """Poll once. True: records are due before the timer's next poll."""
        began = self._monotonic()
        error: Exception | None = None
        more = False
        try:
            more = await self._rounds(began)
        except LostLeadershipError as caught:
            error = caught
            log.warning("another replica leads now")
        except (ApiError, LedgerError) as caught:
            error = caught
            log.warning("poll failed", reason=getattr(caught, "reason", "ledger"), error=str(caught))
        except Exception as caught:
            error = caught
            log.error("poll failed because of a bug in the exporter", exc_info=True)
        try:
            self._status.poll_ended(error, began=began, now=self._wall())
            self.publish()
            await self._status.report()
        except LedgerError as caught:
            if not isinstance(error, LedgerError):  # else it is already logged
                log.warning("result of the poll not reported to the other replicas", error=str(caught))
        except Exception as caught:
            log.error("poll not published because of a bug in the exporter", exc_info=True)
            why = f"what the last poll found could not be shown: {type(caught).__name__}"
            self._status.back_off(why, caught, since=began)
            return False
        return more

    @property
    def busy(self) -> bool:
        """Whether a poll is in flight."""
        return self._polling.locked()

    async def idle(self) -> None:
        """Wait until neither a poll nor a release is in flight."""
        async with self._polling:
            await self._keeper.idle()

    def stop(self) -> None:
        """Send no more requests; the poll in flight commits the answers it has and ends."""
        self._stopping = True
        self.break_off()

    def break_off(self) -> None:
        """Abort the poll: another replica leads, so this poll can commit nothing."""
        self._fetcher.cancel()

    async def _rounds(self, began: float) -> bool:
        """Request the total, then run rounds until nothing is due (False) or the interval is over (True)."""
        await self._keeper.refresh()
        if self._loads != self._ledger.loads:  # after a failed commit, or while another replica led
            self._loads, self._tail = self._ledger.loads, self._ledger.state.tail
        self._pages.begin()
        await self._until_pages(began)
        if self._stopping:
            return False
        await self._probe()
        while not self._stopping and await self._round(began):
            if self._status.publish_is_due:
                self.publish()
            if self._monotonic() >= began + self._config.rules.interval:
                break
        # Pages deferred to the next poll by the duty do not count as a downtime.
        self._status.caught_up |= not is_behind(self._tail, self._ledger.time())
        if self._status.caught_up and not is_late_reading(self._tail, self._ledger.time()):
            await self._keeper.prune()
        return not self._stopping and bool(self._due(limit=1))

    async def _until_pages(self, began: float) -> None:
        """Wait for the duty if the wait ends within the interval; look-ups continue meanwhile.

        So the total is told just before the page that follows, which then shows what came in the pause too.
        """
        end = began + self._config.rules.interval
        while not self._stopping and 0 < (wait := self._pages.wait()) < end - self._monotonic():
            lookups = self._due(limit=ROUND)
            if len(lookups) == ROUND:  # these take as long as the wait, so the total need not wait
                return
            if lookups:
                await self._worked(None, lookups)
            else:
                await self._fetcher.waited(self._sleep(wait))

    async def _probe(self) -> None:
        """Request the number of records."""
        tail, page, cost = await self._fetcher.waited(self._pages.probe(self._tail))
        self._status.reached = True
        self._fetcher.shown(page)
        before = self._ledger.state.counting_start
        tail, after = probe_read(tail, before, page, size=cost.size, clock=self._clock(), start=self._config)
        if before is None:
            log.info("first start: reading the newest records", records=page.total)
        if after != before:
            await self._keeper.commit(Changes(tail=tail, counting_start=after))
        self._advance(tail)
        if backlog(self._tail, self._ledger.time()) > MUCH:
            self._status.caught_up = False

    async def _round(self, began: float) -> bool:
        """Run one round; False: nothing is due until the next poll."""
        limit, end = self._config.page_size, began + self._config.rules.interval
        request = None
        if not self._pages.is_over:
            request = next_page(self._tail, now=self._ledger.time(), limit=limit)
        lookups = self._due(limit=ROUND)
        wait = self._pages.wait()
        if request is not None and wait > 0:
            if lookups or self._monotonic() + wait >= end:
                request = None  # look-ups continue; the next poll requests the page
            else:
                await self._fetcher.waited(self._sleep(wait))
        if request is None:
            request = self._pages.sweep_page(self._tail, limit=limit)
        if request is None and not lookups:
            return False
        await self._worked(request, lookups)
        return True

    async def _worked(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> None:
        """Request a page and records, decide, and commit."""
        fetched = await self._fetcher.fetch(request, lookups)
        error = fetched.page_error
        if request is not None and error is not None:
            clock, interval = self._clock(), self._config.rules.interval
            failed = self._pages.failed(self._tail, request, error, clock=clock, interval=interval)
            self._tail, error = await self._fetcher.waited(failed)
        # In a thread: deciding a full round would delay scrapes.
        changes = await asyncio.to_thread(self._decided, fetched, request)
        await self._keeper.commit(changes)
        self._advance(changes.tail)
        if error is not None:
            raise error
        if fetched.lost is not None:
            raise fetched.lost

    def _due(self, *, limit: int) -> list[Tracked]:
        followed = self._ledger.state.followed.values()
        return due(followed, now=self._ledger.time(), rules=self._config.rules, limit=limit)

    def _decided(self, fetched: Fetched, request: PageRequest | None) -> Changes:
        """The changes that follow from the answers of a round."""
        state, read = self._ledger.state, None
        if state.counting_start is None:
            raise LedgerError("the ledger does not say where counting began")
        if fetched.page is not None and request is not None:
            page, cost = fetched.page
            known = self._ledger.known([item.id for item in page.items])
            read = PageRead(page=page, known=frozenset(known), size=cost.size, purpose=request.purpose)
        return decide(
            self._tail,
            state.counting_start,
            state.followed,
            read=read,
            lookups=fetched.lookups,
            clock=self._clock(),
            rules=self._config.rules,
            sweeps=self._config.sweep > 0,
        )

    def _advance(self, tail: Tail) -> None:
        before, now = self._tail.total or 0, tail.total or 0
        if now < FEW_DELETED * before:
            log.warning("the platform has far fewer records than before", before=before, now=now)
        self._tail = tail

    def _clock(self) -> Clock:
        wall, platform = self._wall(), self._api.platform_now()
        return Clock(now=self._ledger.time(), wall=wall, platform=wall if platform is None else platform)

    def publish(self) -> None:
        """Publish the current state."""
        platform = self._api.platform_now()
        skew = None if platform is None else platform - self._wall()
        self._status.publish(self._tail, clock=self._clock(), skew=skew)

    async def release(self) -> None:
        """Publish held samples that are due while no poll is in flight."""
        if self._stopping or not self._ledger.leads:
            return
        if await self._keeper.release():
            self.publish()

    @property
    def last_error(self) -> str | None:
        """Why the published data may be stale; None: the last poll succeeded."""
        return self._status.last_error
