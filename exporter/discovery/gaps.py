"""A gap: positions that hold records no page has shown yet. How it is read, deepened, kept, closed. PURE.

The numbers of rules are those of `tail`.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from exporter.model import Page

MAX_PAGE_SIZE = 50  # a page of 1000 killed a real platform; 50 light records are one cheap answer
HOLD = 900.0  # seconds that an empty position is looked at again: rows came late by seconds, never minutes
TIE = 5.0  # seconds: starts are whole ones, a total is taken in a moment after it was told, clocks differ
FIRST_STEP = 5  # positions that a gap goes deeper at first: ties are a handful
MAX_STEP = 400  # and at most: eight pages between two looks at what was found; so wide is a look back, too
RELOOK_GROWTH = 4.0  # each wait for the next look at an empty position is so much longer: seven in all
RELOOK_LIMIT = 300.0  # seconds between two looks at an empty position, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Positions `lo` to `hi` (exclusive) that hold records no page has shown yet, or may hold them."""

    lo: int
    hi: int
    at: int  # what lies from here up is read in this pass
    missing: int  # records that must be found
    due: float  # when it is to be read
    since: float | None = None  # when its bottom was first reached
    empty_positions: int = 0  # seen in this pass; a first pass hands them on: see `split_empty`
    low: tuple[float, str] | None = None  # start and id of the lowest record seen in this pass
    low_known: bool = False  # and whether it was known before this pass
    anchor: int = 0  # positions at the bottom that were read before: nothing that is missing lies there
    after: float | None = None  # of growth: it was not there yet at this time (platform's clock)
    step: int = FIRST_STEP
    passes: int = 0  # that have ended
    is_check: bool = False  # nothing is known to be missing: a re-check
    until: float | None = None  # what is missing had begun by then (platform's clock); None: nothing known
    floor: int | None = None  # first reading: go on down to this position
    floor_start: float | None = None  # and to records that started at this time


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page over the positions that it covers."""

    lo: int
    hi: int
    page: Page
    known: Container[str]
    empty_positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What no position and no time can be above."""

    total: int
    now: float
    platform_now: float


def open_gap(lo: int, hi: int, *, missing: int, now: float) -> Gap:
    """Begin to look for `missing` records at positions `lo` to `hi`."""
    return Gap(lo=lo, hi=hi, at=hi, missing=missing, due=now)


def joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Sort gaps by where they end; those of growth that nothing was read of yet are one where they meet."""
    result: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: gap.hi):
        below = result[-1] if result else gap
        if _is_unread(below) and _is_unread(gap) and below.hi == gap.lo + gap.anchor:
            missing, due = below.missing + gap.missing, min(below.due, gap.due)
            result[-1] = replace(below, hi=gap.hi, at=gap.hi, missing=missing, due=due)
        else:
            result.append(gap)
    return tuple(result)


def _is_unread(gap: Gap) -> bool:
    return gap.anchor > 0 and gap.at == gap.hi and gap.since is None


def is_due(gap: Gap, now: float) -> bool:
    """Whether the gap is to be read now."""
    # What is due later than any look is ever put off was put off before our clock jumped back.
    return not now < gap.due <= now + RELOOK_LIMIT


def explained(gap: Gap, left: list[float], view: View) -> int:
    """How many of the fresh records on a page a gap was missing; they leave `left` (newest first).

    A record that began after the gap was known is none of them: it came with a deletion that hid growth.
    """
    room = min(view.hi, gap.hi) - max(view.lo, gap.lo + gap.anchor)
    mine = [start for start in left if gap.until is None or start <= gap.until]
    found = mine[: max(0, min(gap.missing, room))]
    for start in found:
        left.remove(start)
    return len(found)


def explained_elsewhere(gaps: list[Gap], left: list[float], view: View) -> list[Gap]:
    """Let the records that no gap on their page was missing explain what the nearest other ones miss.

    A record that ties with others lands below the positions that its growth was taken to be, and moves up
    what lies above it. One that had begun before the growth was there came with a deletion that hid it, and
    explains none. A gap that was read to its bottom keeps what it misses: a record without rows.
    """
    after = list(gaps)
    for number in sorted(range(len(gaps)), key=lambda number: abs(gaps[number].lo - view.lo)):
        gap = gaps[number]
        if gap.after is not None and gap.until is None:
            ties = sum(start >= gap.after - TIE for start in left)
            found = min(gap.missing, ties)
            after[number] = replace(gap, missing=gap.missing - found)
            del left[:found]
    return after


def passed(gap: Gap, view: View) -> Gap:
    """Move a gap's reading down over a page that touches it from above; other pages leave it."""
    if not touches(gap, view):
        return gap
    lowest = min(((item.start, item.id) for item in view.page.items if item.start is not None), default=None)
    low, low_known = gap.low, gap.low_known
    if lowest is not None and (low is None or lowest < low):
        low, low_known = lowest, lowest[1] in view.known
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
    )


