"""Rule 14: the sweep reads all recent pages regularly, and finds records that counting missed. PURE.

A sweep starts at the newest position and goes down until starts lie before its window, or to the oldest
record. If it has read one page only, it reads another at the other end to verify the order. The first sweep
also registers records that had ended before counting began: an unknown record that started later is new.
"""

import statistics
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from exporter.discovery import scan
from exporter.discovery.pages import Order, PageRequest, Purpose, page_at, top_below
from exporter.discovery.scan import Walk
from exporter.discovery.weights import Weights, page_limit
from exporter.model import LONG_AGO, Page

FEW = 5  # records whose times tell something, as single ones may be wrong: so many before the window end it
OTHER_END = 50  # records at the other end that are compared with the first page
INTERVAL = 3600.0  # seconds from the beginning of a sweep to that of the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep in progress. It is kept in the ledger, so that it continues after a restart."""

    walk: Walk
    began: float  # ledger time
    oldest: float  # it ends when records started before this (platform's clock)
    is_first: bool
    top: float | None = None  # median start of its first page
    bottom: float | None = None  # median start of its last page
    older: int = 0  # records in a row that started before its window

    @property
    def registered(self) -> float:
        """The start down to which it has read everything; `LONG_AGO`: the whole platform."""
        whole = self.walk.at == 0 or self.walk.reached is None
        return LONG_AGO if whole else self.walk.reached or LONG_AGO


def begun(total: int, order: Order | None, *, now: float, oldest: float, is_first: bool) -> Sweep:
    """Start at the newest record. While the order is unknown, the sweep reads the whole platform."""
    walk = Walk(total=total, order=order, at=total, done=not total)
    return Sweep(walk=walk, began=now, oldest=oldest if order else LONG_AGO, is_first=is_first)


def next_page(
    sweep: Sweep, weights: Weights, *, total: int, order: Order | None, limit: int, avoid: Collection[int]
) -> PageRequest:
    """The next page of the sweep; once it is done, a page of the other end."""
    at = min(sweep.walk.at, total)
    if sweep.walk.done:
        at = top_below(min(at, OTHER_END), 0, avoid)
    if not top_below(at, 0, avoid):
        return PageRequest(number=total + 1, size=1, purpose=Purpose.SWEEP)  # it ends with any answer
    if sweep.walk.done:
        request = page_at(0, at, total=total, limit=page_limit(weights, limit), order=order, avoid=avoid)
    else:
        walk = replace(sweep.walk, weights=weights, total=total, order=order, at=at)
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


def is_over(had: Sweep, after: Sweep) -> bool:
    """Whether it has read all that it is to read, the other end included."""
    return had.walk.done or (after.walk.done and (after.walk.at == 0 or after.bottom is not None))
