"""Rule 14: the sweep walks the newest records again and again, and finds what counting could not. PURE.

A sweep begins at the newest position and goes down until starts lie before its window, or to the oldest
record. The first one also registers what had ended before counting began: afterwards, an unknown record
that started within its reach is surely new.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from exporter.discovery import scan
from exporter.discovery.pages import Order, PageRequest, Purpose, top_below
from exporter.discovery.scan import Walk
from exporter.discovery.weights import Weights
from exporter.model import LONG_AGO, Page

INTERVAL = 3600.0  # seconds from the beginning of a sweep to that of the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep that is going on; it is kept in the ledger, so that a restart goes on with it."""

    walk: Walk
    began: float  # ledger time
    oldest: float  # it ends where all records started before this (platform's clock)
    is_first: bool

    @property
    def registered(self) -> float:
        """The start down to which it has read all; `LONG_AGO`: the whole platform."""
        whole = self.walk.at == 0 or self.walk.reached is None
        return LONG_AGO if whole else self.walk.reached or LONG_AGO


def begun(total: int, order: Order | None, *, now: float, oldest: float, is_first: bool) -> Sweep:
    """Start at the newest record. While the order is not known, nothing tells where the window ends."""
    walk = Walk(total=total, order=order, at=total, done=not total)
    return Sweep(walk=walk, began=now, oldest=oldest if order else LONG_AGO, is_first=is_first)


def next_page(
    sweep: Sweep, weights: Weights, *, total: int, order: Order | None, limit: int, avoid: Collection[int]
) -> PageRequest:
    """The page on which the sweep goes on."""
    walk = replace(sweep.walk, weights=weights, total=total, order=order, at=min(sweep.walk.at, total))
    return replace(scan.next_page(walk, limit=limit, avoid=avoid), purpose=Purpose.SWEEP)


def read(
    sweep: Sweep, page: Page, *, order: Order | None, starts: Iterable[float | None], avoid: Collection[int]
) -> Sweep:
    """Take in one of its pages."""
    walk = replace(sweep.walk, order=order)
    walk = scan.read(walk, page, size=0, starts=starts, oldest=sweep.oldest, avoid=avoid)
    at = top_below(walk.at, 0, avoid)
    return replace(sweep, walk=replace(walk, weights=Weights(), at=at, done=walk.done or at == 0))
