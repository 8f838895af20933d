"""The plot of results as inline SVG, and the same as a table. PURE.

Bars are stretched to the width of the page; words would be stretched with them, so the axes are HTML.
What did not succeed lies at the bottom, where bars can be compared, and success on top of it: position
tells them apart where colours do not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.model import HostStatus, ResultStatus
from exporter.page.format import clock, count, listed, number
from exporter.page.markup import Markup, el
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


def nice(greatest: int) -> int:
    """The least end of an axis at or above `greatest` that halves into a round number."""
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

    What the small ones take more than their share, the longest one gives. `length` holds all of `least`.
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


def plot(window: Window, *, now: float) -> Markup:
    """Draw what ended in each stretch of the window, with axes; a bar tells its numbers when pointed at."""
    greatest = max((sum(tally.results.values()) for _, tally in window), default=0)
    top = nice(greatest)
    width = STEP * len(window)
    drawing = el(
        "svg",
        el("title", "Records by how they ended", id="plot-title"),
        el("desc", spoken(window), id="plot-text"),
        el("path", d=f"M0 0H{_short(width)}M0 {_short(HEIGHT / 2)}H{_short(width)}", class_="grid"),
        *(_bar(place, start, tally, top, now) for place, (start, tally) in enumerate(window)),
        viewBox=f"0 0 {_short(width)} {_short(HEIGHT)}",
        preserveAspectRatio="none",
        role="img",
        aria_labelledby="plot-title plot-text",
    )
    scale = el(
        "div", *(el("span", number(n)) for n in (top, top // 2, 0)), class_="scale", aria_hidden="true"
    )
    ticks = el("div", *_ticks(window, now), class_="ticks", aria_hidden="true")
    return el("div", scale, el("div", drawing, class_="bars"), ticks, class_="plot")


def share_bar(counts: Mapping[str, int]) -> Markup:
    """Draw one bar of how hosts ended; the numbers stand beside it."""
    whole = sum(counts.values())
    parts = segments(counts, HOST_STACK, whole=whole, length=100.0) if whole else []
    return el(
        "svg",
        *(
            el(
                "rect",
                x=_short(part.at),
                y=0,
                width=_short(part.size),
                height=10,
                class_=f"fill {part.status}",
            )
            for part in parts
        ),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        class_="share",
        aria_hidden="true",
    )


def spoken(window: Window) -> str:
    """Tell the plot in a sentence."""
    hours = len(window) * WIDTH / 3600
    results = results_of(tally for _, tally in window)
    if not results:
        return f"No record ended in the last {hours:g} hours."
    parts = [f"{number(results[status])} {status}" for status in reversed(STACK) if results.get(status)]
    return f"In the last {hours:g} hours {count(sum(results.values()), 'record')} ended: {listed(parts)}."


def table(window: Window, *, now: float) -> Markup:
    """Give the plot as a table of hours, the newest first."""
    head = el(
        "tr", el("th", "From", scope="col"), *(el("th", status, scope="col") for status in reversed(STACK))
    )
    rows = []
    for at in range(len(window) - TALLIES_A_TICK, -1, -TALLIES_A_TICK):
        results = results_of(tally for _, tally in window[at : at + TALLIES_A_TICK])
        cells = (el("td", number(results.get(status, 0))) for status in reversed(STACK))
        rows.append(el("tr", el("th", clock(window[at][0], now=now, precise=False), scope="row"), *cells))
    return el("table", el("thead", head), el("tbody", *rows), class_="numbers")


def _bar(place: int, start: float, tally: Tally, top: int, now: float) -> Markup | None:
    parts = segments(tally.results, STACK, whole=top, length=HEIGHT)
    if not parts:
        return None
    x = _short(place * STEP + (STEP - BAR) / 2)
    told = listed(f"{number(tally.results[part.status])} {part.status}" for part in reversed(parts))
    when = f"{_plain(start, now)} to {_plain(start + WIDTH, now)}: "
    return el(
        "g",
        el("title", when + told),
        el("rect", x=_short(place * STEP), y=0, width=_short(STEP), height=_short(HEIGHT), class_="hit"),
        *(
            el(
                "rect",
                x=x,
                y=_short(HEIGHT - part.at - part.size),
                width=_short(BAR),
                height=_short(part.size),
                class_=f"fill {part.status}",
            )
            for part in parts
        ),
    )


def _ticks(window: Window, now: float) -> Iterator[Markup]:
    """An hour each; the last one tells its end too."""
    for at in range(0, len(window), TALLIES_A_TICK):
        begins = clock(window[at][0], now=now, precise=False)
        last = at + TALLIES_A_TICK >= len(window)
        ends = clock(window[-1][0] + WIDTH, now=now, precise=False) if last else None
        yield el("span", begins, ends)


def _plain(moment: float, now: float) -> str:
    return clock(moment, now=now, precise=False).partition(">")[2].partition("<")[0]


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
