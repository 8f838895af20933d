"""What a round of a poll means: what was gathered → the changes to commit. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.discovery import tail as tails
from exporter.discovery.pages import Order
from exporter.discovery.tail import Tail
from exporter.model import Page, PageItem, Series
from exporter.tracking.counting import Increment, known_end
from exporter.tracking.plausible import hours_off
from exporter.tracking.tracker import (
    Clock,
    CountingStart,
    Lookup,
    Outcome,
    Rules,
    Settlement,
    Tracked,
    after_lookup,
    discovered,
    follow,
    is_unreadable,
    retried,
)

ADOPT_BYTES = 32_000_000  # the first reading goes no further down than this takes
DISCOVERED = Increment(series=Series("job_records_discovered_total"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRead:
    """A page of the tail, which of its records the ledger knows, and its size in bytes."""

    page: Page
    known: frozenset[str]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be committed, in one transaction; and what of it is worth a line in the log."""

    tail: Tail
    counting_start: CountingStart
    found: tuple[Tracked, ...] = ()  # records seen for the first time
    changed: tuple[Tracked, ...] = ()  # records that stay in the open set
    settlements: tuple[Settlement, ...] = ()
    increments: tuple[Increment, ...] = ()  # that are not a settlement's
    latest: Mapping[Series, float] = field(default_factory=dict)
    order: Order | None = None  # of the pages, where this round found it out
    given_up: int = 0  # records that never came into any page
    adopted: bool = False  # the first reading ended
    unreadable: Mapping[str, str] = field(default_factory=dict)  # id → why; records that newly can't be read
    hours_off: Mapping[str, float] = field(default_factory=dict)  # id → hours; times that can't be true


def begin(
    tail: Tail, page: Page, *, clock: Clock, adopt: int, history: float | None, recheck_interval: float
) -> Changes:
    """First start: all that is finished now is the baseline (rule 2), unless history is wanted.

    `history`: count what ended up to so many seconds ago; None: all there is; 0: nothing.
    """
    total = page.total or 0
    baseline_end = 0.0 if history is None else clock.platform - history
    gaps = tails.first_reading(
        total,
        now=clock.now,
        newest=adopt if history == 0 else None,
        since=baseline_end if history else None,
    )
    tail = tails.probed(
        tail, page, now=clock.now, platform_now=clock.platform, recheck_interval=recheck_interval
    )
    # With all of history counted, or none there to be the baseline, every record is surely new.
    floor = 0.0 if history is None or not total else None
    return Changes(
        tail=replace(tail, gaps=gaps, recheck_due=clock.now + recheck_interval),
        counting_start=CountingStart(baseline_end=baseline_end, floor=floor),
    )


def decide(
    tail: Tail,
    counting_start: CountingStart,
    followed: Mapping[str, Tracked],
    *,
    read: PageRead | None,
    lookups: Iterable[Lookup],
    clock: Clock,
    rules: Rules,
) -> Changes:
    """Take in a page (None: none was read) and looks at records that are followed."""
    changes = Changes(tail=tail, counting_start=counting_start)
    if read is not None:
        changes = _paged(tail, counting_start, read, clock, rules)
    begun = [item for item in changes.found if discovered(None, item)]
    changed: dict[str, Tracked] = {}
    settlements: list[Settlement] = []
    unreadable: dict[str, str] = {}
    odd: dict[str, float] = {}
    recovered = False
    for lookup in lookups:
        before = followed[lookup.id]
        after = after_lookup(before, lookup, clock=clock, rules=rules)
        if discovered(before, after):
            begun.append(before)
        off = hours_off(before, lookup.record, began=counting_start.began, clock=clock)
        if off is not None:
            odd[lookup.id] = off
        recovered |= is_unreadable(before) and lookup.failure is None and lookup.record is not None
        if isinstance(after, Settlement):
            settlements.append(after)
            continue
        changed[lookup.id] = after
        if is_unreadable(after) and not is_unreadable(before):
            unreadable[lookup.id] = lookup.failure or ""
    if recovered:
        changed = {item.id: item for item in retried(followed.values(), clock=clock)} | changed
    return replace(
        changes,
        changed=tuple(changed.values()),
        settlements=tuple(settlements),
        increments=(DISCOVERED,) * len(begun),
        latest=_latest(settlements, clock.platform),
        unreadable=unreadable,
        hours_off=odd,
    )


def _paged(tail: Tail, counting_start: CountingStart, read: PageRead, clock: Clock, rules: Rules) -> Changes:
    """Take in a tail page: the records on it that are new, and how far a first reading came."""
    items = read.page.items
    first = tails.is_first_reading(tail)
    reading = tails.read(
        tails.weighed(tail, len(items), read.size),
        read.page,
        read.known,
        now=clock.now,
        platform_now=clock.platform,
    )
    new = tuple(_followed(item, counting_start, clock, rules) for item in reading.fresh)
    after = reading.tail
    if first:
        counting_start = replace(
            counting_start, lowest=reading.first_low, read=counting_start.read + read.size
        )
        # Only where history counts nothing may it end early: there it is for adopting what is open.
        if counting_start.read > ADOPT_BYTES and counting_start.baseline_end and not _counts_history(after):
            after = tails.end_first_reading(after)
        if not tails.is_first_reading(after) and counting_start.floor is None:
            lowest = counting_start.lowest
            counting_start = replace(
                counting_start, floor=counting_start.baseline_end if lowest is None else lowest
            )
    return Changes(
        tail=after,
        counting_start=counting_start,
        found=new,
        order=after.order if after.order is not tail.order else None,
        given_up=0 if first else reading.given_up,
        adopted=first and not tails.is_first_reading(after),
    )


def _followed(item: PageItem, counting_start: CountingStart, clock: Clock, rules: Rules) -> Tracked:
    """Follow a record that was found; one as old as what the first reading met is doubtful."""
    floor = counting_start.floor
    return follow(
        item,
        doubtful=floor is None or item.start is None or item.start <= floor,
        late=floor is not None,
        counting_start=counting_start,
        clock=clock,
        rules=rules,
    )


def _counts_history(tail: Tail) -> bool:
    return any(gap.floor_start is not None for gap in tail.gaps)


def _latest(settlements: Iterable[Settlement], platform_now: float) -> Mapping[Series, float]:
    """The last end of each result."""
    latest: dict[Series, float] = {}
    for item in settlements:
        if item.outcome is not Outcome.SETTLED or item.record is None:
            continue
        end = known_end(item.record, platform_now)
        if end is not None:
            result = str(item.record.result_status or "unknown")
            series = Series("job_record_last_finished_timestamp_seconds", (("result_status", result),))
            latest[series] = max(latest.get(series, 0.0), end)
    return latest
