"""Where new records can be, which page to ask next, when the tail is proven read. PURE.

Rules:
1.  Positions are counted from the oldest record (0) to the newest (total - 1), whatever the order of
    the platform's pages; only `pages` knows how they lie over them.
2.  What is missing is known by counting. When the total grows by k, k records are *missing*: a `Gap`
    is opened over the new positions and the one below, and each record that a page shows for the
    first time makes one less: of the gap it lies in, else, if it ties, of the nearest. So the sum of what
    is missing is what no page has shown. Nothing is closed because it looks right.
3.  A gap is read from its top downwards. When its bottom is reached it goes deeper (twice as far each
    time) while more is missing than empty positions could hide (a tie or a late record landed before
    it), or while the lowest record seen is new (a deletion hid growth: the total told too little).
4.  New positions without a visible record (no host rows yet) are looked at again, at growing intervals
    and a little wider each time, because positions shift. What shows nothing for `HOLD` is given up, said
    aloud: a record without rows is never visible. Time in which nobody looked is no part of it.
5.  When the total shrinks, records were deleted somewhere: each gap reaches down by as much, and the
    tail is checked again at once. So it is when the first record changes while the total does not grow.
6.  The re-check reads the newest page again, just one, and goes deeper while the lowest record on it is
    new. While nothing changes it comes less and less often.
7.  The order is found by comparing the two ends; while both begin in the same second it is undecided,
    and pages are asked that hold everything, or the newest is taken to be last, as documented nowhere
    but seen.
8.  Pages are as small as what is to be read, at most 50 records and about 4 MB. Few pages that show much
    come before many that show little: what arrives adds up, and gaps within reach are read together.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

from exporter.discovery.gaps import (
    MAX_PAGE_SIZE,
    Bounds,
    Gap,
    View,
    concluded,
    explained,
    explained_elsewhere,
    is_due,
    joined,
    open_gap,
    passed,
    split_empty,
    touches,
    widened,
)
from exporter.discovery.pages import Order, PageRequest, covered, page_at
from exporter.model import Page, PageItem

IDLE_RECHECKS = 12  # while nothing changes at all, a re-check waits up to so many intervals: an hour
ADD_UP = 1.0  # seconds that growth told by a page adds up; the next poll's question for the total ends it
PATIENCE = 30.0  # seconds that a gap may wait for larger ones: two polls
PAGE_BYTES = 4_000_000  # memory on the platform is about 7 times the body


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What is known of the platform's pages; all of it is kept in the ledger."""

    total: int | None = None  # records on the platform; None: never asked
    told: float | None = None  # when that was told (platform's clock)
    order: Order | None = None
    first_id: str | None = None  # the record on page 1 of size 1
    first_start: float | None = None
    gaps: tuple[Gap, ...] = ()
    record_bytes: float = 0.0  # of a heavy recent one
    widest: int = 0  # records of the largest page that came well
    recheck_due: float = 0.0
    recheck_wait: float = 0.0  # until the re-check after that; 0: one interval
    ends_compared: int = -1  # the total when both ends were last compared to find the order


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a page brought: the tail after it, the records never seen before, records given up."""

    tail: Tail
    fresh: tuple[PageItem, ...] = ()
    given_up: int = 0
    first_low: float | None = None  # earliest start down to which a first reading has read all


def page_limit(tail: Tail, limit: int = MAX_PAGE_SIZE) -> int:
    """How many records a page may hold now (1 to `limit`), so that it stays under `PAGE_BYTES`."""
    # Records nobody has seen may be heavy: a page grows fourfold at most from what came well.
    return max(1, min(limit, 4 * tail.widest, int(PAGE_BYTES / max(tail.record_bytes, 1.0))))


def weighed(tail: Tail, records: int, size: int) -> Tail:
    """Learn from a page of `records` records and `size` bytes how heavy records are."""
    if not records:
        return tail
    # A heavier page counts at once, a lighter one slowly: too large a page is the danger.
    return replace(
        tail,
        record_bytes=max(size / records, tail.record_bytes / 2),
        widest=max(tail.widest, records) if size <= PAGE_BYTES else max(1, records // 2),
    )


def too_heavy(tail: Tail, request: PageRequest) -> Tail:
    """Learn that a page was refused as too large, or did not come in time: ask for half of it."""
    return replace(
        tail,
        record_bytes=max(tail.record_bytes, 2.0 * PAGE_BYTES / request.size),
        widest=max(1, request.size // 2),
    )


def probed(tail: Tail, page: Page, *, now: float, platform_now: float, recheck_interval: float) -> Tail:
    """Take in the answer to `PROBE`: growth opens a gap, anything odd makes a check due.

    `now` is our clock, `platform_now` the platform's.
    """
    total = page.total or 0
    first = page.items[0] if page.items else None
    # Without one, its rows blink or it has none: that tells nothing.
    changed = first is not None and tail.first_id not in {None, first.id}
    shifted = changed and tail.total is not None and total <= tail.total
    if changed or total != tail.total:
        soon = min(tail.recheck_due, now + recheck_interval)
        tail = replace(tail, recheck_wait=recheck_interval, recheck_due=soon)
    tail = _resized(tail, total, now, platform_now, due=now)
    tail = replace(tail, gaps=joined(tail.gaps))
    if first is not None:
        tail = replace(tail, first_id=first.id, first_start=first.start)
    longest = IDLE_RECHECKS * recheck_interval
    regular = not tail.recheck_due - longest <= now < tail.recheck_due  # our clock may jump back
    if (shifted or regular) and total and not any(gap.is_check for gap in tail.gaps):
        check = open_gap(max(0, total - page_limit(tail)), total, missing=0, now=now)
        tail = replace(tail, gaps=(*tail.gaps, replace(check, is_check=True)))
    if not regular:
        return tail
    wait = max(tail.recheck_wait, recheck_interval)
    return replace(tail, recheck_due=now + wait, recheck_wait=min(2 * wait, longest))


def first_reading(
    total: int, *, now: float, newest: int | None = None, since: float | None = None
) -> tuple[Gap, ...]:
    """Open the gap of a first start.

    It reads the newest `newest` records (None: all), and those that started after `since`.
    """
    if not total:
        return ()
    floor = 0 if newest is None else max(0, total - newest)
    top = max(floor, total - MAX_PAGE_SIZE)
    gap = open_gap(top, total, missing=total - top, now=now)
    return (replace(gap, floor=floor, floor_start=since, step=MAX_PAGE_SIZE),)


def next_page(tail: Tail, *, now: float, limit: int = MAX_PAGE_SIZE) -> PageRequest | None:
    """Which page to ask for now; None: nothing is to be read."""
    size = page_limit(tail, limit)
    gap = _next_gap(tail, size, now)
    total = tail.total
    if gap is None or not total:
        return None
    if tail.order is None and total > 1:
        if tail.ends_compared != total:
            return PageRequest(number=total, size=1)
        if total <= size:
            return PageRequest(number=1, size=total)
    # A page is one request however wide: where others are due within its reach, it shows these too.
    reach = gap.at - size
    within = (
        max(other.lo, reach) for other in tail.gaps if is_due(other, now) and reach < other.at <= gap.at
    )
    return page_at(min(within), gap.at, total=total, limit=size, order=tail.order)


def read(tail: Tail, page: Page, known: Container[str], *, now: float, platform_now: float) -> Reading:
    """Take in a page of the tail; `known` holds the ids of its records that the ledger has.

    Clocks are those of `probed`.
    """
    total = page.total if page.total is not None else tail.total or 0
    # Growth that the page itself tells lies above it, and stays a gap apart until the page has been taken in.
    # It adds up for a while: where records arrive all the time, each page would else be followed by another.
    tail = _ordered(_resized(tail, total, now, platform_now, due=now + ADD_UP), page)
    lo, hi = covered(page, total, tail.order)
    fresh = tuple(item for item in page.items if item.id not in known)
    view = View(lo=lo, hi=hi, page=page, known=known, empty_positions=max(0, hi - lo - len(page.items)))
    if is_first_reading(tail) and not any(touches(gap, view) for gap in tail.gaps):
        fresh = ()  # an end, read to find the order: a first reading counts positions, and comes by
    left = sorted((item.start or 0.0 for item in fresh), reverse=True)
    bounds = Bounds(total=total, now=now, platform_now=platform_now)
    gaps: list[Gap] = []
    empty: Gap | None = None
    for had in reversed(tail.gaps):
        gap = widened(had, view)
        found = explained(gap, left, view)
        gap = replace(gap, missing=gap.missing - found)
        if empty is None:
            gap, empty = split_empty(gap, view, bounds)
        gaps.append(passed(gap, view))
    gaps = explained_elsewhere(gaps, left, view)
    if fresh and any(gap.is_check and touches(gap, view) for gap in tail.gaps):
        tail = replace(tail, recheck_wait=0.0)
    after = [concluded(gap, bounds) if gap.at <= gap.lo else gap for gap in gaps]
    given_up = sum(gap.missing for gap, kept in zip(gaps, after, strict=True) if kept is None)
    kept_gaps = joined(gap for gap in (*after, empty) if gap is not None)
    return Reading(
        tail=replace(tail, gaps=kept_gaps),
        fresh=fresh,
        given_up=given_up,
        first_low=next((gap.low[0] for gap in gaps if gap.floor is not None and gap.low), None),
    )


def is_first_reading(tail: Tail) -> bool:
    """Whether the first reading of the platform's history is still going on."""
    return any(gap.floor is not None and gap.passes == 0 for gap in tail.gaps)


