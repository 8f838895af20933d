"""A gap: positions that hold records no page has shown yet. How it is read, deepened, kept, closed. PURE.

The numbers of rules are those of `tail`.
"""

from collections.abc import Collection, Container
from dataclasses import dataclass, replace

from exporter.discovery.pages import top_below
from exporter.model import Page, PageItem, backoff

NEWEST = 50  # positions of the newest records, where rows may still come
HOLD = 900.0  # seconds that an empty position is read again: rows came late by seconds, never minutes
TIE = 5.0  # seconds: starts are whole ones, a total is taken in a moment after it was told, clocks differ
FIRST_STEP = 5  # positions that a gap goes deeper at first: ties are a handful
MAX_STEP = 400  # and at most; a gap that is read again is not wider than this, either
DEEPEST = 800  # positions that a gap goes deeper without anything new: what lies deeper, the sweep finds
FIRST_RELOOK = 1.0  # seconds until an empty position is read again; each wait is four times as long
RELOOK_LIMIT = 300.0  # and at most
RELOOK_WIDER = 2  # positions by which each look is wider on either side: positions shift
RELOOK_BYTES = 100_000  # a second: where records are heavy, looks come less often


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Positions `lo` to `hi` (exclusive) that hold records no page has shown yet, or may hold them.

    Times are ledger time, but for `after`, `until` and `floor_start` (the platform's clock).
    """

    lo: int
    hi: int
    at: int  # what lies from here up is read in this pass
    missing: int  # records that must be found
    due: float  # when it is to be read
    opened: float
    since: float | None = None  # when its bottom was first reached with nothing new above it
    empty_positions: int = 0  # seen in this pass; a first pass hands them on: see `split_empty`
    low: tuple[float, str] | None = None  # start and id of the lowest record seen in this pass
    low_known: bool = False  # and whether it was known before this pass
    anchor: int = 0  # positions at the bottom that were read before: nothing that is missing lies there
    after: float | None = None  # of growth: it was not there yet at this time
    step: int = FIRST_STEP
    passes: int = 0  # that have ended
    is_productive: bool = False  # something new was seen since its bottom was last reached
    barren: int = 0  # positions that it has gone deeper since then
    is_stalled: bool = False  # a page brought it nothing: it waits for the next poll
    is_check: bool = False  # nothing is known to be missing: a re-check
    until: float | None = None  # what is missing had begun by then; None: nothing known
    floor: int | None = None  # first reading: go on down to this position
    floor_start: float | None = None  # and to records that started at this time
    is_early: bool = False  # what it misses was there at the first reading, or may have been


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page over the positions that it covers."""

    lo: int
    hi: int
    page: Page
    fresh: Container[str]  # ids of what is new on it; not of what is unknown because it is old
    empty_positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What no position and no time can be above, and how heavy a record is."""

    total: int
    now: float
    platform_now: float
    record_bytes: float = 0.0


def open_gap(lo: int, hi: int, *, missing: int, now: float) -> Gap:
    """Begin to look for `missing` records at positions `lo` to `hi`."""
    return Gap(lo=lo, hi=hi, at=hi, missing=missing, due=now, opened=now)


def read_anew(gap: Gap, now: float) -> Gap:
    """Read a gap again from its top, as other positions were read under a wrong order."""
    again = replace(gap, at=gap.hi, due=now, since=None, low=None, low_known=False, barren=0, passes=0)
    if gap.floor is None:
        return again
    return replace(again, lo=max(gap.floor, gap.hi - NEWEST), missing=0)  # pages tell what it misses


def is_due(gap: Gap, now: float) -> bool:
    """Whether the gap is to be read now."""
    return gap.due <= now and not gap.is_stalled


def explained(gap: Gap, left: list[PageItem], view: View) -> list[PageItem]:
    """The new records of a page that a gap was missing; they leave `left` (newest first).

    A record that began after the gap was known is none of them: it came with a deletion that hid growth. Nor
    is one that may be unknown because it is old, once a gap of growth was read.
    """
    room = min(view.hi, gap.hi) - max(view.lo, gap.lo + gap.anchor)
    end = float("inf") if gap.until is None else gap.until
    takes_old = gap.since is None or gap.is_early
    fitting = [
        item
        for item in left
        if (item.start is None or item.start <= end) and (takes_old or item.id in view.fresh)
    ]
    found = fitting[: max(0, min(gap.missing, room))]
    for item in found:
        left.remove(item)
    return found


def explained_elsewhere(
    gaps: list[Gap], left: list[PageItem], view: View
) -> tuple[list[Gap], list[PageItem]]:
    """Let the records that no gap on their page was missing explain what the nearest other ones miss.

    A record that ties with others lands below the positions that its growth was taken to be, and moves up
    what lies above it. One that had begun before the growth was there came with a deletion that hid it, and
    explains none.
    """
    after, all_found = list(gaps), []
    for number in sorted(range(len(gaps)), key=lambda number: abs(gaps[number].lo - view.lo)):
        gap = gaps[number]
        if gap.after is None:
            continue
        begin, end = gap.after - TIE, float("inf") if gap.until is None else gap.until
        fitting = [item for item in left if item.start is None or begin <= item.start <= end]
        found = fitting[: gap.missing]
        after[number] = replace(gap, missing=gap.missing - len(found))
        for item in found:
            left.remove(item)
        all_found += found
    return after, all_found


def passed(gap: Gap, view: View, found: Collection[PageItem] = ()) -> Gap:
    """Move a gap's reading down over a page that touches it from above; other pages leave it.

    `found`: records that this gap or no gap was missing. Only these prolong a gap that is read again.
    """
    if not touches(gap, view.lo, view.hi):
        return gap
    is_new = any(item.id in view.fresh for item in (found if gap.passes else view.page.items))
    lowest = min(((item.start, item.id) for item in view.page.items if item.start is not None), default=None)
    low, low_known = gap.low, gap.low_known
    if lowest is not None and (low is None or lowest < low):
        low, low_known = lowest, lowest[1] not in view.fresh
    # What the page showed further down is read too; a first reading counts its positions and stays.
    lo = gap.lo if gap.floor is not None else min(gap.lo, view.lo)
    if gap.is_check:  # it is one page, however that lies: what little is left over would cost another
        lo = view.lo
    return replace(
        gap,
        lo=lo,
        at=max(lo, view.lo),
        empty_positions=gap.empty_positions + (view.empty_positions if gap.passes else 0),
        low=low,
        low_known=low_known,
        is_productive=gap.is_productive or is_new,
    )


def touches(gap: Gap, lo: int, hi: int) -> bool:
    """Whether a page over these positions goes on with a gap's reading from above."""
    return lo < gap.at <= hi


def widened(gap: Gap, view: View) -> Gap:
    """A first reading counts in what a page shows below it: every position is missing until it is seen."""
    if gap.floor is None or not touches(gap, view.lo, view.hi) or view.lo >= gap.lo:
        return gap
    lo = max(gap.floor, view.lo)
    return replace(gap, lo=lo, missing=gap.missing + gap.lo - lo)


def split_empty(gap: Gap, view: View, bounds: Bounds) -> tuple[Gap, Gap | None]:
    """Take the empty positions of a page out of the gap that first passes it, as a gap of their own.

    So what is looked at again is one page, however much the gap spans. What a first reading meets far
    below the newest records was empty long ago, and stays so.
    """
    if not view.empty_positions or gap.passes or gap.is_check or not touches(gap, view.lo, view.hi):
        return gap, None
    missing = min(view.empty_positions, gap.missing)
    gap = replace(gap, missing=gap.missing - missing)
    if gap.floor is not None and view.hi <= bounds.total - NEWEST:
        return gap, None
    empty = Gap(
        lo=view.lo,
        hi=view.hi,
        at=view.hi,
        missing=missing,
        opened=gap.opened,
        since=bounds.now,
        passes=1,
        after=gap.after,
        until=bounds.platform_now + 1.0,
        due=bounds.now + FIRST_RELOOK,
        is_early=gap.is_early,
    )
    return gap, empty


def concluded(gap: Gap, bounds: Bounds) -> Gap | None:
    """The gap after its bottom was reached: deeper, read again later, or closed (None)."""
    now = bounds.now
    if gap.is_productive:  # a reading goes on while it finds what is new
        gap = replace(gap, since=None, is_productive=False, barren=0)
    elif gap.since is None:
        gap = replace(gap, since=now)
    if _goes_deeper(gap, now):
        lo = max(gap.floor or 0, gap.lo - gap.step)
        # On a first reading every position is missing until it is seen; else the count is known.
        missing = gap.missing + (gap.lo - lo if gap.floor is not None else 0)
        return replace(
            gap,
            lo=lo,
            at=gap.lo,
            missing=missing,
            step=min(2 * gap.step, MAX_STEP),
            barren=gap.barren + gap.lo - lo,
            due=now,
        )
    # A deletion may have hidden that a record without rows is new: any empty position is read again,
    # but for those that a re-check sees, which comes back by itself.
    if _held(gap, now) or not (gap.missing or (gap.empty_positions and not gap.is_check)):
        return None
    return _again(gap, bounds)


def past(gap: Gap, avoid: Collection[int], bounds: Bounds) -> Gap | None:
    """Conclude a gap if all positions that are left of it are unreadable."""
    if top_below(min(gap.at, bounds.total), gap.lo, avoid) > gap.lo:
        return gap
    return concluded(replace(gap, at=gap.lo), bounds)


def _again(gap: Gap, bounds: Bounds) -> Gap:
    """The gap as it is read again, later and a little wider."""
    hi = min(gap.hi + RELOOK_WIDER, bounds.total)
    lo = max(0, gap.lo - RELOOK_WIDER, hi - MAX_STEP)
    wait = backoff(2 * gap.passes + 1, first=FIRST_RELOOK, longest=RELOOK_LIMIT)
    heavy = min(RELOOK_LIMIT, (hi - lo) * bounds.record_bytes / RELOOK_BYTES)
    return Gap(
        lo=lo,
        hi=hi,
        at=hi,
        missing=gap.missing,
        opened=gap.opened,
        since=gap.since,
        passes=gap.passes + 1,
        barren=gap.barren,
        after=gap.after,
        until=gap.until if gap.until is not None else bounds.platform_now + 1.0,
        due=bounds.now + max(wait, heavy),
        is_early=gap.is_early,
    )


def _goes_deeper(gap: Gap, now: float) -> bool:
    """Rules 3 and 6; on a first reading down to where it is to end."""
    if gap.lo == 0:
        return False
    if gap.floor is not None:
        began = gap.floor_start is None or gap.low is None or gap.low[0] >= gap.floor_start
        return gap.lo > gap.floor and began
    if _held(gap, now) or gap.barren >= DEEPEST:
        return False
    return gap.missing > gap.empty_positions or not gap.low_known


def _held(gap: Gap, now: float) -> bool:
    return gap.since is not None and now - gap.since > HOLD
