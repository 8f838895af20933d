"""Values of tracking: records of the open set, look-ups, settlements, the clocks and the rules. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from exporter.discovery.tail import Tail
from exporter.model import FailedRecord, Record, Results, Series
from exporter.tracking.counting import Buckets, Increment
from exporter.tracking.counting_start import CountingStart


class Stage(StrEnum):
    """The progress of a record of the open set: found, then as its execute status says."""

    FOUND = "found"
    INIT = "init"
    DOING = "doing"
    DONE = "done"


class Outcome(StrEnum):
    """How a record left the open set."""

    SETTLED = "settled"
    VANISHED = "vanished"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings of tracking and counting; seconds."""

    interval: float = 15.0
    settle_grace: float = 15.0
    overdue_grace: float = 30.0
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = field(default_factory=Buckets)


class Tracked(Struct, frozen=True, kw_only=True, gc=False):
    """A record of the open set; ledger time, but for `start`, `seen_open` and `baseline_end`."""

    id: str
    found: float
    due: float
    stage: Stage = Stage.FOUND
    baseline_end: float | None = None  # for a doubtful record; None: it will be counted
    late: bool = False  # found after the first reading and the first sweep
    is_first: bool = False  # found by the first reading
    new_without_end: bool = False  # for a doubtful record: it counts if it has no end
    start: float | None = None
    timeout: float | None = None
    not_found: int = 0  # consecutive answers "not found"
    not_found_since: float | None = None
    done: float | None = None  # first seen done
    lookups: int = 0  # answered look-ups; a restart may lose some
    unread: int = 0  # consecutive failures of its own look-ups
    reason: str = ""  # of the last one
    asked: float = 0.0  # seconds of failed look-ups since it is done
    seen_open: float | None = None  # when it was last seen open, platform's clock; not kept in the ledger
    last_lookup: float = 0.0  # not kept in the ledger
    result_lookups: int = 0
    record: Record | None = None  # once done; from a look-up, or from a page of whole records
    best: Results | None = None  # the most complete results so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The answers to one look-up of a record; None: not requested, or the request failed."""

    id: str
    record: Record | None = None
    results: Results | None = None
    not_found: bool = False
    failure: str | None = None  # why the record's own request failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A record that leaves the open set for good, and its increments."""

    id: str
    outcome: Outcome
    found: float
    lookups: int = 0
    done: float | None = None  # first seen done
    increments: tuple[Increment, ...] = ()
    record: Record | None = None
    failure: FailedRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes to commit in one transaction, and facts for the log."""

    tail: Tail
    counting_start: CountingStart
    found: tuple[Tracked, ...] = ()  # records to follow from now on
    changed: tuple[Tracked, ...] = ()  # records that stay in the open set
    settlements: tuple[Settlement, ...] = ()
    increments: tuple[Increment, ...] = ()  # those that belong to no settlement
    latest: Mapping[Series, float] = field(default_factory=dict)
    given_up: int = 0  # records that no page showed
    unreadable: Mapping[str, str] = field(default_factory=dict)  # id → why; newly unreadable records
    hours_off: Mapping[str, float] = field(default_factory=dict)  # id → hours; impossible times
