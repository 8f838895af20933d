"""What a probe changes: counting starts, an empty platform is confirmed, a sweep starts. PURE."""

from dataclasses import dataclass, replace

from exporter.discovery import evidence
from exporter.discovery.gaps import Gap
from exporter.discovery.pages import weighed
from exporter.discovery.sweep import begin_sweep
from exporter.discovery.tail import Tail, first_reading, probed
from exporter.model import LONG_AGO, Clock, Page
from exporter.tracking.counting_start import CountingStart

LONG_RUN = 6 * 3600.0  # seconds: a record that ended in the history began so long before it, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Settings of the first start and of later probes; seconds."""

    adopt: int = 200  # number of newest records in the first reading
    history: float | None = 0.0  # first start: maximum age (by end) of counted records; None: all; 0: none
    recheck_interval: float = 300.0
    sweep: float = 86400.0  # maximum age (by start) of records that the sweep reads; 0: no sweep


def probe_read(
    tail: Tail, counting_start: CountingStart | None, page: Page, *, size: int, clock: Clock, start: Start
) -> tuple[Tail, CountingStart]:
    """Take in a page of one record of `size` bytes; without a counting start, counting starts now."""
    # The first record is always the same: its size does not predict the size of tail records.
    if not tail.weights.widest:
        tail = replace(tail, weights=weighed(tail.weights, len(page.items), size))
    before = tail.order
    tail = probed(tail, page, clock=clock, recheck_interval=start.recheck_interval)
    if counting_start is None:
        return _first_start(tail, page.total or 0, clock, start)
    counting_start = counting_start.after_order(before, tail.order)
    if tail.empty is not None:
        tail, counting_start = _seemed_empty(tail, counting_start, clock, start)
    counting_start = counting_start.after_reading(tail, sweeps=start.sweep > 0)
    if not start.sweep or counting_start.floor is None:
        return replace(tail, sweep=None, unswept=None), counting_start
    is_first = counting_start.registered is None
    newest = min(clock.platform, counting_start.baseline_end) if is_first else clock.platform
    return begin_sweep(tail, now=clock.now, oldest=newest - start.sweep, is_first=is_first), counting_start


def _first_start(tail: Tail, total: int, clock: Clock, start: Start) -> tuple[Tail, CountingStart]:
    """Records that are done now are the baseline, unless history is to be counted.

    If the platform is empty, further answers must confirm it for a minute.
    """
    baseline_end = 0.0 if start.history is None else clock.platform - start.history
    counting_start = CountingStart(baseline_end=baseline_end, floor=None, bottom=total, accounted=total)
    if start.history is None:  # every record is to be counted
        counting_start = replace(counting_start, floor=0.0, registered=LONG_AGO)
    empty = None if total else evidence.added(None, total=0, now=clock.now)
    return replace(tail, gaps=_first_gaps(total, counting_start, clock, start), empty=empty), counting_start


def _seemed_empty(
    tail: Tail, counting_start: CountingStart, clock: Clock, start: Start
) -> tuple[Tail, CountingStart]:
    """Confirm that the platform is empty, or begin the first reading after all."""
    total = tail.last_total
    if total:
        counting_start = replace(counting_start, seemed_empty=True, bottom=total, accounted=total)
        gaps = _first_gaps(total, counting_start, clock, start)
        return replace(tail, gaps=gaps, empty=None), counting_start
    empty = evidence.added(tail.empty, total=0, now=clock.now)
    if not empty.is_confirmed(clock.now):
        return replace(tail, empty=empty), counting_start
    floor = counting_start.baseline_end
    return replace(tail, empty=None), replace(counting_start, floor=floor, registered=LONG_AGO)


def _first_gaps(total: int, counting_start: CountingStart, clock: Clock, start: Start) -> tuple[Gap, ...]:
    """The gaps of the first reading: the newest records, or all records down to a time."""
    # Records that came after an answer of an empty platform must be counted, however many.
    if start.history == 0 and not counting_start.seemed_empty:
        return first_reading(total, now=clock.now, newest=start.adopt)
    since = None if start.history is None else counting_start.baseline_end - LONG_RUN
    return first_reading(total, now=clock.now, since=since)
