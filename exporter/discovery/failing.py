"""A page that failed, perhaps because of one record (rule 12). PURE."""

from dataclasses import replace

from exporter.discovery import unreadable
from exporter.discovery.gaps import Bounds, past
from exporter.discovery.pages import PageRequest, Purpose, covered, page_at, top_below
from exporter.discovery.tail import Tail
from exporter.discovery.unreadable import Narrowing


def narrower_page(tail: Tail, span: Narrowing, total: int) -> PageRequest:
    """The upper half of the positions of which at least one is unreadable."""
    at = top_below(min(span.hi, total), span.lo, tail.avoided)
    if at == span.lo:  # all are registered as unreadable: one is tried again
        return single_page(tail, span.lo, Purpose.NARROW)
    lo = max(span.lo, at - span.width)
    request = page_at(lo, at, total=total, limit=span.width, order=tail.order, avoid=tail.avoided)
    return replace(request, purpose=Purpose.NARROW)


def single_page(tail: Tail, position: int, purpose: Purpose) -> PageRequest:
    """The page of one position."""
    request = page_at(position, position + 1, total=tail.told or 0, limit=1, order=tail.order)
    return replace(request, purpose=purpose)


def failed(tail: Tail, request: PageRequest) -> Tail:
    """A page failed, perhaps because of one record: its positions are narrowed down."""
    lo, hi = covered(request, tail.told or 0, tail.order)
    return replace(tail, narrowing=unreadable.narrowed(tail.narrowing, lo, hi)) if lo < hi else tail


def controls(tail: Tail) -> tuple[PageRequest, ...]:
    """Pages of single positions below; if all of them fail, the platform has failed."""
    total, span = tail.told or 0, tail.narrowing
    if span is None or not total:
        return ()
    below = (
        top_below(max(0, span.bottom - steps + 1), 0, tail.avoided) for steps in unreadable.CONTROL_STEPS
    )
    tops = dict.fromkeys(at for at in below if at > 0)
    beyond = PageRequest(number=total + 1, size=1, purpose=Purpose.NARROW)
    return tuple(single_page(tail, at - 1, Purpose.NARROW) for at in tops) or (beyond,)


def registered(
    tail: Tail, request: PageRequest, *, now: float, platform_now: float, interval: float, reason: str
) -> Tail:
    """A single position is unreadable: pages avoid it. If growth is missing there, its record is new."""
    lo, hi = covered(request, tail.told or 0, tail.order)
    if lo >= hi:
        return replace(tail, narrowing=None)
    gaps, is_missing = list(tail.gaps), False
    for number, gap in enumerate(gaps):
        if gap.missing and gap.lo + gap.anchor <= lo < gap.hi and not is_missing:
            gaps[number] = replace(gap, missing=gap.missing - 1)
            is_missing = not gap.is_early
            break
    known = unreadable.registered(
        tail.unreadable, lo, now=now, interval=interval, reason=reason, is_missing=is_missing
    )
    tail = replace(tail, unreadable=known, narrowing=None)
    bounds = Bounds(total=tail.total or 0, now=now, platform_now=platform_now)
    after = (past(gap, tail.avoided, bounds) for gap in gaps)
    return replace(tail, gaps=tuple(gap for gap in after if gap is not None))
