"""The arithmetic of the plot of results and of the bars of IDCs; `plot.html` draws them. PURE.

What did not succeed lies at the bottom, where bars can be compared, and success on top of it. So the position
tells them apart where the colours do not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.model import HostStatus, ResultStatus
from exporter.page.format import count, listed, number, plain_clock
from exporter.tracking.tallies import WIDTH, Tally, results_of

HEIGHT = 160.0  # units; the style sheet makes it as many pixels
STEP, BAR = 10.0, 8.0  # units from bar to bar, and the width of one
LEAST = 3.0  # units: a single failure among hundreds must be seen
TALLIES_A_TICK = 12  # an hour
STACK = (
    ResultStatus.FAIL,
    ResultStatus.TIMEOUT,
    ResultStatus.UNKNOWN,
    ResultStatus.CANCELLED,
    ResultStatus.SUCCESS,
)  # from the bottom up
HOST_STACK = (
    HostStatus.FAIL,
    HostStatus.TIMEOUT,
    HostStatus.UNREPORTED,
    HostStatus.UNKNOWN,
    HostStatus.CANCELLED,
    HostStatus.SUCCESS,
)
Window = Sequence[tuple[float, Tally]]  # start of each stretch (POSIX) and what ended in it, oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar: where it begins, from 0, and how long it is."""

    status: str
    at: float
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The records that ended in one stretch of the window."""

    left: float  # of the stretch
    title: str
    parts: Sequence[Segment]  # from the bottom up


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """All that the drawing needs; lengths in units of the drawing."""

    top: int  # records at the end of the axis
    width: float
    text: str
    bars: Sequence[Bar]
    ticks: Sequence[float]  # POSIX times, each hour
    end: float  # POSIX time


def plot(window: Window, *, now: float) -> Plot:
    """Lay out what ended in each stretch of the window."""
    top = nice(max((sum(tally.results.values()) for _, tally in window), default=0))
    return Plot(
        top=top,
        width=STEP * len(window),
        text=spoken(window),
        bars=list(_bars(window, top, now)),
        ticks=[start for start, _ in window[::TALLIES_A_TICK]],
        end=window[-1][0] + WIDTH if window else now,
    )


def nice(greatest: int) -> int:
    """Give the least end of an axis at or above `greatest` that halves into a round number."""
    power = 1
    while True:
        for step in (2, 4, 10):
            if greatest <= step * power:
                return step * power
        power *= 10


def segments(
    counts: Mapping[str, int], order: Sequence[str], *, whole: int, length: float, least: float = LEAST
) -> list[Segment]:
    """Cut a bar of `length` for `whole` into parts as long as their counts, none shorter than `least`.

    The longest part gives what the small ones take beyond their share. `length` must have room for each
    part's `least`.
    """
    sizes = {
        status: max(least, length * counts[status] / whole) for status in order if counts.get(status, 0) > 0
    }
    if (over := sum(sizes.values()) - length) > 0:
        longest = max(sizes, key=lambda status: sizes[status])
        sizes[longest] -= over
    parts, at = [], 0.0
    for status, size in sizes.items():
        parts.append(Segment(status=status, at=at, size=size))
        at += size
    return parts


def share(counts: Mapping[str, int]) -> list[Segment]:
    """Cut a bar of length 100 by how hosts ended."""
    whole = sum(counts.values())
    return segments(counts, HOST_STACK, whole=whole, length=100.0) if whole else []


def spoken(window: Window) -> str:
    """Say in a sentence what the plot shows."""
    hours = len(window) * WIDTH / 3600
    results = results_of(tally for _, tally in window)
    if not results:
        return f"No record ended in the last {hours:g} hours."
    parts = [f"{number(results[status])} {status}" for status in reversed(STACK) if results.get(status)]
    return f"In the last {hours:g} hours {count(sum(results.values()), 'record')} ended: {listed(parts)}."


def hourly(window: Window) -> Iterator[tuple[float, Mapping[str, int]]]:
    """Give the start and the results of each hour, the newest first."""
    for at in range(len(window) - TALLIES_A_TICK, -1, -TALLIES_A_TICK):
        yield window[at][0], results_of(tally for _, tally in window[at : at + TALLIES_A_TICK])


def _bars(window: Window, top: int, now: float) -> Iterator[Bar]:
    for place, (start, tally) in enumerate(window):
        parts = segments(tally.results, STACK, whole=top, length=HEIGHT)
        if not parts:
            continue
        begin, end = (plain_clock(at, now=now, precise=False) for at in (start, start + WIDTH))
        numbers = listed(f"{number(tally.results[part.status])} {part.status}" for part in reversed(parts))
        yield Bar(left=place * STEP, title=f"{begin} to {end}: {numbers}", parts=parts)
