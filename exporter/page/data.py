"""What the page shows, read from the last snapshot and from the ledger's state. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from exporter.discovery.tail import Tail
from exporter.model import UNKNOWN, FailedRecord, HostStatus, IdcFailure, Series, Snapshot
from exporter.page.progress import Backlog
from exporter.tracking.lookups import is_unreadable
from exporter.tracking.tallies import KEPT, WIDTH, Recent, Tally, first_kept, total
from exporter.tracking.values import Tracked

STALE_POLLS = 5  # intervals without a good poll after which the page says so: a slow platform takes fewer
STALE_LEAST = 60.0  # seconds; a demo that polls each second is not stale after five
LAG_TALLIES = 3  # the lag is the mean of the last ten minutes or more
POLLED = "job_exporter_last_successful_poll_timestamp_seconds"  # of the replica that polls
SWEPT = "job_exporter_last_sweep_timestamp_seconds"


class Health(StrEnum):
    """The state of the exporter; the values are classes in the style sheet."""

    STARTING = "starting"  # the first poll has not ended
    WORKING = "working"
    CATCHING_UP = "catching-up"
    STALE = "stale"  # no poll has ended for a while
    FAILING = "failing"  # the platform answers, but the poll fails: most likely because of the ledger
    DOWN = "down"  # the platform cannot be read


class Kept(Protocol):
    """The part of the ledger's state that the page shows."""

    @property
    def failures(self) -> Sequence[FailedRecord]: ...  # noqa: D102  (last counted first)
    @property
    def recent(self) -> Recent: ...  # noqa: D102
    @property
    def tail(self) -> Tail: ...  # noqa: D102
    @property
    def followed(self) -> Mapping[str, Tracked]: ...  # noqa: D102
    @property
    def time(self) -> float: ...  # noqa: D102  (ledger time of the last commit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What does not change while the exporter runs."""

    version: str
    platform: str  # base URL of the job API
    telemetry_path: str = "/metrics"
    record_url: str = ""  # link to a record, with {id}; "": none
    interval: float = 15.0  # seconds between polls
    sweeps: bool = True  # `poll.sweep` is not 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What the platform does now."""

    init: int
    doing: int
    done: int
    overdue: int
    hidden: int  # in the platform's total, but on no page
    oldest: float | None  # start of the oldest open record


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record or a position of the platform's pages that can't be read now."""

    record: str | None = None  # its id, where known
    position: int | None = None  # from the oldest record (0)
    tries: int
    reason: str
    next_try: float  # POSIX; may have passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Idc:
    """How the hosts of one IDC ended."""

    name: str
    recent: Mapping[str, int]  # host status → hosts, in the window
    total: Mapping[str, int]  # since counting began

    @property
    def hosts(self) -> int:
        """Hosts in the window."""
        return sum(self.recent.values())

    @property
    def bad(self) -> int:
        """Hosts in the window that did not succeed."""
        return self.hosts - self.recent.get(HostStatus.SUCCESS, 0)

    @property
    def total_hosts(self) -> int:
        """Hosts since counting began."""
        return sum(self.total.values())

    @property
    def total_bad(self) -> int:
        """Hosts since counting began that did not succeed."""
        return self.total_hosts - self.total.get(HostStatus.SUCCESS, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """All that the page shows; times are POSIX seconds, durations seconds."""

    now: float
    health: Health
    error: str | None  # why the last poll failed
    polled: float | None  # end of the last good poll
    follows: bool  # another replica polls, or none
    polls: int
    poll_failures: int
    poll_seconds: float
    lag: float | None  # mean of the last minutes, from a record's end until it was counted; history left out
    skew: float | None  # the platform's clock minus ours
    pending: int  # finished records that wait for their hosts
    swept: float | None  # end of the last whole sweep
    backlog: Backlog | None  # while it catches up
    unreadable_count: int
    unreadable: Sequence[Unreadable]  # those that this replica knows
    platform: Platform | None  # None: the platform cannot be read
    window: Sequence[tuple[float, Tally]]  # start of each stretch and what ended in it, oldest first
    idcs: Sequence[Idc]  # worst first
    failures: Sequence[FailedRecord]  # newest first
    since: float | None  # when counting began


def gathered(
    snapshot: Snapshot,
    kept: Kept,
    *,
    error: str | None,
    interval: float,
    now: float,
    backlog: Backlog | None = None,
) -> PageData:
    """Read the data at `now`; `error`: why the last poll failed, `interval`: seconds between polls."""

    def gauge(name: str) -> float | None:
        return snapshot.gauges.get(Series(name))

    def counter(name: str) -> int:
        sample = snapshot.counters.get(Series(name))
        return int(sample.value) if sample else 0

    polled = gauge(POLLED) or None
    recent, first = kept.recent, first_kept(now)
    window = [(float(number * WIDTH), recent.get(number, Tally())) for number in range(first, first + KEPT)]
    discovered = snapshot.counters.get(Series("job_records_discovered_total"))
    since = discovered.born if discovered else None
    follows = _follows(snapshot)
    return PageData(
        now=now,
        health=_health(snapshot, error=error, late=_is_late(polled, interval, now)),
        error=error,
        polled=polled,
        follows=follows,
        polls=counter("job_exporter_polls_total"),
        poll_failures=counter("job_exporter_poll_failures_total"),
        poll_seconds=gauge("job_exporter_poll_duration_seconds") or 0.0,
        lag=_lag(window, since),
        skew=gauge("job_exporter_clock_skew_seconds"),
        pending=int(gauge("job_exporter_pending_results") or 0),
        swept=gauge(SWEPT) or None,
        backlog=backlog,
        unreadable_count=int(gauge("job_exporter_unreadable_records") or 0),
        unreadable=[] if follows else _unreadable(kept, now=now),
        platform=_platform(snapshot),
        window=window,
        idcs=_idcs(snapshot, total(tally for _, tally in window)),
        failures=newest_first(kept.failures, now=now),
        since=since,
    )


def catches_up(snapshot: Snapshot) -> bool:
    """Whether this replica counts what finished while nobody could."""
    return bool(snapshot.gauges.get(Series("job_exporter_catching_up"))) and not _follows(snapshot)


def newest_first(failures: Sequence[FailedRecord], *, now: float) -> list[FailedRecord]:
    """Sort failures by their end. Without one, or with one in the future, a record counts as ended now."""
    return sorted(failures, key=lambda item: -min(item.finished if item.finished is not None else now, now))


def failed_places(item: FailedRecord) -> list[IdcFailure]:
    """Sort the IDCs with hosts that did not succeed by their number, the most first."""
    bad = (place for place in item.idcs if place.failed)
    return sorted(bad, key=lambda place: (-place.failed, place.idc))


def _lag(window: Sequence[tuple[float, Tally]], since: float | None) -> float | None:
    """Give the mean lag, without history: records that ended before counting began."""
    lately = [tally for start, tally in window[-LAG_TALLIES:] if tally.lagged and start >= (since or start)]
    return sum(one.lag for one in lately) / sum(one.lagged for one in lately) if lately else None


def _unreadable(kept: Kept, *, now: float) -> list[Unreadable]:
    """List what can't be read, the next to be tried first."""

    def posix(due: float) -> float:
        return now + due - kept.time

    records = (
        Unreadable(record=item.id, tries=item.unread, reason="", next_try=posix(item.due))
        for item in kept.followed.values()
        if is_unreadable(item)
    )
    positions = (
        Unreadable(position=item.position, tries=item.tries, reason=item.reason, next_try=posix(item.due))
        for item in kept.tail.unreadable
    )
    return sorted((*records, *positions), key=lambda item: item.next_try)


