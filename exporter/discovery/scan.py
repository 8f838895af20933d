"""Where the reading of the platform stands, and which page is next. PURE.

Positions are counted from the oldest record, whatever the order of pages. The walk goes down from the end of
the window: a deletion of old records moves unread ones only to lower positions, so that none is passed over.
What lands late, before others of its second, does so near the newest: there pages overlap.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from exporter.discovery.pages import Order, PageRequest, covered, extended, page_at, top_below
from exporter.discovery.weights import Weights, page_limit, too_heavy, weighed
from exporter.model import Page

NEAR = 200  # positions below the newest where a late record can land between two pages
OVERLAP = 10  # positions read twice there


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far the reading has come."""

    total: int  # records on the platform
    order: Order | None  # None: both ends began in the same second
    at: int  # from here on upwards all is read
    top: int = 0  # where the reading began
    reached: float | None = None  # earliest start that was met
    weights: Weights = field(default_factory=Weights)  # how heavy pages are
    records: int = 0  # shown by pages so far
    hidden: int = 0  # positions that showed none
    unread: int = 0  # records that could not be read, or not their results
    done: bool = False


def next_page(walk: Walk, *, limit: int, avoid: Collection[int] = ()) -> PageRequest:
    """The page that goes on from where the walk stands; no position of `avoid` may be on it."""
    size = page_limit(walk.weights, limit)
    overlap = min(OVERLAP, size // 2) if walk.total - walk.at < NEAR else 0
    top = min(walk.at + overlap, walk.total)
    request = _below(top, walk, size, avoid)
    if covered(request, walk.total, walk.order)[0] < walk.at:
        return request
    # Pages begin at multiples of their size: a small one may show nothing below what is read twice.
    return _below(walk.at, walk, size, avoid)


def _below(top: int, walk: Walk, size: int, avoid: Collection[int]) -> PageRequest:
    """The page downwards from `top`.

    Where the newest come first a page shows younger records when the total has grown since it was aimed: it
    is as wide near the oldest record as elsewhere, as if there were room below, or it might never show that.
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

    The walk is done where all began before `oldest`. A page that no longer reaches up to the walk counts for
    nothing: the next one is asked where it stands now. Positions of `avoid` beside the page count as read.
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
    """Go on below a single record that is too large to be shown."""
    number = request.number if walk.order is not Order.DESC else walk.total - request.number + 1
    at = max(0, number - 1)
    return replace(walk, at=min(walk.at, at), hidden=walk.hidden + 1, done=at == 0)


def heavy(walk: Walk, request: PageRequest) -> Walk:
    """Ask for half of a page that was too large."""
    return replace(walk, weights=too_heavy(walk.weights, request.size))


def share(walk: Walk, *, newest: float, oldest: float) -> float:
    """How much of the way is done, 0 to 1: it ends at the oldest record, or at a time before that."""
    if walk.done:
        return 1.0
    by_position = 1 - walk.at / walk.top if walk.top else 0.0
    timed = walk.reached is not None and newest > oldest
    by_time = (newest - walk.reached) / (newest - oldest) if walk.reached is not None and timed else 0.0
    return min(1.0, max(by_position, by_time, 0.0))
