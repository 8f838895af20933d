"""Which records a backfill counts, and the times of its samples. PURE; all times are POSIX seconds."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.model import Record
from exporter.settings.parsers import duration, quote

AHEAD = 5.0  # seconds that an end may lie ahead of now: two clocks differ, and a second is not cut in two


class BackfillError(Exception):
    """The backfill can't be done, or not be done to its end; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Records that ended after `begin` and by `end`."""

    begin: float
    end: float

    def holds(self, moment: float | None) -> bool:
        """Whether this moment, if it is one, lies in the window."""
        return moment is not None and self.begin < moment <= self.end


def window(begin: str, end: str, *, now: float) -> Window:
    """Read `--from` and `--to`. Raises BackfillError: no times, in the future, the wrong way round."""
    first, last = instant("--from", begin, now=now), instant("--to", end, now=now)
    for flag, text, moment in (("--from", begin, first), ("--to", end, last)):
        if moment > now + AHEAD:
            raise BackfillError(f"{flag} {text} lies in the future: nothing has ended there yet")
    if first >= last:
        raise BackfillError(f"the window is the wrong way round: --from {begin} is not before --to {end}")
    return Window(begin=first, end=last)


def instant(flag: str, text: str, *, now: float) -> float:
    """Read `now`, a duration before it, a date or a time (UTC where it names no zone)."""
    if text == "now":
        return now
    try:
        return now - duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BackfillError(
            f"{flag}: {quote(text)} is no time; write now, a duration before now such as 30d, a date such as "
            "2026-01-31, or a time such as 2026-01-31T08:00:00+08:00"
        ) from None


def ended(record: Record) -> float | None:
    """When a finished record counts: at its end, but never before it began; None: it tells no time."""
    return max((time for time in (record.start, record.end) if time is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The times of the samples: whole steps of the clock up to `end`, and `end` itself."""

    begin: float  # all is 0 then: the last whole step before the window
    end: float
    step: float

    def __len__(self) -> int:
        return math.ceil((self.end - self.begin) / self.step) + 1

    def index(self, moment: float) -> int:
        """The first sample that holds what happened at this moment."""
        return min(math.ceil((moment - self.begin) / self.step), len(self) - 1)

    def at(self, index: int) -> float:
        """The time of a sample."""
        return min(self.begin + index * self.step, self.end)


def grid(window: Window, *, step: float, latest: float = math.inf) -> Grid:
    """The samples of a window, none after `latest`; milliseconds are the finest that Prometheus knows.

    Raises BackfillError if no time is left.
    """
    begin = math.floor(window.begin / step) * step
    end = math.floor(min(window.end, latest) * 1000) / 1000
    if end <= begin:
        raise BackfillError("live counting began before the window did: there is nothing to fill in")
    return Grid(begin=begin, end=end, step=step)


def shown(moment: float) -> str:
    """A time as a person reads it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
