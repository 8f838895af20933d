"""The order in which the platform sorts its pages, and whether it has changed or was misjudged. PURE.

Both ends are compared. If both started in the same second, the order stays undecided. If the platform gives
no times, growth tells the order: if it changes the first record, the newest come first. Single times may be
wrong, and deletions change the first record too. So each sweep compares the times of its first page with
those of an older one. Deletions can't make these newer: if two sweeps find that, the order is reversed.
"""

from dataclasses import dataclass, replace

from exporter.discovery.pages import Order
from exporter.model import Page

MOVED_BY_GROWTH = 2  # times that growth changed the first record: a deletion may do so once
CONTRADICTED = 2  # sweeps, or growths, in a row that contradict the order


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
    doubts: int = 0  # sweeps or growths in a row that contradict the order
    agreed: float | None = None  # when a sweep last confirmed the order (platform's clock)

    def is_changed(self, first: First | None) -> bool:
        """Whether the probe shows another first record than before."""
        return first is not None and self.first is not None and first.id != self.first.id


def is_older(ends: Ends, first: First | None) -> bool:
    """Whether the first record started before the previous one: another order, or an older copy."""
    had = ends.first
    if first is None or had is None or first.start is None or had.start is None:
        return False
    return ends.is_changed(first) and first.start < had.start


def may_have_turned(ends: Ends, first: First | None, total: int) -> bool:
    """Whether the first record is at the wrong end."""
    if ends.order is Order.DESC:
        return is_older(ends, first)
    if ends.order is None or first is None or first.start is None or ends.newest is None:
        return False
    return ends.is_changed(first) and total > 1 and first.start >= ends.newest


def swept(ends: Ends, top: float | None, bottom: float | None, platform_now: float) -> Ends:
    """Compare the median starts of a sweep's first page and of an older one."""
    if ends.order is None or top is None or bottom is None or top == bottom:
        return ends
    if top > bottom:
        return replace(ends, doubts=0, agreed=platform_now)
    return replace(ends, doubts=ends.doubts + 1)


def compared(ends: Ends, page: Page, *, total: int, platform_now: float) -> Ends:
    """Learn the newest start from a page; compare another page than the first with the first record."""
    starts = [item.start for item in page.items if item.start is not None]
    if ends.order is None and ends.first is not None:
        # A first record without a start sorts before all others where the oldest come first.
        first = float("-inf") if ends.first.start is None else ends.first.start
        ends = replace(ends, compared=total)
        if starts and page.number != 1 and first != max(starts):
            ends = replace(ends, order=Order.ASC if first < max(starts) else Order.DESC, doubts=0)
    known = starts if ends.newest is None else [ends.newest, *starts]
    return replace(ends, newest=min(max(known), platform_now)) if known else ends


def grown(ends: Ends, first: First | None) -> Ends:
    """Learn from growth if there are no times."""
    if first is None or ends.first is None or first.start is not None or ends.first.start is not None:
        return ends
    is_same = first.id == ends.first.id
    if ends.order is Order.DESC:  # growth keeps the first record only where the oldest come first
        return replace(ends, doubts=ends.doubts + 1 if is_same else 0)
    if ends.order is not None:
        return ends
    if is_same:
        return replace(ends, order=Order.ASC)
    moved = ends.moved + 1
    return replace(ends, moved=moved, order=Order.DESC if moved >= MOVED_BY_GROWTH else None)
