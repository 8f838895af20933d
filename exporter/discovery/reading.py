"""Which page to ask for next, and what a page or its failure means. PURE.

The numbers of rules are those of `tail`.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from exporter.discovery import order, sweep, unreadable
from exporter.discovery.evidence import CONFIRM_AFTER
from exporter.discovery.failing import narrower_page, single_page
from exporter.discovery.gaps import (
    Bounds,
    Gap,
    View,
    concluded,
    explained,
    explained_elsewhere,
    is_due,
    joined,
    passed,
    split_empty,
    touches,
    widened,
)
from exporter.discovery.pages import PageRequest, Purpose, covered, extended, page_at, top_below
from exporter.discovery.sweep import Sweep
from exporter.discovery.tail import Tail, accounted, corrected, is_first_reading
from exporter.discovery.weights import MAX_PAGE_SIZE, page_limit, refused
from exporter.model import LONG_AGO, Page, PageItem

ADD_UP = 1.0  # seconds that growth told by a page adds up; the next probe ends it
PATIENCE = 30.0  # seconds that a gap may wait for larger ones: two polls


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A record that a page showed for the first time."""

    item: PageItem
    is_grown: bool = False  # growth tells that it is new
    is_early: bool = False  # it lay where the first reading left an empty position
    is_late: bool = False  # only the sweep found it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a page brought: the tail after it, the records never seen before, records given up."""

    tail: Tail
    fresh: tuple[Fresh, ...] = ()
    given_up: int = 0
    first_low: float | None = None  # earliest start down to which a first reading has read all
    ended: Sweep | None = None  # a sweep that has come to its end


def next_page(tail: Tail, *, now: float, limit: int = MAX_PAGE_SIZE) -> PageRequest | None:
    """Which page to ask for now; None: nothing is to be read."""
    total = min(tail.total or 0, tail.told or 0)
    if not total or tail.turned is not None:
        return None
    size, avoid = page_limit(tail.weights, limit), tail.avoided
    if tail.narrowing is not None and tail.narrowing.lo < total:
        return narrower_page(tail, tail.narrowing, total)
    gap = _next_gap(tail, size, now, total, avoid)
    retry = min(
        (item for item in tail.unreadable if item.due <= now and item.position < total),
        key=lambda item: item.due,
        default=None,
    )
    # What waits too long comes first: where gaps are due all the time, no position would be tried again.
    if retry is not None and (gap is None or retry.due < min(gap.due, now - PATIENCE)):
        return single_page(tail, retry.position, Purpose.RETRY)
    if gap is None:
        return None
    if tail.order is None and total > 1:
        if tail.ends.first is not None and tail.ends.compared != total and total - 1 not in avoid:
            return PageRequest(number=total, size=1, purpose=Purpose.ENDS)
        if total <= size and not avoid:
            return PageRequest(number=1, size=total)
    # A page is one request however wide: where others are due within its reach, it shows these too.
    at = min(gap.at, total)
    reach = at - size
    within = (
        max(other.lo, reach) for other in tail.gaps if is_due(other, now) and reach < other.at <= gap.at
    )
    at = top_below(at, gap.lo, avoid)
    lo = min((lo for lo in within if lo < at), default=gap.lo)
    return page_at(lo, at, total=total, limit=size, order=tail.order, avoid=avoid)


def _next_gap(tail: Tail, size: int, now: float, total: int, avoid: frozenset[int]) -> Gap | None:
    """The gap of which a page of `size` shows most, and of these the newest.

    While records arrive between two pages each page could find but those few: they wait and add up. What has
    waited too long comes first, the longest before all, so that the rest of a gap never starves.
    """

    def waiting(gap: Gap) -> float:
        return now - gap.due if now - gap.due > PATIENCE else 0.0

    def is_readable(gap: Gap) -> bool:
        return is_due(gap, now) and top_below(min(gap.at, total), gap.lo, avoid) > gap.lo

    return max(
        (gap for gap in tail.gaps if is_readable(gap)),
        key=lambda gap: (waiting(gap), min(gap.at - gap.lo, size), gap.hi),
        default=None,
    )