def end_first_reading(tail: Tail) -> Tail:
    """Go no further down than the first reading has come, as where pages are too heavy to go on."""
    return replace(
        tail,
        gaps=tuple(
            replace(gap, floor=gap.at, lo=gap.at, missing=gap.missing - (gap.at - gap.lo))
            if gap.floor is not None and gap.at > gap.lo
            else gap
            for gap in tail.gaps
        ),
    )


def backlog(tail: Tail, now: float) -> int:
    """Records that are known to be missing and due to be read."""
    return sum(gap.missing for gap in tail.gaps if is_due(gap, now))


def _next_gap(tail: Tail, size: int, now: float) -> Gap | None:
    """The gap of which a page of `size` shows most, and of these the newest.

    While records arrive between two pages each page could find but those few: they wait and add up. What has
    waited too long comes first, the longest before all, so that the rest of a gap never starves.
    """

    def waiting(gap: Gap) -> float:
        return now - gap.due if now - gap.due > PATIENCE else 0.0

    return max(
        (gap for gap in tail.gaps if is_due(gap, now)),
        key=lambda gap: (waiting(gap), min(gap.at - gap.lo, size), gap.hi),
        default=None,
    )


def _resized(tail: Tail, total: int, now: float, platform_now: float, *, due: float) -> Tail:
    """Rules 2 and 5: growth opens a gap, to be read when `due`; shrinking widens the open ones downwards."""
    told, tail = tail.told, replace(tail, told=platform_now)
    if tail.total is None or total == tail.total:
        return replace(tail, total=total)
    if total > tail.total:
        anchor = min(1, tail.total)
        gap = open_gap(tail.total - anchor, total, missing=total - tail.total, now=due)
        return replace(tail, total=total, gaps=(*tail.gaps, replace(gap, anchor=anchor, after=told)))
    gone = tail.total - total
    gaps = tuple(
        replace(
            gap,
            lo=max(0, min(gap.lo, total) - gone),
            hi=min(gap.hi, total),
            at=min(gap.at, total),
            floor=None if gap.floor is None else max(0, gap.floor - gone),
        )
        for gap in tail.gaps
    )
    return replace(tail, total=total, gaps=gaps if total else (), recheck_due=min(tail.recheck_due, now))


def _ordered(tail: Tail, page: Page) -> Tail:
    """Rule 7: compare the page with the record on page 1."""
    starts = [item.start for item in page.items if item.start is not None]
    tail = tail if tail.order else replace(tail, ends_compared=tail.total or 0)
    if not starts or page.number == 1:
        return tail
    # A first record without a start sorts before all others where the oldest come first.
    first = tail.first_start if tail.first_start is not None else float("-inf")
    if tail.order is None and first != max(starts):
        return replace(tail, order=Order.ASC if first < max(starts) else Order.DESC)
    if tail.order is Order.ASC and first > max(starts):
        return replace(tail, order=None, ends_compared=-1)
    return tail
