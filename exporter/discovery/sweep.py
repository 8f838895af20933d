"""Rule 14: the sweep reads all recent pages regularly, and finds records that counting missed. PURE.

A sweep starts at the newest position and goes down until starts lie before its window, or to the oldest
record. If it has read one page only, it reads another at the other end to verify the order. The first sweep
also registers records that had ended before counting began: an unknown record that started later is new.
"""

import statistics
from collections.abc import Collection, Iterable
from dataclasses import replace

from exporter.discovery import scan
from exporter.discovery.pages import (
    MAX_PAGE_SIZE,
    Order,
    PageRequest,
    Purpose,
    Weights,
    page_at,
    page_limit,
    top_below,
)
from exporter.discovery.scan import Sweep, Walk
from exporter.discovery.tail import Tail, is_first_reading
from exporter.model import LONG_AGO, Page

FEW = 5  # records whose times tell something, as single ones may be wrong: so many before the window end it
OTHER_END = 50  # records at the other end that are compared with the first page
INTERVAL = 3600.0  # seconds from the beginning of a sweep to that of the next
MARGIN = 7200.0  # seconds by which a record's start may lie before it came: masters' clocks differ


def begin_sweep(tail: Tail, *, now: float, oldest: float, is_first: bool) -> Tail:
    """Start a sweep at the newest record if one is due; in an unknown order it reads the whole platform."""
    if tail.sweep is not None or tail.sweep_due > now or is_first_reading(tail) or not tail.total:
        return tail
    if tail.unswept is not None:
        oldest = min(oldest, tail.unswept - MARGIN)
    walk = Walk(total=tail.total, order=tail.order, at=tail.total)
    sweep = Sweep(walk=walk, began=now, oldest=oldest if tail.order else LONG_AGO, is_first=is_first)
    return replace(tail, sweep=sweep, sweep_due=now + INTERVAL)


def sweep_page(tail: Tail, *, limit: int = MAX_PAGE_SIZE) -> PageRequest | None:
    """The next page of the sweep, at last one of the other end; None: no sweep, or it can't go on now."""
    sweep, total, avoid = tail.sweep, min(tail.total or 0, tail.last_total or 0), tail.avoided
    if sweep is None or tail.is_doubtful or tail.turned is not None or tail.narrowing is not None:
        return None
    at = min(sweep.walk.at, total, OTHER_END if sweep.walk.done else total)
    top = top_below(at, 0, avoid)
    if not top:
        request = PageRequest(number=total + 1, size=1)  # it ends with any answer
    elif sweep.walk.done:
        size = page_limit(tail.weights, limit)
        request = page_at(0, top, total=total, limit=size, order=tail.order, avoid=avoid)
    else:
        walk = replace(sweep.walk, weights=tail.weights, total=total, order=tail.order, at=at)
        request = scan.next_page(walk, limit=limit, avoid=avoid)
    return replace(request, purpose=Purpose.SWEEP)


def read(
    sweep: Sweep, page: Page, *, order: Order | None, starts: Iterable[float | None], avoid: Collection[int]
) -> Sweep:
    """Take in one of its pages."""
    known = [start for start in starts if start is not None]
    median = statistics.median_low(known) if len(known) >= FEW else None
    if sweep.walk.done:
        return replace(sweep, bottom=median)
    latest = max(known, default=None)
    walk = replace(sweep.walk, order=order)
    walk = scan.read(walk, page, size=0, starts=(latest,), oldest=sweep.oldest, avoid=avoid)
    older = sweep.older
    if latest is not None:
        older = 0 if latest >= sweep.oldest else older + len(known)
    at = top_below(walk.at, 0, avoid)
    return replace(
        sweep,
        walk=replace(walk, weights=Weights(), at=at, done=at == 0 or older >= FEW),
        top=median if sweep.top is None else sweep.top,
        bottom=sweep.bottom if sweep.top is None or median is None else median,
        older=older,
    )
