"""A walk down the pages of the platform: how far it has come, and which page is next. PURE.

Positions are counted from the oldest record, whatever the order of pages. The walk goes downwards: if old
records are deleted, unread ones move to lower positions, so none is missed. A late record may land among
others of its second near the newest: there pages overlap.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from exporter.discovery.pages import (
    Order,
    PageRequest,
    Weights,
    covered,
    extended,
    page_at,
    page_limit,
    too_heavy,
    top_below,
    weighed,
)
from exporter.model import Page

NEAR = 200  # positions below the newest where a late record can land between two pages
OVERLAP = 10  # positions read twice there


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far the walk has come."""

    total: int  # records on the platform
    order: Order | None  # None: both ends began in the same second
    at: int  # all positions from here up are read
    top: int = 0  # where the walk began
    reached: float | None = None  # earliest start so far
    weights: Weights = field(default_factory=Weights)  # how heavy pages are
    records: int = 0  # shown by pages so far
    hidden: int = 0  # positions without a visible record
    unread: int = 0  # records that were unreadable, or their results
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep in progress (see `sweep`). It is kept in the ledger, so that it continues after a restart."""

    walk: Walk
    began: float  # ledger time
    oldest: float  # it ends when records started before this (platform's clock)
    is_first: bool
    top: float | None = None  # median start of its first page
    bottom: float | None = None  # median start of its last page
    older: int = 0  # records in a row that started before its window


def next_page(walk: Walk, *, limit: int, avoid: Collection[int] = ()) -> PageRequest:
    """The next page of the walk; it covers no position of `avoid`."""
    size = page_limit(walk.weights, limit)
    overlap = min(OVERLAP, size // 2) if walk.total - walk.at < NEAR else 0
    top = min(walk.at + overlap, walk.total)
    request = _below(top, walk, size, avoid)
    if covered(request, walk.total, walk.order)[0] < walk.at:
        return request
    # Pages begin at multiples of their size: with the overlap, a small one may show nothing new.
    return _below(walk.at, walk, size, avoid)


def _below(top: int, walk: Walk, size: int, avoid: Collection[int]) -> PageRequest:
    """The page downwards from `top`.

    If the newest come first and the total has grown meanwhile, a page shows newer records than intended. So
    pages are not narrower near the oldest record, or they might never show it.
    """
    room = size if walk.order is Order.DESC else 0
    top = top_below(top, 0, avoid)
    lo = max(0, top + room - size)
    shifted = {position + room for position in avoid}
    return page_at(lo, top + room, total=walk.total + room, limit=size, order=walk.order, avoid=shifted)


def read(
    walk: Walk,
    page: Page,
    *,
    size: int,
    starts: Iterable[float | None] = (),
    oldest: float = 0.0,
    avoid: Collection[int] = (),
) -> Walk:
    """Take in a page, its bytes, and the starts of what it showed.

    The walk is done when a start lies before `oldest`. A page that no longer reaches up to the walk is
    ignored. Positions of `avoid` next to the page count as read.
    """
    total = walk.total if page.total is None else page.total
    on_page = covered(page, total, walk.order)
    lo, hi = extended(*on_page, avoid)
    weights, top = weighed(walk.weights, len(page.items), size), walk.top or walk.at
    after = replace(walk, total=total, top=top, weights=weights)
    if hi < min(walk.at, total):  # the total changed since it was asked for
        return replace(after, at=min(walk.at, total))
    known = [start for start in (walk.reached, *starts) if start is not None]
    reached = min(known, default=None)
    return replace(
        after,
        at=min(walk.at, lo),
        reached=reached,
        records=walk.records + len(page.items),
        hidden=walk.hidden + max(0, on_page[1] - on_page[0] - len(page.items)),
        done=lo == 0 or (reached is not None and reached < oldest),
    )


def skipped(walk: Walk, request: PageRequest) -> Walk:
    """Go on below a single record whose page is too large."""
    number = request.number if walk.order is not Order.DESC else walk.total - request.number + 1
    at = max(0, number - 1)
    return replace(walk, at=min(walk.at, at), hidden=walk.hidden + 1, done=at == 0)


def heavy(walk: Walk, request: PageRequest) -> Walk:
    """Request half of a page that was too large."""
    return replace(walk, weights=too_heavy(walk.weights, request.size))


def share(walk: Walk, *, newest: float, oldest: float) -> float:
    """How much of the walk is done (0 to 1). It ends at the oldest record, or at the time `oldest`."""
    if walk.done:
        return 1.0
    by_position = 1 - walk.at / walk.top if walk.top else 0.0
    timed = walk.reached is not None and newest > oldest
    by_time = (newest - walk.reached) / (newest - oldest) if walk.reached is not None and timed else 0.0
    return min(1.0, max(by_position, by_time, 0.0))