def touches(gap: Gap, view: View) -> bool:
    """Whether a page goes on with a gap's reading from above."""
    return view.lo < gap.at <= view.hi


def widened(gap: Gap, view: View) -> Gap:
    """A first reading counts in what a page shows below it: every position is missing until it is seen."""
    if gap.floor is None or not touches(gap, view) or view.lo >= gap.lo:
        return gap
    lo = max(gap.floor, view.lo)
    return replace(gap, lo=lo, missing=gap.missing + gap.lo - lo)


def split_empty(gap: Gap, view: View, bounds: Bounds) -> tuple[Gap, Gap | None]:
    """Take the empty positions of a page out of the gap that first passes it, as a gap of their own.

    So what is looked at again is one page, however much the gap spans. What a first reading meets far
    below the newest records was empty long ago, and stays so.
    """
    if not view.empty_positions or gap.passes or gap.is_check or not touches(gap, view):
        return gap, None
    missing = min(view.empty_positions, gap.missing)
    gap = replace(gap, missing=gap.missing - missing)
    if gap.floor is not None and view.hi <= bounds.total - MAX_PAGE_SIZE:
        return gap, None
    empty = Gap(
        lo=view.lo,
        hi=view.hi,
        at=view.hi,
        missing=missing,
        since=bounds.now,
        passes=1,
        until=bounds.platform_now + 1.0,
        due=bounds.now + 1.0,
    )
    return gap, empty


def concluded(gap: Gap, bounds: Bounds) -> Gap | None:
    """The gap after its bottom was reached: deeper, looked at again later, or closed (None)."""
    now = bounds.now
    since = now if gap.since is None else gap.since
    # Time in which nobody looked, as while we were down, is no part of the hold.
    waited = now - gap.due
    gap = replace(gap, since=since + waited if waited > RELOOK_LIMIT else since, due=now)
    if _goes_deeper(gap, now):
        lo = max(gap.floor or 0, gap.lo - gap.step)
        # On a first reading every position is missing until it is seen; else the count is known.
        missing = gap.missing + (gap.lo - lo if gap.floor is not None else 0)
        return replace(gap, lo=lo, at=gap.lo, missing=missing, step=min(2 * gap.step, MAX_STEP), due=now)
    # A deletion may have hidden that a record without rows is new: any empty position is looked at again,
    # but for those that a re-check sees, which comes back by itself.
    if _held(gap, now) or not (gap.missing or (gap.empty_positions and not gap.is_check)):
        return None
    wider = min(2**gap.passes, MAX_PAGE_SIZE)
    hi = min(gap.hi + wider, bounds.total)
    return Gap(
        lo=max(0, gap.lo - wider, hi - MAX_STEP),
        hi=hi,
        at=hi,
        missing=gap.missing,
        since=gap.since,
        passes=gap.passes + 1,
        until=gap.until if gap.until is not None else bounds.platform_now + 1.0,
        due=now + min(RELOOK_GROWTH**gap.passes, RELOOK_LIMIT),
    )


def _goes_deeper(gap: Gap, now: float) -> bool:
    """Rules 3 and 6; on a first reading down to where it is to end."""
    if gap.lo == 0:
        return False
    if gap.floor is not None:
        began = gap.floor_start is None or gap.low is None or gap.low[0] >= gap.floor_start
        return gap.lo > gap.floor and began
    return not _held(gap, now) and (gap.missing > gap.empty_positions or not gap.low_known)


def _held(gap: Gap, now: float) -> bool:
    return gap.since is not None and now - gap.since > HOLD
