"""The values of the page, read from the last snapshot and the ledger's state. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from exporter import __version__
from exporter.model import UNKNOWN, FailedRecord, HostStatus, IdcFailure, Series, Snapshot
from exporter.page.progress import Backlog
from exporter.settings import Settings
from exporter.tracking.lookups import is_unreadable
from exporter.tracking.state import State
from exporter.tracking.tallies import KEPT, WIDTH, Tally, first_kept, total

STALE_POLLS = 5  # intervals without a successful poll until the page says so; a slow platform takes fewer
STALE_LEAST = 60.0  # seconds, and at least; a demo polls each second
LAG_TALLIES = 3  # the lag is the mean of the last ten minutes or more
POLLED = "job_exporter_last_successful_poll_timestamp_seconds"  # of the leader
SWEPT = "job_exporter_last_sweep_timestamp_seconds"


class Health(StrEnum):
    """The state of the exporter; the values are classes in the style sheet."""

    STARTING = "starting"  # the first poll has not ended
    WORKING = "working"
    CATCHING_UP = "catching-up"
    STALE = "stale"  # no poll has ended for a while
    FAILING = "failing"  # the platform answers, but the poll fails, most likely because of the ledger
    DOWN = "down"  # the platform cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The constant values of the pages."""

    version: str
    platform: str  # base URL of the job API
    telemetry_path: str = "/metrics"
    record_url: str = ""  # link to a record, with {id}; "": none
    interval: float = 15.0  # seconds between polls
    sweeps: bool = True  # `poll.sweep` is not 0

    @classmethod
    def of(cls, settings: Settings) -> "Site":
        """Take the values from the settings. Raises SettingsError: there is no platform."""
        return cls(
            version=__version__,
            platform=settings.require_platform(),
            telemetry_path=settings.web.telemetry_path,
            record_url=settings.web.record_url,
            interval=settings.poll.interval,
            sweeps=settings.poll.sweep > 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The platform's records now."""

    init: int
    doing: int
    done: int
    overdue: int
    hidden: int  # in the platform's total, but on no page
    oldest: float | None  # start of the oldest open record


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record or page position that cannot be read now."""

    record: str | None = None  # its id, if known
    position: int | None = None  # from the oldest record (0)
    tries: int
    reason: str
    next_try: float  # POSIX; may have passed


@dataclass(frozen=True, slots=True)
class Hosts:
    """Numbers of hosts by status."""

    by_status: Mapping[str, int]

    @property
    def all(self) -> int:
        """All hosts."""
        return sum(self.by_status.values())

    @property
    def bad(self) -> int:
        """Hosts that did not succeed."""
        return self.all - self.by_status.get(HostStatus.SUCCESS, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idc:
    """The results of the hosts of one IDC."""

    name: str
    recent: Hosts  # in the window
    total: Hosts  # since counting began


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """All values of the page; times are POSIX seconds, durations seconds."""

    now: float
    health: Health
    error: str | None  # why the last poll failed
    polled: float | None  # end of the last successful poll
    follows: bool  # another replica is the leader, or none
    polls: int
    poll_failures: int
    poll_seconds: float
    lag: float | None  # mean of the last minutes, from a record's end until it was counted, without history
    skew: float | None  # the platform's clock minus ours
    pending: int  # finished records that are not settled
    swept: float | None  # end of the last whole sweep
    backlog: Backlog | None  # while catching up
    unreadable_count: int
    unreadable: Sequence[Unreadable]  # those that this replica knows
    platform: Platform | None  # None: the platform cannot be read
    window: Sequence[tuple[float, Tally]]  # start of each stretch and its tally, oldest first
    idcs: Sequence[Idc]  # worst first
    failures: Sequence[FailedRecord]  # newest first
    since: float | None  # when counting began


def gathered(
    snapshot: Snapshot,
    kept: State,
    *,
    error: str | None,
    interval: float,
    now: float,
    backlog: Backlog | None = None,
) -> PageData:
    """Read the values at `now`; `error`: why the last poll failed, `interval`: seconds between polls."""
    polled = _gauge(snapshot, POLLED) or None
    longest = max(STALE_LEAST, STALE_POLLS * interval)
    recent, first = kept.recent, first_kept(now)
    window = [(float(number * WIDTH), recent.get(number, Tally())) for number in range(first, first + KEPT)]
    discovered = snapshot.counters.get(Series("job_records_discovered_total"))
    since = discovered.born if discovered else None
    follows = _follows(snapshot)
    return PageData(
        now=now,
        health=_health(snapshot, error=error, late=polled is not None and now - polled > longest),
        error=error,
        polled=polled,
        follows=follows,
        polls=_counter(snapshot, "job_exporter_polls_total"),
        poll_failures=_counter(snapshot, "job_exporter_poll_failures_total"),
        poll_seconds=_gauge(snapshot, "job_exporter_poll_duration_seconds") or 0.0,
        lag=_lag(window, since),
        skew=_gauge(snapshot, "job_exporter_clock_skew_seconds"),
        pending=int(_gauge(snapshot, "job_exporter_pending_results") or 0),
        swept=_gauge(snapshot, SWEPT) or None,
        backlog=backlog,
        unreadable_count=int(_gauge(snapshot, "job_exporter_unreadable_records") or 0),
        unreadable=[] if follows else _unreadable(kept, now=now),
        platform=_platform(snapshot),
        window=window,
        idcs=_idcs(snapshot, total(tally for _, tally in window)),
        failures=newest_first(kept.failures, now=now),
        since=since,
    )


def catches_up(snapshot: Snapshot) -> bool:
    """Whether this replica is counting records that finished during a downtime."""
    return bool(_gauge(snapshot, "job_exporter_catching_up")) and not _follows(snapshot)


def newest_first(failures: Sequence[FailedRecord], *, now: float) -> list[FailedRecord]:
    """Sort failures by their end; a missing end, or one in the future, is taken as now."""
    return sorted(failures, key=lambda item: -min(item.finished if item.finished is not None else now, now))


def failed_places(item: FailedRecord) -> list[IdcFailure]:
    """Sort the IDCs by the number of their failed hosts, and leave out those without any."""
    bad = (place for place in item.idcs if place.failed)
    return sorted(bad, key=lambda place: (-place.failed, place.idc))


def _lag(window: Sequence[tuple[float, Tally]], since: float | None) -> float | None:
    """Return the mean lag, without records that ended before counting began."""
    lately = [tally for start, tally in window[-LAG_TALLIES:] if tally.lagged and start >= (since or start)]
    return sum(one.lag for one in lately) / sum(one.lagged for one in lately) if lately else None


def _unreadable(kept: State, *, now: float) -> list[Unreadable]:
    """List unreadable records and positions, the next retry first."""

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


def _gauge(snapshot: Snapshot, name: str, *labels: tuple[str, str]) -> float | None:
    return snapshot.gauges.get(Series(name, labels))


def _counter(snapshot: Snapshot, name: str) -> int:
    sample = snapshot.counters.get(Series(name))
    return int(sample.value) if sample else 0


def _follows(snapshot: Snapshot) -> bool:
    return _gauge(snapshot, "job_exporter_leader") == 0


def _health(snapshot: Snapshot, *, error: str | None, late: bool) -> Health:
    has_polled = _gauge(snapshot, POLLED) if _follows(snapshot) else None
    if not has_polled and not _counter(snapshot, "job_exporter_polls_total"):
        return Health.STARTING
    if error is not None:
        return Health.FAILING if _gauge(snapshot, "job_exporter_platform_up") else Health.DOWN
    if _gauge(snapshot, "job_exporter_catching_up"):
        return Health.CATCHING_UP
    return Health.STALE if late else Health.WORKING


def _platform(snapshot: Snapshot) -> Platform | None:
    def records(status: str) -> int:
        return int(_gauge(snapshot, "job_records", ("execute_status", status)) or 0)

    overdue = _gauge(snapshot, "job_records_overdue")
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
        hidden=int(_gauge(snapshot, "job_records_hidden") or 0),
        oldest=min(starts, default=None),
    )


def _idcs(snapshot: Snapshot, window: Tally) -> list[Idc]:
    """Sort all IDCs ever seen, the worst first; IDCs without hosts in the window come last."""
    totals: dict[str, dict[str, int]] = {idc: {} for idc in window.hosts}
    for series, sample in snapshot.counters.items():
        if series.family == "job_host_results_total":
            labels = dict(series.labels)
            totals.setdefault(labels["idc"], {})[labels["status"]] = int(sample.value)
    found = (
        Idc(name=name, recent=Hosts(window.hosts.get(name, {})), total=Hosts(statuses))
        for name, statuses in totals.items()
    )
    return sorted(found, key=_worst)


def _worst(idc: Idc) -> tuple[object, ...]:
    """Sort key. Hosts of the IDC `unknown` never reported, so it would always be the worst."""
    hosts = idc.recent.all
    return not hosts, idc.name == UNKNOWN, -idc.recent.bad / max(1, hosts), -hosts, idc.name
