"""What a page of the tail or of the sweep means. PURE. Rule numbers are those of `tail`."""

from collections.abc import Container
from dataclasses import dataclass, replace

from exporter.discovery import order, sweep
from exporter.discovery.choosing import next_gap
from exporter.discovery.evidence import CONFIRM_AFTER
from exporter.discovery.gaps import (
    DEEPEST,
    Bounds,
    Gap,
    View,
    concluded,
    explained,
    explained_elsewhere,
    passed,
    reread,
    split_empty,
    touches,
    widened,
)
from exporter.discovery.merging import joined
from exporter.discovery.pages import Purpose, covered, extended, page_limit
from exporter.discovery.scan import Sweep
from exporter.discovery.tail import Tail, accounted, corrected, is_first_reading
from exporter.discovery.unreadable import readable
from exporter.model import LONG_AGO, Clock, Page, PageItem

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
    first: Gap | None = None  # of the first reading, with this page
    first_unseen: int = 0  # positions that it passed on this page without seeing their record
    ended: Sweep | None = None  # a sweep that ended with this page


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The gaps with a page, and which of its new records they were missing."""

    gaps: list[Gap]
    empty: Gap | None  # a new gap: the empty positions of the page
    grown: list[PageItem]  # records that growth explains
    early: list[PageItem]  # records at empty positions of the first reading
    left: list[PageItem]  # no gap was missing them


def read(
    tail: Tail,
    page: Page,
    known: Container[str],
    *,
    clock: Clock,
    purpose: Purpose = Purpose.GAP,
    unregistered: float = LONG_AGO,
    bottom: float = float("inf"),
) -> Reading:
    """Take in a page of the tail; `known` holds the ids of its records that the ledger has.

    Records that started by `unregistered` may be unknown because they are old: they were never registered, or
    were pruned. From position `bottom` upwards all were seen and registered, whatever their times.
    """
    total = page.total if page.total is not None else tail.last_total or 0
    wanted = next_gap(tail, page_limit(tail.weights), clock.now, total) if purpose is Purpose.GAP else None
    # Growth that this page tells lies above it: it stays a gap of its own until the page has been taken in.
    # It is due a little later: while records arrive all the time, each page would be followed by another.
    tail = accounted(tail, total, clock=clock, due=clock.now + ADD_UP)
    tail = replace(tail, ends=order.compared(tail.ends, page, total=total, platform_now=clock.platform))
    lo, hi = covered(page, total, tail.order)
    empty_positions = max(0, hi - lo - len(page.items))
    tail, grew = readable(tail, lo, hi, now=clock.now)
    lo, hi = extended(lo, hi, tail.avoided)
    new = [item for item in page.items if item.id not in known]
    if is_first_reading(tail) and not any(touches(gap, lo, hi) for gap in tail.gaps):
        new = []  # a page of the ends: a first reading counts positions and comes to it later
    may_be_old = lo < bottom and unregistered > LONG_AGO
    view = View(
        lo=lo,
        hi=hi,
        page=page,
        fresh={item.id for item in new if not may_be_old or (item.start or 0.0) > unregistered},
        empty_positions=empty_positions,
        purpose=purpose,
        is_above=lo >= bottom,
    )
    bounds = Bounds(total=tail.total or 0, clock=clock, record_bytes=tail.weights.record_bytes)
    return _reading(tail, new, grew, view, bounds, stalls=wanted)


def _reading(
    tail: Tail, new: list[PageItem], grew: list[float], view: View, bounds: Bounds, *, stalls: Gap | None
) -> Reading:
    """Take in the new records of a page.

    `grew`: for each record that came while its position was unreadable, the time after which it came.
    """
    left = sorted(new, key=lambda item: item.start or 0.0, reverse=True)
    regained = {item.id for item in left[: len(grew)]}
    after = _explained(tail, left[len(grew) :], view, bounds)
    grown = regained.union(item.id for item in after.grown)
    early, late = ({item.id for item in items} for items in (after.early, after.left))
    reading = _concluded(tail, after, view, bounds, stalls=stalls)
    if moved := grew[len(regained) :]:  # known records lie there now, so these are still missing
        # It goes no deeper, as that would read everything: the record shows elsewhere, or to the sweep.
        again = replace(reread(view, bounds, missing=len(moved), after=min(moved)), barren=DEEPEST)
        reading = replace(reading, tail=replace(reading.tail, gaps=joined((*reading.tail.gaps, again))))
    reading = replace(
        reading,
        fresh=tuple(
            Fresh(
                item=item,
                is_grown=item.id in grown,
                is_early=item.id in early,
                is_within=item.id in view.fresh or item.id in regained,
                is_above=view.is_above,
            )
            for item in new
        ),
    )
    had = tail.sweep
    is_next = had is not None and not had.walk.done and view.lo < had.walk.at <= view.hi
    is_its = view.purpose is Purpose.SWEEP or (view.purpose is Purpose.NARROW and is_next)
    if had is None or not is_its or tail.is_doubtful:
        return reading
    return _swept(reading, had, view.page, unexplained=late, clock=bounds.clock)


def _explained(tail: Tail, left: list[PageItem], view: View, bounds: Bounds) -> Explained:
    """Let the new records of a page (newest first) explain what gaps miss; a sweep reads no gap."""
    is_sweep = view.purpose is Purpose.SWEEP
    gaps: list[Gap] = []
    found: list[list[PageItem]] = []
    grown: list[PageItem] = []
    early: list[PageItem] = []
    empty: Gap | None = None
    for had in reversed(tail.gaps):
        gap = widened(had, view)
        found.append(explained(gap, left, view))
        gap = replace(gap, missing=gap.missing - len(found[-1]))
        if empty is None and not is_sweep:
            gap, empty = split_empty(gap, view, bounds)
        (early if gap.is_early else grown).extend(found[-1])
        gaps.append(gap)
    gaps, elsewhere = explained_elsewhere(gaps, left, view, now=bounds.clock.platform)
    if not is_sweep:
        gaps = [passed(gap, view, [*items, *left]) for gap, items in zip(gaps, found, strict=True)]
    return Explained(gaps=gaps, empty=empty, grown=[*grown, *elsewhere], early=early, left=left)


def _concluded(tail: Tail, after: Explained, view: View, bounds: Bounds, *, stalls: Gap | None) -> Reading:
    """Conclude the gaps whose bottom the page reached; `stalls`: waits if the page did not change it."""
    gaps = [concluded(gap, bounds) if gap.at <= gap.lo else gap for gap in after.gaps]
    closed = (gap.hidden for gap, left in zip(after.gaps, gaps, strict=True) if left is None)
    given_up = 0 if is_first_reading(tail) else sum(closed)
    open_gaps = (gap for gap in (*gaps, after.empty) if gap is not None)
    open_gaps = (replace(gap, is_stalled=True) if gap == stalls else gap for gap in open_gaps)
    # A record that no gap was missing may have been given up before.
    hidden = max(0, tail.hidden - sum(item.id in view.fresh for item in after.left)) + given_up
    pairs = zip(tail.gaps, reversed(after.gaps), strict=True)
    before, first = next(((had, gap) for had, gap in pairs if had.floor is not None), (None, None))
    return Reading(
        tail=replace(tail, gaps=joined(open_gaps), hidden=hidden),
        given_up=given_up,
        first=first,
        first_unseen=before.at - first.at - len(after.early) if before and first else 0,
    )


def _swept(reading: Reading, had: Sweep, page: Page, *, unexplained: Container[str], clock: Clock) -> Reading:
    """Let the sweep take in its page; records that no gap was missing were found late."""
    tail = reading.tail
    starts = [item.start for item in page.items]
    after = sweep.read(had, page, order=tail.order, starts=starts, avoid=tail.avoided)
    fresh = reading.fresh
    if not had.is_first:
        fresh = tuple(
            replace(one, is_late=one.item.id in unexplained)
            for one in fresh
            # Other records that started before the window may have been pruned.
            if one.is_within
            or one.item.id not in unexplained
            or (one.item.start >= had.oldest if one.item.start is not None else not had.walk.done)
        )
    reading = replace(reading, tail=replace(tail, sweep=after), fresh=fresh)
    is_over = had.walk.done or (after.walk.done and (after.walk.at == 0 or after.bottom is not None))
    if not is_over:  # the other end is to be read too
        return reading
    ends = order.swept(tail.ends, after.top, after.bottom, clock.platform)
    tail = replace(tail, ends=ends, sweep=None)
    if ends.doubts > reading.tail.ends.doubts:
        again = replace(tail, sweep_due=min(tail.sweep_due, clock.now + CONFIRM_AFTER))
        return replace(reading, tail=corrected(again, clock.now))
    # Records that are missing from gaps within its reach are hidden.
    closed = [gap for gap in tail.gaps if gap.opened < after.began and gap.lo >= after.walk.at]
    gaps = tuple(gap for gap in tail.gaps if gap not in closed)
    hidden = after.walk.hidden - sum(gap.hidden for gap in gaps)  # each record once
    return replace(
        reading,
        tail=replace(tail, unswept=None, gaps=gaps, hidden=max(0, hidden)),
        given_up=reading.given_up + sum(gap.hidden for gap in closed),
        ended=after,
    )
