"""The values of the page, computed from the last snapshot and the ledger's state. PURE.

Templates read single gauges and counters by the names of their metrics.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from exporter.discovery.gaps import Gap, is_due
from exporter.discovery.tail import Tail
from exporter.model import UNKNOWN, FailedRecord, HostStatus, Series, Snapshot
from exporter.tracking.lookups import is_unreadable
from exporter.tracking.state import State
from exporter.tracking.tallies import KEPT, WIDTH, Tally, first_kept, total
from exporter.tracking.values import Stage, Tracked

STALE_POLLS = 5  # intervals without a successful poll until the page says so; a slow platform takes fewer
STALE_LEAST = 60.0  # seconds, and at least; a demo polls each second
LAG_TALLIES = 3  # the lag is the mean of the last ten minutes or more
SPAN = 300.0  # seconds over which the pace is measured, because pages come in bursts
LEAST_SPAN = 10.0  # seconds; over a shorter time the pace is not known


class Health(StrEnum):
    """The state of the exporter; the values are classes in the style sheet."""

    STARTING = "starting"  # the first poll has not ended
    WORKING = "working"
    CATCHING_UP = "catching-up"
    STALE = "stale"  # no poll has ended for a while
    FAILING = "failing"  # the platform answers, but the poll fails, most likely because of the ledger
    DOWN = "down"  # the platform cannot be read


class Unreadable(NamedTuple):
    """A record or page position that cannot be read now."""

    record: str | None  # its id, if known
    position: int | None  # from the oldest record (0)
    tries: int
    reason: str
    next_try: float  # POSIX; may have passed


class Idc(NamedTuple):
    """The results of the hosts of one IDC: numbers of hosts by status."""

    name: str
    recent: Counter[str]  # in the window
    ever: Counter[str]  # since counting began


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Records that are not counted yet, though they may have finished."""

    records: int
    at_most: bool = False  # the history to read may end earlier
    seconds: float | None = None  # until it is done, at the current pace; None: not known


@dataclass(frozen=True, kw_only=True)
class PageData:
    """All values of the page; times are POSIX seconds, durations seconds."""

    snapshot: Snapshot
    state: State
    error: str | None  # why the last poll failed
    interval: float  # between polls
    now: float
    backlog: Backlog | None = None  # while catching up

    def gauge(self, name: str, **labels: str) -> float | None:
        """Return the value of a gauge."""
        return self.snapshot.gauges.get(Series(name, tuple(labels.items())))

    def counter(self, name: str) -> int:
        """Return the value of a counter without labels."""
        sample = self.snapshot.counters.get(Series(name))
        return int(sample.value) if sample else 0

    @property
    def follows(self) -> bool:
        """Whether another replica is the leader, or none."""
        return self.gauge("job_exporter_leader") == 0

    @property
    def catches_up(self) -> bool:
        """Whether this replica is counting records that finished during a downtime."""
        return bool(self.gauge("job_exporter_catching_up")) and not self.follows

    @property
    def polled(self) -> float | None:
        """The end of the leader's last successful poll."""
        return self.gauge("job_exporter_last_successful_poll_timestamp_seconds") or None

    @cached_property
    def health(self) -> Health:
        """The state of the exporter."""
        if not self.counter("job_exporter_polls_total") and not (self.follows and self.polled):
            return Health.STARTING
        if self.error is not None:
            return Health.FAILING if self.gauge("job_exporter_platform_up") else Health.DOWN
        if self.gauge("job_exporter_catching_up"):
            return Health.CATCHING_UP
        longest = max(STALE_LEAST, STALE_POLLS * self.interval)
        return Health.STALE if self.polled and self.now - self.polled > longest else Health.WORKING

    @cached_property
    def since(self) -> float | None:
        """When counting began."""
        discovered = self.snapshot.counters.get(Series("job_records_discovered_total"))
        return discovered.born if discovered else None

    @cached_property
    def window(self) -> Sequence[tuple[float, Tally]]:
        """The start of each stretch of the last hours and its tally, oldest first."""
        first = first_kept(self.now)
        recent = self.state.recent
        return [(float(number * WIDTH), recent.get(number, Tally())) for number in range(first, first + KEPT)]

    @cached_property
    def lag(self) -> float | None:
        """The mean time from a record's end until it was counted, without records that ended before."""
        tallies = [
            tally
            for start, tally in self.window[-LAG_TALLIES:]
            if tally.lagged and start >= (self.since or start)
        ]
        return sum(one.lag for one in tallies) / sum(one.lagged for one in tallies) if tallies else None

    @property
    def oldest(self) -> float | None:
        """The start of the oldest open record."""
        family = "job_record_oldest_open_start_timestamp_seconds"
        starts = (value for series, value in self.snapshot.gauges.items() if series.family == family)
        return min(starts, default=None)

    @cached_property
    def unreadable(self) -> Sequence[Unreadable]:
        """The unreadable records and positions that this replica knows, the next retry first."""
        if self.follows:
            return []
        to_posix = self.now - self.state.time
        records = (
            Unreadable(item.id, None, item.unread, item.reason, item.due + to_posix)
            for item in self.state.followed.values()
            if is_unreadable(item)
        )
        positions = (
            Unreadable(None, item.position, item.tries, item.reason, item.due + to_posix)
            for item in self.state.tail.unreadable
        )
        return sorted((*records, *positions), key=lambda item: item.next_try)

    @cached_property
    def idcs(self) -> Sequence[Idc]:
        """All IDCs ever seen, the worst first; IDCs without hosts in the window come last."""
        recent = total(tally for _, tally in self.window).hosts
        ever: dict[str, Counter[str]] = {idc: Counter() for idc in recent}
        for series, sample in self.snapshot.counters.items():
            if series.family == "job_host_results_total":
                labels = dict(series.labels)
                ever.setdefault(labels["idc"], Counter())[labels["status"]] = int(sample.value)
        idcs = (Idc(name, Counter(recent.get(name)), hosts) for name, hosts in ever.items())
        return sorted(idcs, key=_worst)

    @cached_property
    def failures(self) -> Sequence[FailedRecord]:
        """The records that did not succeed, newest first; a missing or future end is taken as now."""
        now = self.now
        return sorted(
            self.state.failures,
            key=lambda item: -min(item.finished if item.finished is not None else now, now),
        )


def bad(hosts: Counter[str]) -> int:
    """Count the hosts that did not succeed."""
    return hosts.total() - hosts[HostStatus.SUCCESS]


def _worst(idc: Idc) -> tuple[object, ...]:
    """Sort key. Hosts of the IDC `unknown` never reported, so it would always be the worst."""
    hosts = idc.recent.total()
    return not hosts, idc.name == UNKNOWN, -bad(idc.recent) / max(1, hosts), -hosts, idc.name


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
