"""What a page of the tail or of the sweep means. PURE. Rule numbers are those of `tail`."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from exporter.discovery import order, sweep, unreadable
from exporter.discovery.choosing import next_gap
from exporter.discovery.evidence import CONFIRM_AFTER
from exporter.discovery.gaps import (
    Bounds,
    Gap,
    View,
    concluded,
    explained,
    explained_elsewhere,
    passed,
    split_empty,
    touches,
    widened,
)
from exporter.discovery.merging import joined
from exporter.discovery.pages import Purpose, covered, extended
from exporter.discovery.sweep import Sweep
from exporter.discovery.tail import Tail, accounted, corrected, is_first_reading
from exporter.discovery.weights import MAX_PAGE_SIZE, page_limit, refused
from exporter.model import LONG_AGO, Page, PageItem

ADD_UP = 1.0  # seconds that growth told by a page adds up; the next probe ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A record that a page showed for the first time."""

    item: PageItem
    is_grown: bool = False  # growth explains it
    is_early: bool = False  # it lies where the first reading left an empty position
    is_within: bool = False  # it lies where all visible records of before are registered
    is_above: bool = False  # and where none of before was invisible
    is_late: bool = False  # only the sweep found it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The result of a page."""

    tail: Tail
    fresh: tuple[Fresh, ...] = ()
    given_up: int = 0  # records that no page showed
    first_low: float | None = None  # start down to which the first reading has read everything
    first_at: int | None = None  # position down to which the first reading has read
    first_unseen: int = 0  # positions that it passed on this page without seeing their record
    ended: Sweep | None = None  # a sweep that ended with this page


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
    bottom: float = float("inf"),
) -> Reading:
    """Take in a page of the tail; `known` holds the ids of its records that the ledger has.

    `now` is ledger time, `platform_now` the platform's clock. Records that started by `unregistered` may
    be unknown because they are old: they were never registered, or were pruned. From position `bottom`
    upwards all were seen and registered, whatever their times.
    """
    total = page.total if page.total is not None else tail.told or 0
    wanted = next_gap(tail, page_limit(tail.weights, limit), now, total, tail.avoided)
    # Growth that this page tells lies above it: it stays a gap of its own until the page has been taken in.
    # It is due a little later: while records arrive all the time, each page would be followed by another.
    tail = accounted(tail, total, now=now, platform_now=platform_now, due=now + ADD_UP)
    tail = _compared(tail, page, platform_now)
    on_page = covered(page, total, tail.order)
    tail, was_missing = _readable(tail, *on_page, now=now)
    lo, hi = extended(*on_page, tail.avoided)
    new = [item for item in page.items if item.id not in known]
    if is_first_reading(tail) and not any(touches(gap, lo, hi) for gap in tail.gaps):
        new = []  # a page of the ends: a first reading counts positions and comes to it later
    is_above = lo >= bottom
    old = [item.id for item in new if not is_above and LONG_AGO < unregistered >= (item.start or 0.0)]
    view = View(
        lo=lo,
        hi=hi,
        page=page,
        fresh=frozenset(item.id for item in new).difference(old),
        empty_positions=max(0, on_page[1] - on_page[0] - len(page.items)),
    )
    bounds = Bounds(
        total=tail.total or 0, now=now, platform_now=platform_now, record_bytes=tail.weights.record_bytes
    )
    reading, unexplained = _taken(
        tail,
        new,
        was_missing,
        view,
        bounds,
        stalls=wanted if purpose is Purpose.GAP else None,
        is_above=is_above,
        is_sweep=purpose is Purpose.SWEEP,
    )
    had = tail.sweep
    is_next = had is not None and not had.walk.done and lo < had.walk.at <= hi
    if had is None or not (purpose is Purpose.SWEEP or (purpose is Purpose.NARROW and is_next)):
        return reading
    return _swept(reading, had, page, unexplained=unexplained, now=now, platform_now=platform_now)