def read(
    tail: Tail,
    page: Page,
    known: Container[str],
    *,
    now: float,
    platform_now: float,
    purpose: Purpose = Purpose.GAP,
    limit: int = MAX_PAGE_SIZE,
    unregistered: float = LONG_AGO,
) -> Reading:
    """Take in a page of the tail; `known` holds the ids of its records that the ledger has.

    `now` is ledger time, `platform_now` the platform's clock. Records that started by `unregistered` may
    be unknown because they are old: nobody has registered them, or they were forgotten.
    """
    total = page.total if page.total is not None else tail.told or 0
    wanted = _next_gap(tail, page_limit(tail.weights, limit), now, total, tail.avoided)
    # Growth that the page itself tells lies above it, and stays a gap apart until the page has been taken in.
    # It adds up for a while: where records arrive all the time, each page would else be followed by another.
    tail = accounted(tail, total, now=now, platform_now=platform_now, due=now + ADD_UP)
    tail = _compared(tail, page, platform_now)
    on_page = covered(page, total, tail.order)
    tail, was_missing = _readable(tail, *on_page, now=now)
    lo, hi = extended(*on_page, tail.avoided)
    new = [item for item in page.items if item.id not in known]
    was_first = is_first_reading(tail)
    if was_first and not any(touches(gap, lo, hi) for gap in tail.gaps):
        new = []  # an end, read to find the order: a first reading counts positions, and comes by
    empty_positions = max(0, on_page[1] - on_page[0] - len(page.items))
    fresh_ids = frozenset(
        item.id for item in new if unregistered <= LONG_AGO or (item.start or 0.0) > unregistered
    )
    view = View(lo=lo, hi=hi, page=page, fresh=fresh_ids, empty_positions=empty_positions)
    bounds = Bounds(
        total=tail.total or 0, now=now, platform_now=platform_now, record_bytes=tail.weights.record_bytes
    )
    left = sorted(new, key=lambda item: item.start or 0.0, reverse=True)
    grown = left[:was_missing]  # at a position that could not be read when it was counted
    del left[:was_missing]
    gaps, empty, found, early = _explained(tail, left, view, bounds, is_sweep=purpose is Purpose.SWEEP)
    after = [concluded(gap, bounds) if gap.at <= gap.lo else gap for gap in gaps]
    given_up = sum(gap.missing for gap, kept in zip(gaps, after, strict=True) if kept is None)
    kept_gaps = [gap for gap in (*after, empty) if gap is not None]
    if purpose is Purpose.GAP and wanted is not None and wanted in kept_gaps:
        kept_gaps[kept_gaps.index(wanted)] = replace(wanted, is_stalled=True)
    given_up = 0 if was_first else given_up
    # What no gap was missing may be what was given up before.
    hidden = max(0, tail.hidden - sum(item.id in fresh_ids for item in left)) + given_up
    reading = Reading(
        tail=replace(tail, gaps=joined(kept_gaps), hidden=hidden),
        fresh=_fresh(new, grown=[*grown, *(item for item in found if item.id in fresh_ids)], early=early),
        given_up=given_up,
        first_low=next((gap.low[0] for gap in gaps if gap.floor is not None and gap.low), None),
    )
    is_next = tail.sweep is not None and not tail.sweep.walk.done and lo < tail.sweep.walk.at <= hi
    if tail.sweep is not None and (purpose is Purpose.SWEEP or (purpose is Purpose.NARROW and is_next)):
        unexplained = {item.id for item in left}
        return _swept(
            reading, tail.sweep, page, unexplained=unexplained, now=now, platform_now=platform_now
        )
    return reading


def _fresh(
    new: Iterable[PageItem], *, grown: Iterable[PageItem], early: Iterable[PageItem]
) -> tuple[Fresh, ...]:
    grown_ids, early_ids = {item.id for item in grown}, {item.id for item in early}
    return tuple(
        Fresh(item=item, is_grown=item.id in grown_ids, is_early=item.id in early_ids) for item in new
    )


