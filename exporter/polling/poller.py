"""One poll: gather (I/O) → decide (pure) → commit (one transaction) → publish (a new snapshot).

A poll asks for the total, once the duty allows a page again where that is soon, then works in rounds until
nothing is due: at most one tail page and `ROUND` look-ups each. Every round is committed by itself, so a poll
that breaks off has lost nothing: what was gathered until then is decided and committed all the same. What
memory knows of the tail moves on only after the commit did.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import structlog

from exporter.discovery.pages import PageRequest
from exporter.discovery.reading import next_page
from exporter.discovery.sweeping import begin_sweep, is_behind, is_late_reading
from exporter.discovery.tail import Tail, backlog, probed
from exporter.discovery.weights import MAX_PAGE_SIZE, weighed
from exporter.jobapi.errors import ApiError
from exporter.jobapi.protocol import Platform
from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from exporter.metrics.process import ProcessMetrics
from exporter.model import Snapshot
from exporter.polling.fetch import Gathered, Gatherer
from exporter.polling.paging import Pages
from exporter.polling.status import Status
from exporter.settings.time_range import shown
from exporter.tracking.decision import Changes, decide
from exporter.tracking.finding import PageRead, Start, begin, go_on
from exporter.tracking.tracker import Clock, CountingStart, Outcome, Rules, Tracked, due

ROUND = 400  # look-ups a round: a second or two between commits, and little to ask again after a crash
PRUNE_INTERVAL = 3600.0  # seconds between two prunings of the ledger
ODD_TIMES = 3  # records whose times can't be true: more than one that somebody wrote by hand
SWEPT_AGAIN = 7200.0  # seconds that a sweep may still go on after its window was laid down
MUCH = 2 * MAX_PAGE_SIZE  # records missing at once that no ordinary poll brings: catching up

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollConfig:
    """How to poll; seconds."""

    rules: Rules = field(default_factory=Rules)
    recheck_interval: float = 300.0
    sweep: float = 86400.0  # the sweep reads records that started up to so long ago; 0: no sweep
    adopt: int = 200  # records of the first reading
    history: float | None = 0.0  # count what ended up to so long ago; None: all there is; 0: nothing
    duty: float = 0.1  # share of the wall time that tail pages may take
    page_size: int = MAX_PAGE_SIZE
    retention: float = 30 * 86400.0


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
        self._pages = Pages(
            api, duty=config.duty, interval=config.rules.interval, clock=self._clock, monotonic=monotonic
        )
        self._gatherer = Gatherer(api, pages=self._pages, clock=self._clock)
        self._status = Status(
            ledger=ledger,
            process=process,
            rules=config.rules,
            clock=self._clock,
            skew=self._skew,
            publish=publish,
            monotonic=monotonic,
        )
        self._writing = asyncio.Lock()  # commits, loads and releases replace the ledger's memory
        self._tail: Tail = ledger.state.tail
        self._prune_due = 0.0  # monotonic
        self._loads = ledger.loads  # of the memory that `_tail` goes on from
        self._term = ledger.term  # in which polls were made last
        self._hours_off: dict[str, float] = {}  # records whose times can't be true, until a warning says so
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def poll(self) -> None:
        """Poll, where it is this replica's turn, and on while more is due than an interval holds.

        A failure is logged and counted, never raised.
        """
        if self.busy or self._stopping:
            return
        self._idle.clear()
        if self._term != self._ledger.term:  # what failed in an earlier one is no reason to wait in this
            self._term = self._ledger.term
            self._status.forget_failures()
        try:
            while not self._status.backs_off and self._ledger.leads and await self._polled():
                pass
        except asyncio.CancelledError:
            if not self._stopping and not self._ledger.follows:
                raise
        finally:
            self._idle.set()

    async def _polled(self) -> bool:
        """Poll once. True: records are due, and the timer would come too late for them."""
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
            log.error("poll failed by a fault of the exporter", exc_info=True)
        try:
            self._status.poll_ended(error, began=began)
            self.publish()
            await self._status.tell(self._tail)
        except LedgerError as caught:
            if not isinstance(error, LedgerError):  # else it has been said
                log.warning("the other replicas were not told of a poll", error=str(caught))
        except Exception as caught:
            log.error("a poll could not be shown, by a fault of the exporter", exc_info=True)
            why = f"what the last poll found could not be shown: {type(caught).__name__}"
            self._status.back_off(why, caught, since=began)
            return False
        return more

    @property
    def busy(self) -> bool:
        """Whether a poll is in flight."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until neither a poll nor a release is in flight."""
        await self._idle.wait()
        async with self._writing:
            pass

    def stop(self) -> None:
        """Ask for nothing more; the poll in flight commits what it has in hand and ends."""
        self._stopping = True
        self.break_off()

    def break_off(self) -> None:
        """Wait for no more answers: another replica leads, and nothing of this poll can be committed."""
        self._gatherer.cancel()

    async def _rounds(self, began: float) -> bool:
        """Ask for the total, then go round until nothing is due, or the interval is over (True)."""
        await self._remember()
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
        # What the duty leaves for the next poll is no downtime.
        self._status.caught_up |= not is_behind(self._tail, self._ledger.time())
        await self._prune()
        return not self._stopping and bool(self._due(limit=1))

    async def _until_pages(self, began: float) -> None:
        """Let the duty's pause pass where it ends within the interval; look-ups go on meanwhile.

        So the total is told just before the page that follows, which then shows what came in the pause too.
        """
        end = began + self._config.rules.interval
        while not self._stopping and 0 < (wait := self._pages.wait()) < end - self._monotonic():
            lookups = self._due(limit=ROUND)
            if len(lookups) == ROUND:  # the pause passes while these are made, and the total need not wait
                return
            if lookups:
                await self._worked(None, lookups)
            else:
                await self._gatherer.waited(self._sleep(wait))

    async def _probe(self) -> None:
        """Ask how many records there are."""
        tail, page, cost = await self._gatherer.waited(self._pages.probe(self._tail))
        self._status.reached = True
        self._gatherer.shown(page)
        # The first record is always the same one: its lightness says nothing of those on the tail.
        if not tail.weights.widest:
            tail = replace(tail, weights=weighed(tail.weights, len(page.items), cost.size))
        clock, start = self._clock(), self._start()
        counting_start = self._ledger.state.counting_start
        if counting_start is None:
            tail, counting_start = begin(tail, page, clock=clock, start=start)
            log.info("first start: reading the newest records", records=page.total)
            await self._commit(Changes(tail=tail, counting_start=counting_start))
        else:
            tail = probed(
                tail,
                page,
                now=clock.now,
                platform_now=clock.platform,
                recheck_interval=start.recheck_interval,
            )
            tail, after = go_on(tail, counting_start, clock=clock, start=start)
            if after != counting_start:
                await self._commit(Changes(tail=tail, counting_start=after))
            self._tail = self._sweeping(tail, after, clock)
        if backlog(self._tail, self._ledger.time()) > MUCH:
            self._status.caught_up = False

    def _start(self) -> Start:
        config = self._config
        return Start(
            adopt=config.adopt,
            history=config.history,
            recheck_interval=config.recheck_interval,
            sweep=config.sweep,
        )

    def _sweeping(self, tail: Tail, counting_start: CountingStart, clock: Clock) -> Tail:
        """Begin a sweep where one is due."""
        if not self._config.sweep or counting_start.floor is None:
            return replace(tail, sweep=None)
        is_first = counting_start.registered is None
        newest = min(clock.platform, counting_start.baseline_end) if is_first else clock.platform
        return begin_sweep(tail, now=clock.now, oldest=newest - self._config.sweep, is_first=is_first)

    async def _remember(self) -> None:
        """Go on from what the ledger holds, where memory may not: a commit failed, another replica led."""
        if self._ledger.doubtful:
            async with self._writing:
                await asyncio.to_thread(self._ledger.refresh)
        if self._loads != self._ledger.loads:
            self._loads, self._tail = self._ledger.loads, self._ledger.state.tail

    async def _round(self, began: float) -> bool:
        """One round; False when there is nothing to do until the next poll."""
        limit, end = self._config.page_size, began + self._config.rules.interval
        request = next_page(self._tail, now=self._ledger.time(), limit=limit)
        lookups = self._due(limit=ROUND)
        wait = self._pages.wait()
        if request is not None and wait > 0:
            if lookups or self._monotonic() + wait >= end:
                request = None  # look-ups go on meanwhile; the page is the next poll's
            else:
                await self._gatherer.waited(self._sleep(wait))
        if request is None:
            request = self._pages.sweep_page(self._tail, limit=limit)
        if request is None and not lookups:
            return False
        await self._worked(request, lookups)
        return True

    async def _worked(self, request: PageRequest | None, lookups: Iterable[Tracked]) -> None:
        """Ask for a page and for records, and commit what they mean."""
        gathered = await self._gatherer.gather(request, lookups)
        error = gathered.page_error
        if request is not None and error is not None:
            failed = self._pages.failed(self._tail, request, error)
            self._tail, error = await self._gatherer.waited(failed)
        # In a thread: a full round takes as long as some scrapes.
        await self._commit(await asyncio.to_thread(self._decided, gathered, request))
        if error is not None:
            raise error
        if gathered.lost is not None:
            raise gathered.lost

    def _due(self, *, limit: int) -> list[Tracked]:
        followed = self._ledger.state.followed.values()
        return due(followed, now=self._ledger.time(), rules=self._config.rules, limit=limit)

    def _decided(self, gathered: Gathered, request: PageRequest | None) -> Changes:
        """What the round means."""
        state, read = self._ledger.state, None
        if state.counting_start is None:
            raise LedgerError("the ledger does not say where counting began")
        if gathered.page is not None and request is not None:
            page, cost = gathered.page
            known = self._ledger.known([item.id for item in page.items])
            read = PageRead(page=page, known=frozenset(known), size=cost.size, purpose=request.purpose)
        return decide(
            self._tail,
            state.counting_start,
            state.followed,
            read=read,
            lookups=gathered.lookups,
            clock=self._clock(),
            rules=self._config.rules,
            sweeps=self._config.sweep > 0,
        )

    async def _commit(self, changes: Changes) -> None:
        """Commit in a thread, to its end even while the program is being stopped; then move on."""
        async with self._writing:
            await asyncio.shield(asyncio.to_thread(self._ledger.commit, changes, now=self._wall()))
        self._tail = changes.tail
        if changes.order is not None:
            log.info("order of pages found", order=str(changes.order))
        if changes.adopted:
            log.info(
                "first reading ended",
                records=changes.tail.total,
                looked_back_to=None if (lowest := changes.counting_start.lowest) is None else shown(lowest),
                bytes=changes.counting_start.read,
            )
        if changes.given_up:
            log.warning(
                "positions that show no record: they count as hidden, and the sweep looks again",
                positions=changes.given_up,
                records=changes.tail.total,
            )
        for id_, why in changes.unreadable.items():
            log.warning(
                "record cannot be read: it is tried again after growing pauses", record=id_, error=why
            )
        self._tell_times(changes.hours_off)
        for item in changes.settlements:
            if item.outcome is Outcome.VANISHED:
                log.warning("record vanished from the platform before it was done", record=item.id)

    def _tell_times(self, hours_off: Mapping[str, float]) -> None:
        """Warn once where the times of several records can't be true: one may be any record's mistake."""
        before = len(self._hours_off)
        self._hours_off |= dict(islice(hours_off.items(), ODD_TIMES))
        if before < ODD_TIMES <= len(self._hours_off):
            record_id, hours = next(reversed(self._hours_off.items()))
            log.warning(
                "times of records are wrong by hours: set api.timezone to the zone of times without one, "
                "and let all masters of the platform use one zone",
                record=record_id,
                hours=round(hours, 2),
            )

    async def _prune(self) -> None:
        if self._monotonic() < self._prune_due:
            return
        counting_start = self._ledger.state.counting_start
        if counting_start is None or counting_start.registered is None or not self._status.caught_up:
            return
        if is_late_reading(self._tail, self._ledger.time()):
            return
        self._prune_due = self._monotonic() + PRUNE_INTERVAL
        clock = self._clock()  # whichever is ahead may be wrong: what is kept too long does no harm
        # What a sweep reads must still be known.
        kept = max(self._config.retention, self._config.sweep + SWEPT_AGAIN)
        before = min(clock.wall, clock.platform) - kept
        async with self._writing:
            gone = await asyncio.to_thread(self._ledger.prune, before=before)
        if gone:
            log.info("ledger pruned", records=gone)

    def _clock(self) -> Clock:
        wall, platform = self._wall(), self._api.platform_now()
        return Clock(now=self._ledger.time(), wall=wall, platform=wall if platform is None else platform)

    def _skew(self) -> float | None:
        """Platform's clock minus ours; None: not known yet."""
        platform = self._api.platform_now()
        return None if platform is None else platform - self._wall()

    def publish(self) -> None:
        """Show how things stand now."""
        self._status.publish(self._tail)

    async def release(self) -> None:
        """Show held samples whose time has come, where no poll does it."""
        if self._stopping or not self._ledger.leads:
            return
        try:
            async with self._writing:
                released = await asyncio.shield(asyncio.to_thread(self._ledger.release, now=self._wall()))
        except LedgerError:
            return  # the next poll tells of it
        if released:
            self.publish()

    @property
    def last_error(self) -> str | None:
        """Why what is shown may not be how things are; None: the last poll was good."""
        return self._status.last_error
