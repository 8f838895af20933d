"""How pages lie over positions. PURE.

Positions are counted from the oldest record (0) to the newest (total - 1), whatever the order of pages.
"""

from dataclasses import dataclass
from enum import StrEnum

from exporter.model import Page


class Order(StrEnum):
    """How the platform sorts its pages by start time."""

    ASC = "oldest first"
    DESC = "newest first"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page to ask for."""

    number: int
    size: int


PROBE = PageRequest(number=1, size=1)  # the cheapest question that tells the total


def page_at(lo: int, at: int, *, total: int, limit: int, order: Order | None) -> PageRequest:
    """The page that covers most of positions lo to at, downwards from at, with the least beside them.

    Records that are shown beside them are read, sent and decoded: they count double. But a wide page may be
    dear though it lies mostly beyond the end: so the room that it leaves empty counts, too.
    """
    descending = order is Order.DESC
    first, last = (total - at, total - lo) if descending else (lo, at)
    best, best_score = PageRequest(number=1, size=1), (-1, 0)
    for size in range(1, limit + 1):
        number = (first if descending else last - 1) // size
        begin, end = number * size, min((number + 1) * size, total)
        useful = min(end, last) - max(begin, first)
        score = (useful, 2 * (begin - end) - size)
        if score > best_score:
            best, best_score = PageRequest(number=number + 1, size=size), score
    return best


def covered(page: Page, total: int, order: Order | None) -> tuple[int, int]:
    """The positions that a page covers, given the total that came with it."""
    begin = min((page.number - 1) * page.size, total)
    end = min(page.number * page.size, total)
    return (total - end, total - begin) if order is Order.DESC else (begin, end)
