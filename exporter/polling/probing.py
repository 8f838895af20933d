"""What the answer to a probe changes: where records may be missing, and whether a sweep starts. PURE."""

from dataclasses import replace

from exporter.discovery.sweeping import begin_sweep
from exporter.discovery.tail import Tail, probed
from exporter.discovery.weights import weighed
from exporter.model import Page
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.finding import Start, begin, go_on
from exporter.tracking.values import Clock


def probe_taken(
    tail: Tail, counting_start: CountingStart | None, page: Page, *, size: int, clock: Clock, start: Start
) -> tuple[Tail, CountingStart]:
    """Take in a page of one record of `size` bytes; without a counting start, counting starts now."""
    # The first record is always the same: its size does not predict the size of tail records.
    if not tail.weights.widest:
        tail = replace(tail, weights=weighed(tail.weights, len(page.items), size))
    if counting_start is None:
        return begin(tail, page, clock=clock, start=start)
    before = tail.order
    tail = probed(
        tail,
        page,
        now=clock.now,
        platform_now=clock.platform,
        recheck_interval=start.recheck_interval,
    )
    counting_start = counting_start.after_order(before, tail.order)
    tail, counting_start = go_on(tail, counting_start, clock=clock, start=start)
    return _sweeping(tail, counting_start, clock=clock, start=start), counting_start


def _sweeping(tail: Tail, counting_start: CountingStart, *, clock: Clock, start: Start) -> Tail:
    """Start a sweep if one is due."""
    if not start.sweep or counting_start.floor is None:
        return replace(tail, sweep=None, unswept=None)
    is_first = counting_start.registered is None
    newest = min(clock.platform, counting_start.baseline_end) if is_first else clock.platform
    return begin_sweep(tail, now=clock.now, oldest=newest - start.sweep, is_first=is_first)
