"""The arithmetic of the plot of results and of the bars of IDCs; `plot.html` draws them. PURE.

Failures are at the bottom of a bar, where they can be compared, and success is at the top. So the position
tells them apart even without colours.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, count
from typing import NamedTuple

from exporter.model import HostStatus, ResultStatus
from exporter.tracking.tallies import Tally, results_of

HEIGHT = 160.0  # units; one pixel each in the style sheet
STEP, BAR = 10.0, 8.0  # units from bar to bar, and the width of one
LEAST = 3.0  # units: a single failure among hundreds must be visible
TALLIES_A_TICK = 12  # an hour
# The parts of a bar, from the bottom up.
STACK = tuple(map(ResultStatus, ("fail", "timeout", "unknown", "cancelled", "success")))
HOST_STACK = tuple(map(HostStatus, ("fail", "timeout", "unreported", "unknown", "cancelled", "success")))
Window = Sequence[tuple[float, Tally]]  # start of each stretch (POSIX) and its tally, oldest first


class Segment(NamedTuple):
    """A part of a bar: its begin, from 0, and its length."""

    status: str
    at: float
    size: float


def top_of(window: Window) -> int:
    """Return the end of the axis: records in one stretch."""
    return nice(max((sum(tally.results.values()) for _, tally in window), default=0))


def nice(greatest: int) -> int:
    """Return the smallest end of an axis, at least `greatest`, whose half is a round number too."""
    ends: Iterator[int] = (step * 10**power for power in count() for step in (2, 4, 10))
    return next(end for end in ends if end >= greatest)


def segments(counts: Mapping[str, int], order: Sequence[str], *, whole: int, length: float) -> list[Segment]:
    """Cut a bar of `length` for `whole` into parts as long as their counts, none shorter than LEAST.

    The longest part gives what the small ones take beyond their share.
    """
    sizes = {
        status: max(LEAST, length * counts[status] / whole) for status in order if counts.get(status, 0) > 0
    }
    if (over := sum(sizes.values()) - length) > 0:
        longest = max(sizes, key=lambda status: sizes[status])
        sizes[longest] -= over
    begins = accumulate(sizes.values(), initial=0.0)
    return [Segment(status, at, size) for (status, size), at in zip(sizes.items(), begins, strict=False)]


def hourly(window: Window) -> Iterator[tuple[float, Mapping[str, int]]]:
    """Return the start and the results of each hour, the newest first."""
    for at in range(len(window) - TALLIES_A_TICK, -1, -TALLIES_A_TICK):
        yield window[at][0], results_of(tally for _, tally in window[at : at + TALLIES_A_TICK])
