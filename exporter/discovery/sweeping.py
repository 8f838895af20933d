"""When a sweep starts, its next page, and which other readings are in progress. PURE."""

from dataclasses import replace

from exporter.discovery import sweep
from exporter.discovery.gaps import FIRST_STEP
from exporter.discovery.pages import PageRequest
from exporter.discovery.tail import Tail, backlog, is_first_reading
from exporter.discovery.weights import MAX_PAGE_SIZE

MARGIN = 7200.0  # seconds by which a record's start may lie before it came: masters' clocks differ


def begin_sweep(tail: Tail, *, now: float, oldest: float, is_first: bool) -> Tail:
    """Start a sweep if one is due."""
    if tail.sweep is not None or tail.sweep_due > now or is_first_reading(tail) or not tail.total:
        return tail
    if tail.unswept is not None:
        oldest = min(oldest, tail.unswept - MARGIN)
    begun = sweep.begun(tail.total, tail.order, now=now, oldest=oldest, is_first=is_first)
    return replace(tail, sweep=begun, sweep_due=now + sweep.INTERVAL)


def sweep_page(tail: Tail, *, limit: int = MAX_PAGE_SIZE) -> PageRequest | None:
    """The next page of the sweep; None: there is no sweep, or it can't go on now."""
    total = min(tail.total or 0, tail.told or 0)
    is_false = tail.told == 0 and tail.total  # an answer that is not accepted yet
    if tail.sweep is None or is_false or tail.turned is not None or tail.narrowing is not None:
        return None
    return sweep.next_page(
        tail.sweep, tail.weights, total=total, order=tail.order, limit=limit, avoid=tail.avoided
    )


def is_late_reading(tail: Tail, now: float) -> bool:
    """Whether old records may be read now: growth of a downtime, or records that a deletion hid."""
    deep = any(gap.is_check and gap.step > FIRST_STEP for gap in tail.gaps)
    return deep or tail.unswept is not None or backlog(tail, now) > MAX_PAGE_SIZE


def is_behind(tail: Tail, now: float) -> bool:
    """Whether records may have finished long ago that were not read yet, as after a downtime."""
    is_unsure = tail.fewer is not None or tail.turned is not None or tail.empty is not None
    return is_unsure or backlog(tail, now) > 0 or any(gap.is_check for gap in tail.gaps)
