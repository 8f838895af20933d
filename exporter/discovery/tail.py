"""Where new records can be, and what the probe tells about it. PURE.

Rules:
1.  Positions are counted from the oldest record (0) to the newest (total - 1), whatever the order of
    the platform's pages; only `pages` knows how they lie over them.
2.  What is missing is known by counting. When the total grows by k, k records are *missing*: a `Gap`
    is opened over the new positions and the one below, and each record that a page shows for the
    first time makes one less: of the gap it lies in, else, if its start fits, of the nearest. So the sum
    of what is missing is the number of records that no page has shown.
3.  A gap is read from its top downwards. When its bottom is reached, it goes deeper (twice as far each
    time) while more is missing than empty positions could hide (a tie or a late record landed below
    it), or while the lowest record seen is new (a deletion hid growth). It goes on while it finds new
    records; without any, it ends `DEEPEST` positions deeper.
4.  New positions without a visible record (no host rows yet) are read again, at growing intervals.
    After `HOLD` they are given up: they count as hidden, and the sweep reads them again.
5.  When the total shrinks, records were deleted somewhere: each gap reaches down by as much, and the
    tail is checked again at once, as it is when the first record changes while the total does not grow.
    A total that falls is confirmed over a minute first (`evidence`), unless the oldest record went with it.
6.  The re-check reads the newest page again, just one, and goes deeper while the lowest record on it is
    new.
7.  The order: see `order`. While it may have changed, no page is read, for a minute or two at most.
8.  Pages are as small as what is to be read, at most 500 records and about 4 MB. The page that shows most
    comes first: records that arrive add up, and gaps within reach are read together.
9.  The sweep finds what all this misses (`sweep`). After an outage, in which deletions may have hidden any
    growth, it goes back to the last successful poll.
"""

from dataclasses import dataclass, field, replace

from exporter.discovery import evidence, order
from exporter.discovery.evidence import Evidence
from exporter.discovery.gaps import FIRST_STEP, NEWEST, Bounds, Gap, is_due, open_gap, past, read_anew
from exporter.discovery.merging import joined
from exporter.discovery.order import Ends, First
from exporter.discovery.pages import MAX_PAGE_SIZE, Order, Weights, page_limit
from exporter.discovery.probe import Probe
from exporter.discovery.scan import Sweep
from exporter.model import LONG_AGO, Clock, Page

