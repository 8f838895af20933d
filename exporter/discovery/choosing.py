"""Which page of the tail to request next. PURE."""

from exporter.discovery.gaps import Gap, is_due
from exporter.discovery.pages import MAX_PAGE_SIZE, PageRequest, Purpose, page_at, page_limit, top_below
from exporter.discovery.tail import Tail
from exporter.discovery.unreadable import narrower_page, single_page

PATIENCE = 30.0  # seconds that a gap or an unreadable position may wait for larger gaps: two polls


def next_page(tail: Tail, *, now: float, limit: int = MAX_PAGE_SIZE) -> PageRequest | None:
    """The page to request now; None: nothing is due."""
    total = min(tail.total or 0, tail.last_total or 0)
    if not total or tail.turned is not None:
        return None
    size = page_limit(tail.weights, limit)
    if tail.narrowing is not None and tail.narrowing.lo < total:
        return narrower_page(tail, tail.narrowing, total)
    gap = next_gap(tail, size, now, total)
    retry = min(
        (item for item in tail.unreadable if item.due <= now and item.position < total),
        key=lambda item: item.due,
        default=None,
    )
    # The longest wait comes first: if gaps are due all the time, no position would be tried again.
    if retry is not None and (gap is None or retry.due < min(gap.due, now - PATIENCE)):
        return single_page(tail, retry.position, Purpose.RETRY)
    if gap is None:
        return None
    return _page_of_ends(tail, total, size) or _page_of(gap, tail, size, now, total)


def _page_of_ends(tail: Tail, total: int, size: int) -> PageRequest | None:
    """While the order is undecided: the last page, or the page that shows all records."""
    if tail.order is not None or total == 1:
        return None
    if tail.ends.first is not None and tail.ends.compared != total and total - 1 not in tail.avoided:
        return PageRequest(number=total, size=1, purpose=Purpose.ENDS)
    return PageRequest(number=1, size=total) if total <= size and not tail.avoided else None


def _page_of(gap: Gap, tail: Tail, size: int, now: float, total: int) -> PageRequest:
    """A page of this gap. It is one request however wide, so it also shows gaps within its reach."""
    at = min(gap.at, total)
    reach = at - size
    lows = (max(other.lo, reach) for other in tail.gaps if is_due(other, now) and reach < other.at <= gap.at)
    at = top_below(at, gap.lo, tail.avoided)
    lo = min((lo for lo in lows if lo < at), default=gap.lo)
    return page_at(lo, at, total=total, limit=size, order=tail.order, avoid=tail.avoided)


def next_gap(tail: Tail, size: int, now: float, total: int) -> Gap | None:
    """The gap of which a page of `size` shows most; among equals, the newest.

    Small gaps wait and add up while records arrive between two pages. After `PATIENCE` the longest wait comes
    first, so that no gap starves.
    """
    avoid = tail.avoided

    def waiting(gap: Gap) -> float:
        return now - gap.due if now - gap.due > PATIENCE else 0.0

    def is_readable(gap: Gap) -> bool:
        return is_due(gap, now) and top_below(min(gap.at, total), gap.lo, avoid) > gap.lo

    return max(
        (gap for gap in tail.gaps if is_readable(gap)),
        key=lambda gap: (waiting(gap), min(gap.at - gap.lo, size), gap.hi),
        default=None,
    )