def _taken(
    tail: Tail,
    new: list[PageItem],
    was_missing: int,
    view: View,
    bounds: Bounds,
    *,
    stalls: Gap | None,
    is_above: bool,
    is_sweep: bool,
) -> tuple[Reading, frozenset[str]]:
    """Let the new records of a page explain what gaps miss; the ids of those that no gap was missing.

    `was_missing`: records of growth at positions that were unreadable. `stalls`: the gap that waits for the
    next poll if the page does not change it.
    """
    left = sorted(new, key=lambda item: item.start or 0.0, reverse=True)
    grown = left[:was_missing]
    del left[:was_missing]
    gaps, empty, found, early = _explained(tail, left, view, bounds, is_sweep=is_sweep)
    after = [concluded(gap, bounds) if gap.at <= gap.lo else gap for gap in gaps]
    given_up = sum(gap.missing for gap, kept in zip(gaps, after, strict=True) if kept is None)
    given_up = 0 if is_first_reading(tail) else given_up
    kept_gaps = [
        replace(gap, is_stalled=True) if gap == stalls else gap for gap in (*after, empty) if gap is not None
    ]
    # A record that no gap was missing may have been given up before.
    hidden = max(0, tail.hidden - sum(item.id in view.fresh for item in left)) + given_up
    was_first, is_first = ((gap for gap in each if gap.floor is not None) for each in (tail.gaps, gaps))
    first_gap, first_after = next(was_first, None), next(is_first, None)
    first_at = first_after.at if first_after else None
    reading = Reading(
        tail=replace(tail, gaps=joined(kept_gaps), hidden=hidden),
        fresh=_fresh(
            new,
            grown=[*grown, *found],
            early=early,
            within={item.id for item in new if item.id in view.fresh or item in grown},
            is_above=is_above,
        ),
        given_up=given_up,
        first_low=first_after.low[0] if first_after and first_after.low else None,
        first_at=first_at,
        first_unseen=first_gap.at - first_at - len(early) if first_gap and first_at is not None else 0,
    )
    return reading, frozenset(item.id for item in left)


def _fresh(
    new: Iterable[PageItem],
    *,
    grown: Iterable[PageItem],
    early: Iterable[PageItem],
    within: Container[str],
    is_above: bool,
) -> tuple[Fresh, ...]:
    grown_ids, early_ids = {item.id for item in grown}, {item.id for item in early}
    return tuple(
        Fresh(
            item=item,
            is_grown=item.id in grown_ids,
            is_early=item.id in early_ids,
            is_within=item.id in within,
            is_above=is_above,
        )
        for item in new
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
    """Let the sweep take in its page; records that no gap was missing were found late."""
    tail = reading.tail
    starts = [item.start for item in page.items]
    after = sweep.read(had, page, order=tail.order, starts=starts, avoid=tail.avoided)
    fresh = reading.fresh
    if not had.is_first:
        fresh = tuple(
            replace(one, is_late=one.item.id in unexplained)
            for one in fresh
            # Records that started before the window may have been pruned.
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
    # Records that are missing from gaps within its reach are hidden.
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
    """A page over these positions was read: forget unreadable ones; how many of these hold new records."""
    missing = sum(item.is_missing for item in tail.unreadable if lo <= item.position < hi)
    had, narrowing = tail.narrowing, unreadable.passed(tail.narrowing, lo, hi)
    if had is not None and narrowing is None:  # the page failed because of its size
        tail = replace(tail, weights=refused(tail.weights, had.size))
    readable = unreadable.readable(tail.unreadable, lo, hi, now=now)
    return replace(tail, unreadable=readable, narrowing=narrowing), missing


def _explained(
    tail: Tail, left: list[PageItem], view: View, bounds: Bounds, *, is_sweep: bool
) -> tuple[list[Gap], Gap | None, list[PageItem], list[PageItem]]:
    """The gaps after a page, one for its empty positions, the records of growth, and early records."""
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
