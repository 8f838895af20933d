"""Reads records from the ledger and from the platform, and compares them.

A window is audited in two passes. First, each record that the ledger counted is looked up by id. Then the
platform's pages are read from the newest record to the oldest, and each record that the ledger does not know
is looked up. Findings are checked again a moment later, because host rows can disappear briefly and the
daemon continues to count.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from exporter.audit.verdict import FINDINGS, Kind, Seen, Terms, Verdict, judge
from exporter.discovery.scan import Walk, read, share
from exporter.jobapi.errors import ApiError, RecordNotFound
from exporter.jobapi.patient import BLINK, PatientApi
from exporter.jobapi.protocol import GONE, Platform
from exporter.ledger.reader import Inspection
from exporter.model import Clock, ExecuteStatus, PageItem, Record
from exporter.polling.config import PollConfig
from exporter.polling.fetch import LOST_AFTER
from exporter.settings.time_range import Window
from exporter.tracking.state import Known, LedgerStatus

CHUNK = 400  # records looked up at once: 1-2 s
LISTED = 1000  # findings that are kept: if there are more, they have a common cause


class AuditError(Exception):
    """The audit was not completed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One record in the ledger and on the platform, and the verdict."""

    id: str
    known: Known | None
    seen: Seen
    verdict: Verdict


@dataclass(slots=True, kw_only=True)
class Tally:
    """The results of a window so far."""

    window: Window
    judged: Counter[Kind] = field(default_factory=Counter)
    findings: list[Audited] = field(default_factory=list)  # at most `LISTED`
    reached: float | None = None  # earliest start on the pages that were read; None: all pages were read
    hidden: int = 0  # positions on them that show no record
    behind: int = 0  # records that the daemon has still to read

    @property
    def wrong(self) -> int:
        """The number of findings."""
        return sum(number for kind, number in self.judged.items() if kind in FINDINGS)

    def add(self, audited: Audited) -> None:
        """Add one record."""
        self.judged[audited.verdict.kind] += 1
        if audited.verdict.is_finding and len(self.findings) < LISTED:
            self.findings.append(audited)


class Auditor:
    """Audits one platform against its ledger; all methods raise ApiError and LedgerError."""

    def __init__(
        self,
        *,
        api: Platform,
        ledger: Inspection,
        config: PollConfig,
        tell: Callable[[float, int], None] = lambda _share, _records: None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`tell` takes the share of pages that were read (0 to 1), and the number of audited records."""
        self._api, self._ledger, self._config, self._tell = api, ledger, config, tell
        self._wall, self._sleep = wall, sleep
        self._patient = PatientApi(api, duty=config.duty, monotonic=monotonic, sleep=sleep)
        self._failed = 0  # look-ups in a row

    async def record(self, record_id: str) -> Audited:
        """Audit one record."""
        (audited,) = await self._audit({record_id: None})
        return audited

    async def now(self) -> float:
        """The platform's time."""
        await self._patient.total()
        return self._clock().platform

    async def window(self, window: Window, *, longest_run: float) -> Tally:
        """Audit what ended in a window; pages of records that began `longest_run` before it are not read."""
        tally, last = Tally(window=window), ""
        while chunk := self._ledger.counted(window.begin, window.end, after=last, limit=CHUNK):
            last = chunk[-1].id
            for audited in await self._audit({known.id: None for known in chunk}):
                tally.add(audited)
            self._tell(0.0, tally.judged.total())
        await self._walk(tally, oldest=window.begin - longest_run)
        return tally

    async def _walk(self, tally: Tally, *, oldest: float) -> None:
        """Read pages down to records that began before `oldest`; audit those unknown to the ledger."""
        total = await self._patient.total() or 0
        tail = self._ledger.progress().tail
        oldest = oldest if tail.order is not None else -math.inf  # without a known order, read all pages
        walk = Walk(total=total, order=tail.order, at=total, weights=tail.weights, done=not total)
        tally.behind = tail.missing
        before: set[str] = set()  # audited on the page before: pages overlap
        while not walk.done:
            walk, answer = await self._patient.next_page(walk, limit=self._config.page_size)
            if answer is None:
                continue
            page, cost = answer
            starts, found = await self._shown(page.items, tally.window)
            for audited in found:
                if audited.id not in before:
                    tally.add(audited)
            before = {audited.id for audited in found}
            walk = read(walk, page, size=cost.size, starts=starts, oldest=oldest)
            self._tell(share(walk, newest=self._clock().platform, oldest=oldest), tally.judged.total())
        tally.reached = walk.reached if walk.at else None
        tally.hidden = walk.hidden

    async def _shown(
        self, items: Collection[PageItem], window: Window
    ) -> tuple[list[float | None], list[Audited]]:
        """Starts of the records on a page, and audits of those that ended in the window uncounted."""
        known = self._ledger.known([item.id for item in items])
        starts = {item.id: item.start for item in items}
        for id_, had in known.items():
            starts[id_] = had.start if starts[id_] is None else starts[id_]
        new = {
            item.id: item.record
            for item in items
            if (item.id not in known or known[item.id].status is LedgerStatus.VANISHED)
            and (item.start is None or item.start <= window.end)
        }
        audited = await self._audit(new, shown=True)
        for one in audited:
            starts[one.id] = one.seen.record.start if one.seen.record else starts[one.id]
        return list(starts.values()), [one for one in audited if one.seen.problem or _ended_in(window, one)]

    async def _audit(self, records: Mapping[str, Record | None], *, shown: bool = False) -> list[Audited]:
        """Audit records; those that a page has shown in full are not looked up at first."""
        audited = await self._once(records, shown=shown)
        again = [one for one in audited.values() if one.verdict.is_finding and not one.seen.problem]
        if again:
            await self._sleep(BLINK)
            audited |= await self._once({one.id: None for one in again}, shown=shown)
        return list(audited.values())

    async def _once(self, records: Mapping[str, Record | None], *, shown: bool) -> dict[str, Audited]:
        before = self._ledger.known(records)
        seen = await asyncio.gather(
            *(self._look_up(id_, record, before.get(id_), shown) for id_, record in records.items())
        )
        known = self._ledger.known(records)  # after the platform: the daemon may have counted meanwhile
        progress = self._ledger.progress()
        tail, began = progress.tail, progress.counting_start
        clock, rules = self._clock(), self._config.rules
        terms = Terms(clock=clock, rules=rules, counting_start=began, behind=tail.missing)
        return {
            id_: Audited(id=id_, known=known.get(id_), seen=one, verdict=judge(known.get(id_), one, terms))
            for id_, one in zip(records, seen, strict=True)
        }

    async def _look_up(self, id_: str, record: Record | None, known: Known | None, shown: bool) -> Seen:
        """Look up a record, and its results if the verdict needs them."""
        results = None
        try:
            record = record or await self._patient.look_up(self._api.record, id_)
            if known.status is LedgerStatus.COUNTED if known else not shown:
                results = await self._patient.look_up(self._api.results, id_)
        except RecordNotFound:
            record = None
        except ApiError as error:
            self._failed += 1
            if error.reason in GONE or self._failed >= LOST_AFTER:
                raise
            return Seen(record=record, shown=shown, problem=str(error))
        self._failed = 0
        return Seen(record=record, results=results, shown=shown)

    def _clock(self) -> Clock:
        wall, platform = self._wall(), self._api.platform_now()
        return Clock(
            now=self._ledger.progress().time, wall=wall, platform=wall if platform is None else platform
        )


def _ended_in(window: Window, audited: Audited) -> bool:
    record = audited.seen.record
    return record is not None and record.execute_status is ExecuteStatus.DONE and window.holds(record.end)
