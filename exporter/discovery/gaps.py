"""A gap: positions of records that no page has shown yet. How it is read, deepened, kept and closed. PURE.

Rule numbers are those of `tail`.
"""

from collections.abc import Collection, Container
from dataclasses import dataclass, replace

from exporter.discovery.pages import Purpose, top_below
from exporter.model import MAX_AHEAD, Clock, Page, PageItem, backoff

NEWEST = 50  # positions of the newest records, where rows may still come
HOLD = 900.0  # seconds that an empty position is read again: rows came seconds late, never minutes
TIE = 5.0  # seconds: starts are whole seconds, clocks differ, and an answer takes time
FIRST_STEP = 5  # positions that a gap goes deeper at first: few records share a second
MAX_STEP = 400  # positions that it goes deeper at most, and the width of a gap that is read again
DEEPEST = 800  # positions that a gap goes deeper without new records: the sweep reads what lies deeper
FIRST_RELOOK = 1.0  # seconds until an empty position is read again; each wait is four times as long
RELOOK_LIMIT = 300.0  # longest wait, seconds
RELOOK_WIDER = 2  # positions added at both ends each time, because positions shift
RELOOK_BYTES = 100_000  # per second: heavy records are read again less often


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Positions `lo` to `hi` (exclusive) that may hold records that no page has shown yet.

    Times are ledger time, except `after`, `until` and `floor_start` (the platform's clock).
    """

    lo: int
    hi: int
    at: int  # positions from here up were read in this pass
    missing: int  # records to be found
    due: float  # when it is read next
    opened: float
    since: float | None = None  # when its bottom was first reached without new records above
    empty_positions: int = 0  # in this pass; those of the first pass become another gap: see `split_empty`
    were_empty: int = 0  # in the pass before
    low: tuple[float, str] | None = None  # start and id of the lowest record in this pass
    low_known: bool = False  # whether that record was known before this pass
    anchor: int = 0  # positions at the bottom that were read before: no missing record lies there
    after: float | None = None  # growth: its records came after this
    step: int = FIRST_STEP
    passes: int = 0  # completed ones
    is_productive: bool = False  # new records were seen since its bottom was last reached
    barren: int = 0  # positions that it has gone deeper since new records were seen
    is_stalled: bool = False  # its last page did not change it: it waits for the next poll
    is_check: bool = False  # a re-check: no record is known to be missing
    until: float | None = None  # missing records started before this; None: unknown
    floor: int | None = None  # first reading: read down to this position
    floor_start: float | None = None  # first reading: read down to records that started then
    is_early: bool = False  # its records may have been there at the first reading

    @property
    def hidden(self) -> int:
        """Missing records that an empty position can hide; others are not where growth was assumed."""
        return min(self.missing, max(self.empty_positions, self.were_empty))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page and the positions that it covers."""

    lo: int
    hi: int
    page: Page
    fresh: Container[str]  # ids of new records; not of those that are unknown because they are old
    empty_positions: int
    purpose: Purpose = Purpose.GAP
    is_above: bool = False  # all records of before were seen and registered there


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The total, the time, and the size of a record."""

    total: int
    clock: Clock
    record_bytes: float = 0.0


def open_gap(lo: int, hi: int, *, missing: int, now: float) -> Gap:
    """A gap of `missing` records at positions `lo` to `hi`."""
    return Gap(lo=lo, hi=hi, at=hi, missing=missing, due=now, opened=now)


def read_anew(gap: Gap, now: float) -> Gap:
    """Read a gap again from its top: in a wrong order, other positions were read."""
    again = replace(gap, at=gap.hi, due=now, since=None, low=None, low_known=False, barren=0, passes=0)
    if gap.floor is None:
        return again
    return replace(again, lo=max(gap.floor, gap.hi - NEWEST), missing=0)  # pages tell what it misses


def is_due(gap: Gap, now: float) -> bool:
    """Whether the gap is to be read now."""
    return gap.due <= now and not gap.is_stalled


def explained(gap: Gap, left: list[PageItem], view: View) -> list[PageItem]:
    """The new records of a page that a gap was missing; removes them from `left` (newest first).

    Not those that started after the gap was read: a deletion hid their growth. Nor, once a gap of growth was
    read, those that may be unknown because they are old.
    """
    room = min(view.hi, gap.hi) - max(view.lo, gap.lo + gap.anchor)
    end = float("inf") if gap.until is None else gap.until
    takes_old = gap.since is None or gap.is_early
    in_time = (item for item in left if item.start is None or item.start <= end)
    fitting = [item for item in in_time if takes_old or item.id in view.fresh]
    found = fitting[: max(0, min(gap.missing, room))]
    for item in found:
        left.remove(item)
    return found


def explained_elsewhere(
    gaps: list[Gap], left: list[PageItem], view: View, *, now: float
) -> tuple[list[Gap], list[PageItem]]:
    """Let records that no gap on their page was missing explain what the nearest other gaps miss.

    A record of the same second as others may land below the positions where growth was assumed. A record that
    started before the growth is not part of it, nor is an old one whose start another time zone moved into
    the future. `now`: the platform's clock.
    """
    after, all_found = list(gaps), []
    for number in sorted(range(len(gaps)), key=lambda number: abs(gaps[number].lo - view.lo)):
        gap = gaps[number]
        if gap.after is None:
            continue
        begin, end = gap.after - TIE, now + MAX_AHEAD if gap.until is None else gap.until
        fitting = [item for item in left if item.start is None or begin <= item.start <= end]
        found = fitting[: gap.missing]
        after[number] = replace(gap, missing=gap.missing - len(found))
        for item in found:
            left.remove(item)
        all_found += found
    return after, all_found


def passed(gap: Gap, view: View, found: Collection[PageItem] = ()) -> Gap:
    """Move a gap's reading down over a page that touches it from above; other pages don't change it.

    `found`: records that this gap or no gap was missing. Only these prolong a gap that is read again.
    """
    if not touches(gap, view.lo, view.hi):
        return gap
    is_new = any(item.id in view.fresh for item in (found if gap.passes else view.page.items))
    lowest = min(((item.start, item.id) for item in view.page.items if item.start is not None), default=None)
    low, low_known = gap.low, gap.low_known
    if lowest is not None and (low is None or lowest < low):
        low, low_known = lowest, lowest[1] not in view.fresh
    # The page may show positions further down; a first reading counts those in `widened`.
    lo = gap.lo if gap.floor is not None else min(gap.lo, view.lo)
    if gap.is_check:  # one page is enough, even if it does not cover all positions
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
    """Whether a page over these positions continues a gap's reading from above."""
    return lo < gap.at <= hi


def widened(gap: Gap, view: View) -> Gap:
    """Add the positions that a page shows below a first reading: all are missing until they are seen."""
    if gap.floor is None or not touches(gap, view.lo, view.hi) or view.lo >= gap.lo:
        return gap
    lo = max(gap.floor, view.lo)
    return replace(gap, lo=lo, missing=gap.missing + gap.lo - lo)


def split_empty(gap: Gap, view: View, bounds: Bounds) -> tuple[Gap, Gap | None]:
    """Move the empty positions of a page from the gap that reads it first to a gap of their own.

    So only one page is read again, however wide the gap is. Empty positions of a first reading far below the
    newest records are not read again: their rows would have come long ago.
    """
    if not view.empty_positions or gap.passes or gap.is_check or not touches(gap, view.lo, view.hi):
        return gap, None
    missing = min(view.empty_positions, gap.missing)
    gap = replace(gap, missing=gap.missing - missing)
    if gap.floor is not None and view.hi <= bounds.total - NEWEST:
        return gap, None
    empty = reread(view, bounds, missing=missing, after=gap.after)
    return gap, replace(empty, opened=gap.opened, is_early=gap.is_early)


def reread(view: View, bounds: Bounds, *, missing: int, after: float | None) -> Gap:
    """A gap over the positions of a page that was read, to be read again."""
    return Gap(
        lo=view.lo,
        hi=view.hi,
        at=view.hi,
        missing=missing,
        were_empty=view.empty_positions,
        opened=bounds.clock.now,
        since=bounds.clock.now,
        passes=1,
        after=after,
        until=bounds.clock.platform + 1.0,
        due=bounds.clock.now + FIRST_RELOOK,
    )


def concluded(gap: Gap, bounds: Bounds) -> Gap | None:
    """The gap after its bottom was reached: deeper, to be read again later, or closed (None)."""
    now = bounds.clock.now
    if gap.is_productive:  # a reading goes on while it finds new records
        gap = replace(gap, since=None, is_productive=False, barren=0)
    elif gap.since is None:
        gap = replace(gap, since=now)
    if _goes_deeper(gap, now):
        lo = max(gap.floor or 0, gap.lo - gap.step)
        # In a first reading all positions are missing until they are seen; else the count is known.
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
    # A deletion may have hidden the growth of a record without rows: each empty position is read again,
    # except those of a re-check, which is repeated anyway.
    if _held(gap, now) or not (gap.missing or (gap.empty_positions and not gap.is_check)):
        return None
    return _again(gap, bounds)


def past(gap: Gap, avoid: Collection[int], bounds: Bounds) -> Gap | None:
    """Conclude a gap if all positions that are left of it are unreadable."""
    if top_below(min(gap.at, bounds.total), gap.lo, avoid) > gap.lo:
        return gap
    return concluded(replace(gap, at=gap.lo), bounds)


def _again(gap: Gap, bounds: Bounds) -> Gap:
    """The gap, to be read again later and a little wider."""
    hi = min(gap.hi + RELOOK_WIDER, bounds.total)
    lo = max(0, gap.lo - RELOOK_WIDER, hi - MAX_STEP)
    wait = backoff(2 * gap.passes + 1, first=FIRST_RELOOK, longest=RELOOK_LIMIT)
    heavy = min(RELOOK_LIMIT, (hi - lo) * bounds.record_bytes / RELOOK_BYTES)
    return Gap(
        lo=lo,
        hi=hi,
        at=hi,
        missing=gap.missing,
        were_empty=gap.empty_positions,
        opened=gap.opened,
        since=gap.since,
        passes=gap.passes + 1,
        barren=gap.barren,
        after=gap.after,
        until=gap.until if gap.until is not None else bounds.clock.platform + 1.0,
        due=bounds.clock.now + max(wait, heavy),
        is_early=gap.is_early,
    )


def _goes_deeper(gap: Gap, now: float) -> bool:
    """Rules 3 and 6; a first reading goes down to its floor."""
    if gap.lo == 0:
        return False
    if gap.floor is not None:
        began = gap.floor_start is None or gap.low is None or gap.low[0] >= gap.floor_start
        return gap.lo > gap.floor and began
    if _held(gap, now) or gap.barren >= DEEPEST:
        return False
    # A gap that is read again and shows no record at all is no reason to go deeper.
    is_lowest_new = not gap.low_known and (gap.low is not None or not gap.passes)
    return gap.missing > gap.empty_positions or is_lowest_new


def _held(gap: Gap, now: float) -> bool:
    return gap.since is not None and now - gap.since > HOLD
