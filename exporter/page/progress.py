"""How much is left to count while the exporter catches up, and how long that takes. PURE."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.discovery.gaps import Gap, is_due
from exporter.discovery.tail import Tail
from exporter.tracking.values import Stage, Tracked

SPAN = 300.0  # seconds over which the pace is measured, because pages come in bursts
LEAST_SPAN = 10.0  # seconds; over a shorter time the pace is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Records that are not counted yet, though they may have finished."""

    records: int
    at_most: bool = False  # the history to read may end earlier
    seconds: float | None = None  # until it is done, at the current pace; None: not known


def backlog(tail: Tail, followed: Mapping[str, Tracked], *, now: float) -> Backlog:
    """Count the records that no page has shown yet and those not looked up yet; `now`: ledger time."""
    gaps = [gap for gap in tail.gaps if is_due(gap, now)]
    found = sum(item.stage is Stage.FOUND for item in followed.values())
    return Backlog(
        records=found + sum(map(_left, gaps)),
        at_most=any(_is_first(gap) and gap.floor_start is not None for gap in gaps),
    )


def _left(gap: Gap) -> int:
    return max(0, gap.at - (gap.floor or 0)) if _is_first(gap) else gap.missing


def _is_first(gap: Gap) -> bool:
    """Whether the gap is the first reading of the platform's history, which goes down to its floor."""
    return gap.floor is not None and gap.passes == 0


class Pace:
    """Measures how fast a backlog shrinks."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()  # time and records

    def add(self, records: int, *, now: float) -> None:
        """Add the number of records left at `now` (POSIX); 0 starts anew."""
        if not records or (self._seen and now < self._seen[-1][0]):  # done, or the clock was set back
            self._seen.clear()
        self._seen.append((now, records))
        while now - self._seen[0][0] > SPAN:
            self._seen.popleft()

    def seconds(self, records: int) -> float | None:
        """Estimate how long `records` take; None: not known yet, or the backlog does not shrink."""
        if not self._seen:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        if ended - began < LEAST_SPAN or last >= first:
            return None
        return records * (ended - began) / (first - last)
