"""The ledger's state in memory. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.discovery.tail import Tail
from exporter.model import FailedRecord, Sample, Series
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.tallies import Recent
from exporter.tracking.values import Tracked


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
