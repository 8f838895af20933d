"""What the ledger knows: its state in memory, its data on one record, the gauges of the platform. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.discovery.tail import Tail
from exporter.model import Clock, FailedRecord, Sample, Series
from exporter.tracking.counting import is_future
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.lookups import is_overdue
from exporter.tracking.tallies import Recent
from exporter.tracking.values import Rules, Stage, Tracked


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All followed records and all counters; immutable."""

    tail: Tail = field(default_factory=Tail)
    counting_start: CountingStart | None = None  # None: nothing was read yet
    followed: Mapping[str, Tracked] = field(default_factory=dict)  # by record id
    counters: Mapping[Series, Sample] = field(default_factory=dict)
    latest: Mapping[Series, float] = field(default_factory=dict)  # gauges that keep their highest value
    failures: tuple[FailedRecord, ...] = ()  # newest first
    recent: Recent = field(default_factory=dict)  # tallies of the last hours
    numbers: Mapping[Series, int] = field(default_factory=dict)  # of series, used in `settled.moved`
    records: int = 0  # rows of `settled`
    time: float = 0.0  # ledger time of the last commit
    holds: tuple[float, ...] = ()  # later ledger times at which held samples are to be shown, ascending


class LedgerStatus(StrEnum):
    """The status of a record in the ledger."""

    COUNTED = "counted"
    BASELINE = "baseline"
    VANISHED = "vanished"
    OPEN = "open"
    SETTLING = "settling"  # done, waiting for its hosts
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The ledger's data on one record; times of our clock, except start and end."""

    id: str
    status: LedgerStatus
    found: float
    tracked: Tracked | None = None  # while it is in the open set
    settled: float | None = None  # when it left the open set
    result: str | None = None
    start: float | None = None
    end: float | None = None
    lookups: int | None = None  # minimum number of answered look-ups
    done: float | None = None  # first seen done
    moved: Mapping[Series, float] | None = None  # None: counted before the ledger kept it

    @property
    def discovered(self) -> bool:
        """Whether it incremented `job_records_discovered_total`."""
        if self.tracked is not None:
            return self.tracked.baseline_end is None
        vanished = self.status is LedgerStatus.VANISHED and bool(self.moved)
        return vanished or self.status is LedgerStatus.COUNTED


def platform_gauges(
    state: State, tail: Tail, *, clock: Clock, skew: float | None, rules: Rules
) -> Mapping[Series, float]:
    """The gauges that disappear while the platform is unreachable."""
    # A record that was not looked up yet counts as running.
    open_ = {"init": 0, "doing": 0}
    oldest: dict[str, float] = {}
    overdue, hidden = 0, tail.invisible
    for item in state.followed.values():
        if item.stage is Stage.DONE or item.baseline_end is not None:
            continue
        status = "init" if item.stage is Stage.INIT else "doing"
        open_[status] += 1
        overdue += is_overdue(item, clock=clock, rules=rules)
        if item.start is not None and not is_future(item.start, clock.platform):
            oldest[status] = min(oldest.get(status, item.start), item.start)
    done = max(0, (tail.total or 0) - sum(open_.values()) - hidden)
    gauges = {Series("job_records_overdue"): float(overdue), Series("job_records_hidden"): float(hidden)}
    for status, number in {**open_, "done": done}.items():
        gauges[Series("job_records", (("execute_status", status),))] = float(number)
    for status, start in oldest.items():
        name = "job_record_oldest_open_start_timestamp_seconds"
        gauges[Series(name, (("execute_status", status),))] = start
    if skew is not None:
        gauges[Series("job_exporter_clock_skew_seconds")] = skew
    return {**gauges, **state.latest}
