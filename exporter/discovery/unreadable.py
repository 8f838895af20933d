"""A page that failed, perhaps because of one record (rule 12). PURE.

Its positions are narrowed down from the top: half as many are requested, until a page of one position fails.
That position is registered: other pages avoid it, and it is requested by itself at growing intervals.
"""

from dataclasses import replace

from exporter.discovery.gaps import Bounds, past
from exporter.discovery.pages import PageRequest, Purpose, covered, page_at, refused, top_below
from exporter.discovery.tail import Narrowing, Tail, Unreadable
from exporter.model import Clock, backoff

LONGEST_WAIT = 3600.0  # seconds between two tries of a position
CONTROL_STEPS = (1, 100)  # positions below one that failed: records that can't be read may lie side by side


def narrower_page(tail: Tail, span: Narrowing, total: int) -> PageRequest:
    """The upper half of the positions of which at least one is unreadable."""
    at = top_below(min(span.hi, total), span.lo, tail.avoided)
    if at == span.lo:  # all are registered as unreadable: one is tried again
        return single_page(tail, span.lo, Purpose.NARROW)
    width = max(1, (span.hi - span.lo) // 2)
    lo = max(span.lo, at - width)
    request = page_at(lo, at, total=total, limit=width, order=tail.order, avoid=tail.avoided)
    return replace(request, purpose=Purpose.NARROW)


def single_page(tail: Tail, position: int, purpose: Purpose) -> PageRequest:
    """The page of one position."""
    request = page_at(position, position + 1, total=tail.last_total or 0, limit=1, order=tail.order)
    return replace(request, purpose=purpose)


def controls(tail: Tail) -> tuple[PageRequest, ...]:
    """Pages of single positions below; if all of them fail, the platform has failed."""
    total, span = tail.last_total or 0, tail.narrowing
    if span is None or not total:
        return ()
    below = (top_below(max(0, span.bottom - steps + 1), 0, tail.avoided) for steps in CONTROL_STEPS)
    tops = dict.fromkeys(at for at in below if at > 0)
    beyond = PageRequest(number=total + 1, size=1, purpose=Purpose.NARROW)
    return tuple(single_page(tail, at - 1, Purpose.NARROW) for at in tops) or (beyond,)


def failed(tail: Tail, request: PageRequest) -> Tail:
    """A page failed, perhaps because of one record: its positions are narrowed down."""
    lo, hi = covered(request, tail.last_total or 0, tail.order)
    span = tail.narrowing
    if lo >= hi:
        return tail
    if span is None or not span.lo <= lo < hi <= span.hi:
        return replace(tail, narrowing=Narrowing(lo=lo, hi=hi, bottom=lo, size=hi - lo))
    return replace(tail, narrowing=replace(span, lo=lo, hi=hi))


def registered(tail: Tail, request: PageRequest, *, clock: Clock, interval: float, reason: str) -> Tail:
    """A single position is unreadable: pages avoid it. If growth is missing there, its record is new."""
    lo, hi = covered(request, tail.last_total or 0, tail.order)
    tail = replace(tail, narrowing=None)
    if lo >= hi:
        return tail
    known = {item.position: item for item in tail.unreadable}
    gaps = list(tail.gaps)
    tries, after = (known[lo].tries + 1, known[lo].after) if lo in known else (1, None)
    for number, gap in enumerate(gaps):
        if gap.missing and gap.lo + gap.anchor <= lo < gap.hi:
            gaps[number] = replace(gap, missing=gap.missing - 1)
            after = after if gap.is_early else gap.after
            break
    known[lo] = Unreadable(
        position=lo,
        soonest=clock.now + interval,
        due=clock.now + backoff(tries, first=interval, longest=LONGEST_WAIT),
        tries=tries,
        reason=reason,
        after=after,
    )
    tail = replace(tail, unreadable=tuple(known[position] for position in sorted(known)))
    bounds = Bounds(total=tail.total or 0, clock=clock)
    left = (past(gap, tail.avoided, bounds) for gap in gaps)
    return replace(tail, gaps=tuple(gap for gap in left if gap is not None))


def readable(tail: Tail, lo: int, hi: int, *, now: float) -> tuple[Tail, list[float]]:
    """A page over these positions was read. Also returns `after` of those that hold records of growth."""
    read = [item for item in tail.unreadable if lo <= item.position < hi]
    if read:  # all others are tried in the next poll
        left = (item for item in tail.unreadable if item not in read)
        due = (replace(item, due=min(item.due, max(now, item.soonest))) for item in left)
        tail = replace(tail, unreadable=tuple(due))
    span = tail.narrowing
    if span is not None and lo < span.hi and span.lo < hi:  # the unreadable position lies below or above
        rest = replace(span, hi=max(lo, span.lo)) if hi >= span.hi else replace(span, lo=hi)
        if rest.lo < rest.hi:
            tail = replace(tail, narrowing=rest)
        else:  # the page failed because of its size
            tail = replace(tail, narrowing=None, weights=refused(tail.weights, span.size))
    return tail, [item.after for item in read if item.after is not None]
