"""Which records of a page are new, and which were there before counting began. PURE.

Rule 2. The first reading and the first sweep register the records that were there. An unknown record within
their reach is new, whatever its times say, unless it may be one that they could not see. Such a record is
doubtful, and so is every record out of reach: its own times decide. If it tells no end, it is new if it lies
within reach, or if growth of the total explains it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from exporter.discovery import reading
from exporter.discovery.pages import Purpose, weighed
from exporter.discovery.reading import Fresh, Reading
from exporter.discovery.tail import Tail, end_first_reading, is_first_reading
from exporter.model import LONG_AGO, Clock, ExecuteStatus, Page, PageItem, Record, Series
from exporter.tracking.counting import Increment, incomplete
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.tracker import baseline, follow, is_baseline
from exporter.tracking.values import Changes, Rules, Settlement, Tracked

ADOPT_BYTES = 32_000_000  # the first reading goes no further down than this takes
LATE = Increment(series=Series("job_exporter_records_late_total"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRead:
    """A page, the ids on it that the ledger knows, its size in bytes, and why it was requested."""

    page: Page
    known: frozenset[str]
    size: int
    purpose: Purpose = Purpose.GAP


def page_read(
    tail: Tail, counting_start: CountingStart, read: PageRead, *, clock: Clock, rules: Rules, sweeps: bool
) -> Changes:
    """Take in a page: its new records, and the progress of a first reading or sweep."""
    result = reading.read(
        replace(tail, weights=weighed(tail.weights, len(read.page.items), read.size)),
        read.page,
        read.known,
        clock=clock,
        purpose=read.purpose,
        unregistered=counting_start.unregistered,
        bottom=counting_start.bottom_at(max(tail.total or 0, read.page.total or 0)),
    )
    after = result.tail
    doubtful = doubtful_ids(result.fresh, counting_start)
    found, settlements = _followed(result.fresh, doubtful, counting_start, clock, rules)
    if is_first_reading(tail):
        after, counting_start = _first_read(counting_start, result, read.size)
    else:
        counting_start = _appeared(counting_start, result.fresh, doubtful)
    grown = sum(one.is_grown and one.is_within for one in result.fresh)
    accounted = min(counting_start.accounted + grown, after.total or 0)
    counting_start = replace(counting_start, accounted=accounted).after_order(tail.order, after.order)
    counting_start = counting_start.after_reading(after, sweeps=sweeps)
    if result.ended is not None:
        after = replace(after, swept=clock.wall)
        counting_start = counting_start.after_sweep(after, result.ended)
    hidden = (incomplete("hidden", result.given_up),) if result.given_up else ()
    return Changes(
        tail=after,
        counting_start=counting_start,
        found=found,
        settlements=settlements,
        increments=(LATE,) * sum(one.is_late for one in result.fresh) + hidden,
        given_up=result.given_up,
    )


def _first_read(counting_start: CountingStart, result: Reading, size: int) -> tuple[Tail, CountingStart]:
    """Take in a page of the first reading: how far down all records were seen."""
    first, tail = result.first, result.tail
    after = replace(
        counting_start,
        invisible=max(0, counting_start.invisible + result.first_unseen),
        lowest=first.low[0] if first and first.low else None,
        read=counting_start.read + size,
    )
    if first is not None and not after.invisible:
        after = replace(after, bottom=first.at)
    if first is not None and first.at == 0:
        after = replace(after, registered=LONG_AGO)
    # It may end early only if no history is counted: then it only has to adopt open records.
    counts_history = not after.baseline_end or any(gap.floor_start is not None for gap in tail.gaps)
    return end_first_reading(tail) if after.read > ADOPT_BYTES and not counts_history else tail, after


def _appeared(start: CountingStart, fresh: Iterable[Fresh], doubtful: Collection[str]) -> CountingStart:
    """Count the records that were invisible before."""
    # A record that growth explains may have been invisible too, if its start says so.
    appeared = sum(
        one.item.id in doubtful or (one.item.start is not None and _may_be_invisible(one, start))
        for one in fresh
        if is_registered(one, start)
    )
    return replace(start, invisible=max(0, start.invisible - appeared))


def _followed(
    fresh: Iterable[Fresh], doubtful: Collection[str], start: CountingStart, clock: Clock, rules: Rules
) -> tuple[tuple[Tracked, ...], tuple[Settlement, ...]]:
    """Follow the new records of a page. Those that the page itself shows done before may be the baseline."""
    followed: list[Tracked] = []
    settlements: list[Settlement] = []
    for one in fresh:
        tracked = follow(
            one.item,
            doubtful=one.item.id in doubtful,
            new_without_end=one.is_grown or (is_registered(one, start) and not one.is_early),
            counting_start=start,
            clock=clock,
            rules=rules,
        )
        record = _ended_record(one.item)
        if record is not None and is_baseline(tracked, record, clock):
            settlements.append(baseline(tracked, record))
        else:
            followed.append(tracked)
    return tuple(followed), tuple(settlements)


def doubtful_ids(fresh: Collection[Fresh], counting_start: CountingStart) -> frozenset[str]:
    """The records of a page that may have been there before the first reading."""
    doubtful = {one.item.id for one in fresh if one.is_early or not is_registered(one, counting_start)}
    # These may be among the records that the first reading or sweep could not see.
    passed = {one.item.id for one in fresh if not one.is_grown and _may_be_invisible(one, counting_start)}
    # If there are more of these than invisible records, their times are wrong.
    is_few = len(passed - doubtful) <= counting_start.invisible
    return frozenset(doubtful | passed if is_few else doubtful)


def is_registered(one: Fresh, counting_start: CountingStart) -> bool:
    """Whether all old records that were visible are registered in the place of this one."""
    if one.is_above or one.is_grown:
        return one.is_within
    # Before the first sweep has ended, a start alone is no proof: a time zone may shift it.
    registered = counting_start.registered
    return registered is not None and (registered <= LONG_AGO or (one.item.start or LONG_AGO) > registered)


def _may_be_invisible(one: Fresh, counting_start: CountingStart) -> bool:
    return not one.is_above and (one.item.start is None or one.item.start <= counting_start.began)


def _ended_record(item: PageItem) -> Record | None:
    """A done record as the page shows it; None: the page shows no end."""
    if item.record is not None:
        is_done = item.record.execute_status is ExecuteStatus.DONE and item.record.end is not None
        return item.record if is_done else None
    if item.ended is None:
        return None
    return Record(id=item.id, execute_status=ExecuteStatus.DONE, start=item.start, end=item.ended)
