"""In which order the platform sorts its pages, and whether that has turned. PURE.

The order is found by comparing both ends. While both began in the same second it is undecided. Where the
platform tells no times, growth tells it: a first record that changes with it is the newest.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from exporter.discovery.pages import Order

MOVED_BY_GROWTH = 2  # times that growth changed the first record: a deletion may do so once


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The record that the probe shows."""

    id: str
    start: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What is known of both ends of the pages."""

    order: Order | None = None
    first: First | None = None
    newest: float | None = None  # the latest start on any page; never later than the platform's clock
    compared: int = -1  # the total when both ends were last compared
    moved: int = 0  # growths that changed a first record without a start

    @property
    def timeless(self) -> bool:
        """Whether only growth can tell the order."""
        return self.order is None and self.first is not None and self.first.start is None


def is_older(ends: Ends, first: First | None) -> bool:
    """Whether the first record began before the one that was first: an older copy of the data, or a turn."""
    had = ends.first
    if first is None or had is None or first.start is None or had.start is None:
        return False
    return first.id != had.id and first.start < had.start


def may_have_turned(ends: Ends, first: First | None, total: int) -> bool:
    """Whether the first record is at the wrong end."""
    if ends.order is Order.DESC:
        return is_older(ends, first)
    if ends.order is None or first is None or first.start is None or ends.newest is None:
        return False
    changed = ends.first is not None and first.id != ends.first.id
    return changed and total > 1 and first.start >= ends.newest


def seen(ends: Ends, starts: Collection[float], platform_now: float) -> Ends:
    """Learn the newest start."""
    known = [start for start in (ends.newest, *starts) if start is not None]
    return replace(ends, newest=min(max(known), platform_now)) if known else ends


def compared(ends: Ends, starts: Collection[float], *, total: int, is_first: bool) -> Ends:
    """Compare a page with the first record; `is_first`: the page is the first itself."""
    if ends.order is not None:
        return ends
    ends = replace(ends, compared=total)
    if not starts or is_first:
        return ends
    # A first record without a start sorts before all others where the oldest come first.
    had = ends.first.start if ends.first is not None and ends.first.start is not None else float("-inf")
    if had == max(starts):
        return ends
    return replace(ends, order=Order.ASC if had < max(starts) else Order.DESC)


def grown(ends: Ends, first: First | None) -> Ends:
    """Learn from growth, where no times tell the order."""
    if not ends.timeless or first is None or ends.first is None or first.start is not None:
        return ends
    if first.id == ends.first.id:
        return replace(ends, order=Order.ASC)
    moved = ends.moved + 1
    return replace(ends, moved=moved, order=Order.DESC if moved >= MOVED_BY_GROWTH else None)


def turned(ends: Ends, first: First | None) -> Ends:
    """Forget the order: both ends are to be compared anew."""
    return replace(ends, order=None, first=first, compared=-1, newest=None, moved=0)
