"""A record of the open set, what is told of it, and how it leaves; clocks and settings. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from exporter.model import ExecuteStatus, FailedRecord, Record, Results
from exporter.tracking.counting import Buckets, Increment


class Stage(StrEnum):
    """How far a record of the open set is on its way."""

    FOUND = "found"
    INIT = "init"
    DOING = "doing"
    DONE = "done"


# The stage that a record's execute status leads to; from done there is no way back.
STAGES: Mapping[ExecuteStatus, Stage] = {
    ExecuteStatus.INIT: Stage.INIT,
    ExecuteStatus.DOING: Stage.DOING,
    ExecuteStatus.DONE: Stage.DONE,
}


class Outcome(StrEnum):
    """How a record left the open set."""

    SETTLED = "settled"
    VANISHED = "vanished"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that following and counting depend on; seconds."""

    interval: float = 15.0
    settle_grace: float = 15.0
    overdue_grace: float = 30.0
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = field(default_factory=Buckets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One moment by three clocks, in seconds. What waits, waits by ledger time; the others date things."""

    now: float  # ledger time: runs while the ledger is polled, and never jumps
    wall: float  # our clock, POSIX
    platform: float  # the platform's clock, POSIX: its times are compared with it


class Tracked(Struct, frozen=True, kw_only=True, gc=False):
    """A record of the open set; ledger time, but for `start`, `seen_open` and `baseline_end`."""

    id: str
    found: float
    due: float
    stage: Stage = Stage.FOUND
    baseline_end: float | None = None  # of a doubtful record; None: it will be counted
    late: bool = False  # found when all that was there before had been registered
    is_first: bool = False  # found by the first reading
    new_without_end: bool = False  # of a doubtful one: it is new if it tells no end
    start: float | None = None
    timeout: float | None = None
    not_found: int = 0  # answers "not found" in a row
    not_found_since: float | None = None
    done: float | None = None  # first seen done
    lookups: int = 0  # that were answered; a restart may forget some
    unread: int = 0  # look-ups in a row that failed, though others did not
    asked: float = 0.0  # seconds of asking in vain, once done
    seen_open: float | None = None  # when it was last seen open, platform's clock; not kept in the ledger
    last_lookup: float = 0.0  # not kept in the ledger
    result_lookups: int = 0
    record: Record | None = None  # once done; a page of whole records may have told it
    best: Results | None = None  # of the look-ups of its hosts, the one that showed most


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What one look-up of a record brought; None: not asked for, or it could not be had."""

    id: str
    record: Record | None = None
    results: Results | None = None
    not_found: bool = False
    failure: str | None = None  # why its own answer could not be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A record that leaves the open set for good, and what it counts."""

    id: str
    outcome: Outcome
    found: float
    lookups: int = 0
    done: float | None = None  # first seen done
    increments: tuple[Increment, ...] = ()
    record: Record | None = None
    failure: FailedRecord | None = None
