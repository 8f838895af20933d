"""When a record counts, and the times of the samples. PURE; all times are POSIX seconds."""

import math
from dataclasses import dataclass

from exporter.model import Record
from exporter.settings.time_range import Window


class BackfillError(Exception):
    """The backfill can't be done, or not be done to its end; the message says what to do."""


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