def _is_late(polled: float | None, interval: float, now: float) -> bool:
    return polled is not None and now - polled > max(STALE_LEAST, STALE_POLLS * interval)


def _follows(snapshot: Snapshot) -> bool:
    return snapshot.gauges.get(Series("job_exporter_leader")) == 0


def _health(snapshot: Snapshot, *, error: str | None, late: bool) -> Health:
    polls = snapshot.counters.get(Series("job_exporter_polls_total"))
    told = _follows(snapshot) and snapshot.gauges.get(Series(POLLED))
    if not told and (not polls or not polls.value):
        return Health.STARTING
    if error is not None:
        up = snapshot.gauges.get(Series("job_exporter_platform_up"))
        return Health.FAILING if up else Health.DOWN
    if snapshot.gauges.get(Series("job_exporter_catching_up")):
        return Health.CATCHING_UP
    return Health.STALE if late else Health.WORKING


def _platform(snapshot: Snapshot) -> Platform | None:
    def records(status: str) -> int:
        return int(snapshot.gauges.get(Series("job_records", (("execute_status", status),)), 0))

    overdue = snapshot.gauges.get(Series("job_records_overdue"))
    if overdue is None:
        return None
    starts = (
        value
        for series, value in snapshot.gauges.items()
        if series.family == "job_record_oldest_open_start_timestamp_seconds"
    )
    return Platform(
        init=records("init"),
        doing=records("doing"),
        done=records("done"),
        overdue=int(overdue),
        hidden=int(snapshot.gauges.get(Series("job_records_hidden"), 0)),
        oldest=min(starts, default=None),
    )


def _idcs(snapshot: Snapshot, window: Tally) -> list[Idc]:
    """Sort all IDCs ever seen, the worst first; those without hosts in the window come last."""
    totals: dict[str, dict[str, int]] = {idc: {} for idc in window.hosts}
    for series, sample in snapshot.counters.items():
        if series.family == "job_host_results_total":
            labels = dict(series.labels)
            totals.setdefault(labels["idc"], {})[labels["status"]] = int(sample.value)
    found = (
        Idc(name=name, recent=window.hosts.get(name, {}), total=statuses) for name, statuses in totals.items()
    )
    return sorted(found, key=_worst)


def _worst(idc: Idc) -> tuple[object, ...]:
    """Sort key. Hosts of the IDC `unknown` never reported: it would always be the worst."""
    return not idc.hosts, idc.name == UNKNOWN, -idc.bad / max(1, idc.hosts), -idc.hosts, idc.name
