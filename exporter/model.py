"""Values passed between packages. Pure: no I/O, no clock.

Times are POSIX seconds (float, UTC); durations are seconds; `None` means that the platform gave no value.

Types with thousands of instances are `Struct`s, not dataclasses: they are created ten times as fast, and the
garbage collector, which blocks all requests while it runs, does not visit them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct


class ExecuteStatus(StrEnum):
    """The execute status of a record: init → doing → done."""

    INIT = "init"
    DOING = "doing"
    DONE = "done"


class ResultStatus(StrEnum):
    """The result of a finished record."""

    SUCCESS = "success"
    FAIL = "fail"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class HostStatus(StrEnum):
    """The result of one host of a finished record; `unreported`: the platform gave none."""

    SUCCESS = "success"
    FAIL = "fail"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    UNREPORTED = "unreported"
    UNKNOWN = "unknown"


class IdcOutcome(StrEnum):
    """The outcome of a finished record in one IDC: all, some or none of its hosts succeeded."""

    CLEAN = "clean"
    DEGRADED = "degraded"
    FAILED = "failed"


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after consecutive failures: `first`, doubled each time, at most `longest`."""
    return min(longest, first * 2.0 ** min(max(failures - 1, 0), 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One moment by three clocks, in seconds. Waits use ledger time; the other clocks only date things."""

    now: float  # ledger time: runs only while the ledger is polled, and never jumps
    wall: float  # our clock, POSIX
    platform: float  # the platform's clock, POSIX; compared with times of records


MAX_AHEAD = 300.0  # seconds that a time may be ahead of the platform's clock: masters' clocks differ
LONG_AGO = -1e15  # earlier than any time; infinity is not JSON
UNKNOWN = "unknown"  # the label value if the platform gave none


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One execution of a job, as `/api/v1/job/record` (or a page of such items) gives it.

    Statuses are normalised (rule 6 of counting); `unknown_fields` names unreadable values, which are
    counted when the record is settled.
    """

    id: str
    execute_status: ExecuteStatus
    result_status: ResultStatus | None = None  # None: not given yet
    start: float | None = None
    end: float | None = None  # while a record runs, the platform repeats the start here
    timeout: float | None = None  # the record's own limit, seconds from its start; None: none
    expected_hosts: frozenset[str] | None = None  # host ids; None: the platform does not say
    provider: str = UNKNOWN
    script_type: str = UNKNOWN
    unknown_fields: tuple[str, ...] = ()  # names of fields with a value outside the documented ones


class HostResult(Struct, frozen=True, kw_only=True, gc=False):
    """One host row of `/api/v1/job/record/result`; the same host may have several rows."""

    host_id: str  # the first of `names`
    names: tuple[str, ...] = ()  # id, address and entity id, those that are given
    idc: str  # UNKNOWN if the platform gives none
    status: HostStatus | None  # None: not reported yet
    unknown_status: bool = False  # the value is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A response of `/api/v1/job/record/result`."""

    rows: tuple[HostResult, ...]
    bad_rows: int = 0  # rows that could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class PageItem:
    """A record on a page: its id, and the whole record if the page contains it."""

    id: str
    start: float | None = None
    record: Record | None = None
    ended: float | None = None  # end that its host rows show, later than the start; None: it may run


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer of `/api/v1/job/record/page`: the visible records of `size` positions.

    Positions whose record has no host rows are in `total` but not in `items`.
    """

    number: int  # from 1
    size: int  # positions asked for
    total: int | None  # records on the platform, visible or not; None: the platform did not say
    items: tuple[PageItem, ...]  # one a record, doubles folded, in no order
    bad_items: int = 0  # items of the list that could not be read


class Exemplar(Struct, frozen=True, kw_only=True, gc=False):
    """The record behind an increment: OpenMetrics shows it beside the sample."""

    record_id: str
    value: float
    timestamp: float


class Series(Struct, frozen=True, order=True, gc=False):
    """One counter of the ledger: a family, the values of its labels, and which part of it.

    `part` is "" for a counter; for a histogram "sum", or the upper bound of the one bucket that the
    observation falls in (buckets are kept apart, not cumulated: "10.0", "+Inf").
    """

    family: str
    labels: tuple[tuple[str, str], ...] = ()  # (name, value), in the order of the family's labels
    part: str = ""


class Sample(Struct, frozen=True, kw_only=True, gc=False):
    """The value of one series, and how long it is held back (rule 9: zero first)."""

    value: float
    born: float  # our wall clock
    exemplar: Exemplar | None = None
    held_until: float = 0.0  # ledger time; by then the value has not been shown
    held_at: float = 0.0  # shown instead of the value until then


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderStatus:
    """The leader's report at the end of each poll; followers show it as their own."""

    gauges: tuple[tuple[Series, float], ...]  # of the platform, and of the poller itself
    error: str | None  # why that poll failed; None: it succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The data of a scrape; immutable, replaced after each commit.

    `gauges` are the platform's: empty when the last poll did not reach it (rule: stale data disappears).
    """

    counters: Mapping[Series, Sample] = field(default_factory=dict)
    gauges: Mapping[Series, float] = field(default_factory=dict)
    version: int = 0  # grows with each replacement
    time: float = float("inf")  # ledger time that is durable: samples held until then are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class IdcFailure:
    """The number of hosts of a failed record that did not succeed, in one IDC."""

    idc: str
    failed: int
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRecord:
    """A row on the page of recent failures."""

    id: str
    result: ResultStatus
    finished: float | None
    duration: float | None
    idcs: tuple[IdcFailure, ...] = ()
