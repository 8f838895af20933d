"""Positions whose page fails, and how they are found (rule 12). PURE.

A page that fails is narrowed from its top downwards: half as many of its positions are requested, until a
page of one position fails. That position is registered: other pages avoid it, and it is requested by itself
at growing intervals.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from exporter.model import backoff

LONGEST_WAIT = 3600.0  # seconds between two tries of a position
CONTROL_STEPS = (1, 100)  # positions below one that failed: records that can't be read may lie side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A position whose page fails."""

    position: int
    due: float  # when it is tried again; ledger time
    soonest: float = 0.0  # not before this, whatever else becomes readable: a poll tries it once
    tries: int = 1
    reason: str = ""  # of the last failure
    is_missing: bool = False  # a record of growth lies there: it is surely new


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Positions `lo` to `hi` (exclusive) of which at least one is unreadable."""

    lo: int
    hi: int
    bottom: int  # of the first page that failed
    size: int  # positions of that page

    @property
    def width(self) -> int:
        """How many positions to request next."""
        return max(1, (self.hi - self.lo) // 2)


def narrowed(had: Narrowing | None, lo: int, hi: int) -> Narrowing:
    """The page over these positions failed."""
    if had is not None and had.lo <= lo and hi <= had.hi:
        return replace(had, lo=lo, hi=hi)
    return Narrowing(lo=lo, hi=hi, bottom=lo, size=hi - lo)


def passed(had: Narrowing | None, lo: int, hi: int) -> Narrowing | None:
    """A page over these positions was read: the unreadable position lies below or above it."""
    if had is None or hi <= had.lo or had.hi <= lo:
        return had
    rest = replace(had, hi=max(lo, had.lo)) if hi >= had.hi else replace(had, lo=hi)
    return rest if rest.lo < rest.hi else None


def shifted(had: Iterable[Unreadable], gone: int, total: int) -> tuple[Unreadable, ...]:
    """The positions after records were deleted, most likely the oldest ones."""
    moved = (replace(item, position=item.position - gone) for item in had)
    return tuple(item for item in moved if 0 <= item.position < total)


def registered(
    had: Iterable[Unreadable], position: int, *, now: float, interval: float, reason: str, is_missing: bool
) -> tuple[Unreadable, ...]:
    """A position failed by itself: it is tried again with backoff."""
    others = tuple(item for item in had if item.position != position)
    before = next((item for item in had if item.position == position), None)
    tries = before.tries + 1 if before else 1
    item = Unreadable(
        position=position,
        soonest=now + interval,
        due=now + backoff(tries, first=interval, longest=LONGEST_WAIT),
        tries=tries,
        reason=reason,
        is_missing=is_missing or (before is not None and before.is_missing),
    )
    return tuple(sorted((*others, item), key=lambda item: item.position))


def readable(had: Iterable[Unreadable], lo: int, hi: int, *, now: float) -> tuple[Unreadable, ...]:
    """A page over these positions was read: they are readable, and all others are tried in the next poll."""
    items = tuple(had)
    left = tuple(item for item in items if not lo <= item.position < hi)
    return (
        left
        if len(left) == len(items)
        else tuple(replace(item, due=min(item.due, max(now, item.soonest))) for item in left)
    )