OUTAGE = 1800.0  # seconds without an accepted total; shorter ones lie within the window of a sweep
FEW_DELETED = 0.9  # share of the records that stay: a larger drop is always confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A position whose page fails."""

    position: int
    due: float  # when it is tried again; ledger time
    soonest: float = 0.0  # not before this, whatever else becomes readable: a poll tries it once
    tries: int = 1
    reason: str = ""  # of the last failure
    after: float | None = None  # a record of growth lies there, which came after this (platform's clock)

    @property
    def is_missing(self) -> bool:
        """Whether a record of growth lies there: it is surely new."""
        return self.after is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Positions `lo` to `hi` (exclusive) of which at least one is unreadable."""

    lo: int
    hi: int
    bottom: int  # of the first page that failed
    size: int  # positions of that page


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What is known of the platform's pages, as kept in the ledger. Times are ledger time."""

    total: int | None = None  # records on the platform, as accepted; None: never asked
    last_total: int | None = None  # the last answer's total: positions of pages follow from it
    accepted_at: float | None = None  # when an answer last had an accepted total (platform's clock)
    fewer: Evidence | None = None  # answers with fewer records than accepted, or with older ones
    turned: Evidence | None = None  # answers that suggest another order
    empty: Evidence | None = None  # answers since the first start with no records
    probe: Probe = field(default_factory=Probe)
    ends: Ends = field(default_factory=Ends)
    gaps: tuple[Gap, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    narrowing: Narrowing | None = None
    weights: Weights = field(default_factory=Weights)
    recheck_due: float = 0.0
    sweep: Sweep | None = None  # the one in progress
    sweep_due: float = 0.0
    swept: float | None = None  # when the last whole sweep ended (our wall clock)
    unswept: float | None = None  # the next sweep must go back to this (platform's clock): see `unsure`
    hidden: int = 0  # positions without a visible record that were given up

    @property
    def order(self) -> Order | None:
        """How pages are sorted; None: undecided."""
        return self.ends.order

    @property
    def avoided(self) -> frozenset[int]:
        """Positions that no page may cover."""
        return frozenset(item.position for item in self.unreadable)

    @property
    def is_doubtful(self) -> bool:
        """Whether the last total is far below the accepted one: the positions of its pages may be wrong."""
        return self.fewer is not None and (self.last_total or 0) < FEW_DELETED * (self.total or 0)

    @property
    def invisible(self) -> int:
        """Records that no page shows, as far as pages were read."""
        return self.hidden + sum(gap.hidden for gap in self.gaps if gap.since is not None)

    @property
    def missing(self) -> int:
        """Records that are on the platform and not found yet."""
        return sum(gap.missing for gap in self.gaps) + sum(item.is_missing for item in self.unreadable)


def probed(tail: Tail, page: Page, *, clock: Clock, recheck_interval: float) -> Tail:
    """Take in the answer to a probe: growth opens a gap, anything unexpected makes a re-check due."""
    total, before, now = page.total or 0, tail.total, clock.now
    item = page.items[0] if page.items else None
    # Without an item, the record has no rows now: that is no evidence.
    first = First(id=item.id, start=item.start) if item is not None else None
    if tail.accepted_at is not None and clock.platform - tail.accepted_at > OUTAGE:
        tail = unsure(tail, tail.accepted_at, now)
    tail = _suspected(tail, first, total, now)
    is_suspect = tail.turned is not None
    is_changed = tail.ends.is_changed(first)
    if tail.total is not None and total > tail.total and not is_suspect:
        tail = corrected(replace(tail, ends=order.grown(tail.ends, first)), now)
    tail = accounted(tail, total, first=None if is_suspect else first, clock=clock, due=now)
    tail = _freed(tail, clock)
    is_shifted = False
    if first is not None and tail.fewer is None and not is_suspect:
        tail = replace(tail, ends=replace(tail.ends, first=first))
        is_shifted = is_changed and before is not None and total <= before
    is_regular = now >= tail.recheck_due
    if is_regular:
        tail = replace(tail, recheck_due=now + recheck_interval)
    if not (is_shifted or is_regular) or not total or any(gap.is_check for gap in tail.gaps):
        return tail
    top = tail.total or 0
    check = open_gap(max(0, top - min(NEWEST, page_limit(tail.weights))), top, missing=0, now=now)
    return replace(tail, gaps=(*tail.gaps, replace(check, is_check=True)))


def probe_moved(tail: Tail, probe: Probe) -> Tail:
    """Request another record from now on: the two can't be compared."""
    ends = tail.ends if probe.number == tail.probe.number else replace(tail.ends, first=None)
    return replace(tail, probe=probe, ends=ends)


def unsure(tail: Tail, since: float, now: float) -> Tail:
    """Start a sweep at once that goes back to `since`: records that came after it may have been missed.

    During an outage deletions hide growth; pages read in a wrong order show other positions.
    """
    before = since if tail.unswept is None else min(since, tail.unswept)
    return replace(tail, unswept=before, sweep=None, sweep_due=min(tail.sweep_due, now))


def corrected(tail: Tail, now: float) -> Tail:
    """Reverse an order that was misjudged, and read again what was read in that order."""
    if tail.order is None or tail.ends.doubts < order.CONTRADICTED:
        return tail
    top, opposite = (tail.total or 0) - 1, Order.ASC if tail.order is Order.DESC else Order.DESC
    tail = replace(
        tail,
        ends=replace(tail.ends, order=opposite, newest=None, moved=0, doubts=0),
        turned=None,
        narrowing=None,
        gaps=joined(read_anew(gap, now) for gap in tail.gaps),
        unreadable=tuple(replace(item, position=top - item.position) for item in reversed(tail.unreadable)),
        recheck_due=now,
    )
    return unsure(tail, LONG_AGO if tail.ends.agreed is None else tail.ends.agreed, now)


def _freed(tail: Tail, clock: Clock) -> Tail:
    """A new poll: no gap is stalled, and nothing waits for positions that are unreadable or gone."""
    total = tail.total or 0
    bounds = Bounds(total=total, clock=clock)
    if tail.narrowing is not None and tail.narrowing.lo >= total:
        tail = replace(tail, narrowing=None)
    gaps, hidden = [], tail.hidden
    for gap in tail.gaps:
        left = past(gap, tail.avoided, bounds) if is_due(gap, clock.now) else gap
        hidden += gap.hidden if left is None else 0
        gaps += [] if left is None else [replace(left, is_stalled=False)]
    known = tuple(item for item in tail.unreadable if item.position < total)
    return replace(tail, gaps=joined(gaps), hidden=hidden, unreadable=known)


def _suspected(tail: Tail, first: First | None, total: int, now: float) -> Tail:
    """Rule 7: if the first record looks like the last one for a minute, both ends are compared again."""
    if not order.may_have_turned(tail.ends, first, total):
        is_open = first is None and total and tail.turned is not None and not tail.turned.is_expired(now)
        return tail if is_open else replace(tail, turned=None)
    turned = evidence.added(tail.turned, total=total, now=now)
    if not turned.is_confirmed(now):
        return replace(tail, turned=turned)
    # Both ends are compared again; the next sweep verifies what is found.
    ends, due = Ends(first=first, agreed=tail.ends.agreed), min(tail.sweep_due, now)
    return replace(tail, turned=None, ends=ends, recheck_due=now, sweep_due=due)


def accounted(tail: Tail, total: int, *, first: First | None = None, clock: Clock, due: float) -> Tail:
    """Rules 2 and 5: growth opens a gap, due at `due`; deletions widen open gaps downwards.

    `first`: the record of the probe.
    """
    had, accepted_at = tail.total, tail.accepted_at
    tail = replace(tail, last_total=total)
    if had is None:
        return replace(tail, total=total, accepted_at=clock.platform)
    is_older = order.is_older(tail.ends, first)
    if total < had or is_older:
        fewer = evidence.added(tail.fewer, total=total, now=clock.now)
        # If the first record changed too, and few records are gone, no more evidence is needed.
        is_deletion = tail.ends.is_changed(first) and total > 0 and total >= FEW_DELETED * had
        if is_older or not is_deletion:
            if not fewer.is_confirmed(clock.now):
                return replace(tail, fewer=fewer)
            total = fewer.total
    tail = replace(tail, fewer=None, accepted_at=clock.platform)
    if total < had:
        return _shrunk(tail, had - total, total, clock.now)
    if total == had:
        return tail
    anchor = min(1, had)
    gap = open_gap(had - anchor, total, missing=total - had, now=due)
    return replace(tail, total=total, gaps=(*tail.gaps, replace(gap, anchor=anchor, after=accepted_at)))


def _shrunk(tail: Tail, gone: int, total: int, now: float) -> Tail:
    """So many records are gone, most likely the oldest ones."""
    gaps = (
        replace(
            gap,
            lo=max(0, min(gap.lo, total) - gone),
            hi=min(gap.hi, total),
            at=min(gap.at, total),
            floor=None if gap.floor is None else max(0, gap.floor - gone),
        )
        for gap in tail.gaps
    )
    moved = (replace(item, position=item.position - gone) for item in tail.unreadable)
    return replace(
        tail,
        total=total,
        gaps=tuple(gaps) if total else (),
        unreadable=tuple(item for item in moved if 0 <= item.position < total),
        narrowing=None,
        recheck_due=min(tail.recheck_due, now),
        # Later records start after all that were deleted.
        ends=tail.ends if total else Ends(order=tail.order),
    )


def first_reading(
    total: int, *, now: float, newest: int | None = None, since: float | None = None
) -> tuple[Gap, ...]:
    """The gap of the first reading: the newest `newest` records (None: all) that started after `since`."""
    if not total:
        return ()
    floor = 0 if newest is None else max(0, total - newest)
    top = max(floor, total - NEWEST)
    gap = open_gap(top, total, missing=total - top, now=now)
    return (replace(gap, floor=floor, floor_start=since, step=NEWEST, is_early=True),)


def is_first_reading(tail: Tail) -> bool:
    """Whether the first reading is in progress."""
    return any(gap.floor is not None and gap.passes == 0 for gap in tail.gaps)


def end_first_reading(tail: Tail) -> Tail:
    """End the first reading where it is, because its pages are too heavy to go on."""
    return replace(tail, gaps=tuple(gap for gap in tail.gaps if gap.floor is None))


def backlog(tail: Tail, now: float) -> int:
    """Missing records whose gaps are due."""
    return sum(gap.missing for gap in tail.gaps if is_due(gap, now))


def is_late_reading(tail: Tail, now: float) -> bool:
    """Whether old records may be read now: growth of a downtime, or records that a deletion hid."""
    deep = any(gap.is_check and gap.step > FIRST_STEP for gap in tail.gaps)
    return deep or tail.unswept is not None or backlog(tail, now) > MAX_PAGE_SIZE


def is_behind(tail: Tail, now: float) -> bool:
    """Whether records may have finished long ago that were not read yet, as after a downtime."""
    is_unsure = tail.fewer is not None or tail.turned is not None or tail.empty is not None
    return is_unsure or backlog(tail, now) > 0 or any(gap.is_check for gap in tail.gaps)
