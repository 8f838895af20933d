"""How pages lie over positions, and how many records one may hold. PURE.

Positions are counted from the oldest record (0) to the newest (total - 1), whatever the order of pages.
"""

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.model import Page


class Order(StrEnum):
    """How the platform sorts its pages by start time."""

    ASC = "oldest first"
    DESC = "newest first"


class Purpose(StrEnum):
    """Why a page is requested."""

    GAP = "a gap"
    ENDS = "the order of pages"
    NARROW = "the unreadable position of a page that failed"
    RETRY = "an unreadable position"
    SWEEP = "the sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page to request."""

    number: int
    size: int
    purpose: Purpose = Purpose.GAP


PROBE = PageRequest(number=1, size=1)  # the cheapest request that tells the total


def page_at(
    lo: int, at: int, *, total: int, limit: int, order: Order | None, avoid: Collection[int] = ()
) -> PageRequest:
    """The page that covers most of positions lo to at, downwards from at, with the least beside them.

    Records outside of them cost double, as they are read, sent and decoded. The width costs too: a wide page
    may be expensive even if most of it lies beyond the end. No page covers a position of `avoid`, so position
    at - 1 must not be one.
    """
    descending = order is Order.DESC
    first, last = (total - at, total - lo) if descending else (lo, at)
    avoided = sorted(total - 1 - position if descending else position for position in avoid)
    best, best_score = PageRequest(number=1, size=1), (-1, 0)
    for size in range(1, limit + 1):
        number = (first if descending else last - 1) // size
        begin, end = number * size, min((number + 1) * size, total)
        useful = min(end, last) - max(begin, first)
        score = (useful, 2 * (begin - end) - size)
        if score > best_score and bisect_left(avoided, begin) == bisect_left(avoided, end):
            best, best_score = PageRequest(number=number + 1, size=size), score
    return best


def covered(page: Page | PageRequest, total: int, order: Order | None) -> tuple[int, int]:
    """The positions that a page covers, given the total that came with it."""
    begin = min((page.number - 1) * page.size, total)
    end = min(page.number * page.size, total)
    return (total - end, total - begin) if order is Order.DESC else (begin, end)


def top_below(at: int, lo: int, avoid: Collection[int]) -> int:
    """`at`, moved down over avoided positions just below it, at most to `lo`."""
    while at > lo and at - 1 in avoid:
        at -= 1
    return at


def extended(lo: int, hi: int, avoid: Collection[int]) -> tuple[int, int]:
    """The positions of a page and the avoided ones right above and below it."""
    while hi in avoid:
        hi += 1
    return top_below(lo, 0, avoid), hi


MAX_PAGE_SIZE = 500  # the offset of a page costs, not its width: 2.0 s for 1 record, 2.2 s for 50
PAGE_BYTES = 4_000_000  # the platform's memory grows by about 7 times the body
GROWTH = 4  # unknown records may be heavy: a page is at most so many times wider than a good one


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What earlier pages showed."""

    record_bytes: float = 0.0  # of a heavy recent one
    widest: int = 0  # records of the largest good page


def page_limit(weights: Weights, limit: int = MAX_PAGE_SIZE) -> int:
    """How many records a page may hold now (1 to `limit`), so that it stays under `PAGE_BYTES`."""
    return max(1, min(limit, GROWTH * weights.widest, int(PAGE_BYTES / max(weights.record_bytes, 1.0))))


def weighed(weights: Weights, records: int, size: int) -> Weights:
    """Learn from a page of `records` records and `size` bytes how heavy records are."""
    if not records:
        return weights
    # A heavier page counts at once, a lighter one slowly: too large a page is the danger.
    return Weights(
        record_bytes=max(size / records, weights.record_bytes / 2),
        widest=max(weights.widest, records) if size <= PAGE_BYTES else max(1, records // 2),
    )


def too_heavy(weights: Weights, records: int) -> Weights:
    """Learn that a page of so many records was refused as too large: ask for half of it."""
    return replace(
        weights,
        record_bytes=max(weights.record_bytes, 2.0 * PAGE_BYTES / records),
        widest=max(1, records // 2),
    )


def refused(weights: Weights, records: int) -> Weights:
    """Learn that the platform failed on a page of so many records, and on none of them alone."""
    return replace(weights, widest=records // (2 * GROWTH))