def _swept(
    reading: Reading,
    had: Sweep,
    page: Page,
    *,
    unexplained: Container[str],
    now: float,
    platform_now: float,
) -> Reading:
    """Take a page of the sweep for it, too; what no gap was missing was found late."""
    tail = reading.tail
    starts = [item.start for item in page.items]
    after = sweep.read(had, page, order=tail.order, starts=starts, avoid=tail.avoided)
    fresh = reading.fresh
    if not had.is_first:
        fresh = tuple(
            replace(one, is_late=one.item.id in unexplained)
            for one in fresh
            # What began before the window may have been forgotten: its page was read for what lies above.
            if one.item.id not in unexplained
            or (one.item.start >= had.oldest if one.item.start is not None else not had.walk.done)
        )
    reading = replace(reading, tail=replace(tail, sweep=after), fresh=fresh)
    if not sweep.is_over(had, after):
        return reading
    ends = order.swept(tail.ends, after.top, after.bottom, platform_now)
    tail = replace(tail, ends=ends, sweep=None)
    if ends.doubts > reading.tail.ends.doubts:
        again = replace(tail, sweep_due=min(tail.sweep_due, now + CONFIRM_AFTER))
        return replace(reading, tail=corrected(again, now))
    # What the gaps that it has read whole still miss, no page shows.
    closed = [gap for gap in tail.gaps if gap.opened < after.began and gap.lo >= after.walk.at]
    kept = tuple(gap for gap in tail.gaps if gap not in closed)
    hidden = after.walk.hidden - sum(gap.missing for gap in kept)  # each record once
    return replace(
        reading,
        tail=replace(tail, unswept=None, gaps=kept, hidden=max(0, hidden)),
        given_up=reading.given_up + sum(gap.missing for gap in closed),
        ended=after,
    )


def _compared(tail: Tail, page: Page, platform_now: float) -> Tail:
    starts = [item.start for item in page.items if item.start is not None]
    ends = order.compared(tail.ends, starts, total=tail.told or 0, is_first=page.number == 1)
    return replace(tail, ends=order.seen(ends, starts, platform_now))


def _readable(tail: Tail, lo: int, hi: int, *, now: float) -> tuple[Tail, int]:
    """A page over these positions was read; how many of the unreadable ones on it hold a record of growth."""
    missing = sum(item.is_missing for item in tail.unreadable if lo <= item.position < hi)
    had, narrowing = tail.narrowing, unreadable.passed(tail.narrowing, lo, hi)
    if had is not None and narrowing is None:  # none of its positions fails by itself
        tail = replace(tail, weights=refused(tail.weights, had.size))
    readable = unreadable.readable(tail.unreadable, lo, hi, now=now)
    return replace(tail, unreadable=readable, narrowing=narrowing), missing


def _explained(
    tail: Tail, left: list[PageItem], view: View, bounds: Bounds, *, is_sweep: bool
) -> tuple[list[Gap], Gap | None, list[PageItem], list[PageItem]]:
    """The gaps after a page, one for its empty positions; the records of growth; those that were early."""
    gaps: list[Gap] = []
    found: list[list[PageItem]] = []
    empty: Gap | None = None
    for had in reversed(tail.gaps):
        gap = widened(had, view)
        found.append(explained(gap, left, view))
        gap = replace(gap, missing=gap.missing - len(found[-1]))
        if empty is None and not is_sweep:
            gap, empty = split_empty(gap, view, bounds)
        gaps.append(gap)
    early = [item for gap, items in zip(gaps, found, strict=True) if gap.is_early for item in items]
    grown = [item for gap, items in zip(gaps, found, strict=True) if not gap.is_early for item in items]
    gaps, elsewhere = explained_elsewhere(gaps, left, view)
    if not is_sweep:
        gaps = [passed(gap, view, [*items, *left]) for gap, items in zip(gaps, found, strict=True)]
    return gaps, empty, [*grown, *elsewhere], early
