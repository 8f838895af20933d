"""What the page tells, read off the last snapshot and what the ledger keeps beside its counters. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from exporter.model import UNKNOWN, FailedRecord, HostStatus, Series, Snapshot
from exporter.tracking.tallies import KEPT, WIDTH, Recent, Tally, first_kept, total

STALE_POLLS = 5  # intervals without a good poll after which it is told: more than a slow platform takes
STALE_LEAST = 60.0  # seconds; a demo that polls each second is not stale after five
LAG_TALLIES = 3  # the lag is told of the last ten minutes or more: as it is now, not as it once was
POLLED = "job_exporter_last_successful_poll_timestamp_seconds"  # of whoever polls


class Health(StrEnum):
    """How it stands with the exporter, in one word; the names are the page's classes."""

    STARTING = "starting"  # the first poll has not ended
    WORKING = "working"
    CATCHING_UP = "catching-up"
    STALE = "stale"  # polls neither fail nor end
    FAILING = "failing"  # the platform answers, the poll fails: the ledger, most likely
    DOWN = "down"  # the platform cannot be read


class Kept(Protocol):
    """What the ledger keeps for the page: a part of its state."""

    @property
    def failures(self) -> Sequence[FailedRecord]: ...  # noqa: D102  (last counted first)
    @property
    def recent(self) -> Recent: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What the platform does now."""

    init: int
    doing: int
    done: int
    overdue: int
    oldest: float | None  # start of the oldest open record


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """All that the page shows; times are POSIX seconds, durations seconds."""

    now: float
    health: Health
    error: str | None  # of the last poll, in words
    polled: float | None  # end of the last good poll
    follows: bool  # another replica polls, or none
    polls: int
    poll_failures: int
    poll_seconds: float
    lag: float | None  # mean of late, from a record's end to its being counted
    skew: float | None  # the platform's clock minus ours
    pending: int  # finished records that wait for their hosts
    platform: Platform | None  # None: the platform cannot be read
    window: Sequence[tuple[float, Tally]]  # start of each stretch and what ended in it, oldest first
    idcs: Sequence[Idc]  # worst first
    failures: Sequence[FailedRecord]  # newest first
    since: float | None  # when counting began


def gathered(snapshot: Snapshot, kept: Kept, *, error: str | None, interval: float, now: float) -> PageData:
    """Read the facts at `now`; `error`: why the last poll was no good, `interval`: seconds between polls."""

    def gauge(name: str) -> float | None:
        return snapshot.gauges.get(Series(name))

    def counter(name: str) -> int:
        sample = snapshot.counters.get(Series(name))
        return int(sample.value) if sample else 0

    polled = gauge(POLLED) or None
    recent, first = kept.recent, first_kept(now)
    window = [(number, recent.get(number, Tally())) for number in range(first, first + KEPT)]
    lately = [tally for _, tally in window[-LAG_TALLIES:] if tally.lagged]
    discovered = snapshot.counters.get(Series("job_records_discovered_total"))
    return PageData(
        now=now,
        health=_health(snapshot, error=error, late=_is_late(polled, interval, now)),
        error=error,
        polled=polled,
        follows=_follows(snapshot),
        polls=counter("job_exporter_polls_total"),
        poll_failures=counter("job_exporter_poll_failures_total"),
        poll_seconds=gauge("job_exporter_poll_duration_seconds") or 0.0,
        lag=sum(one.lag for one in lately) / sum(one.lagged for one in lately) if lately else None,
        skew=gauge("job_exporter_clock_skew_seconds"),
        pending=int(gauge("job_exporter_pending_results") or 0),
        platform=_platform(snapshot),
        window=[(float(number * WIDTH), tally) for number, tally in window],
        idcs=_idcs(snapshot, total(tally for _, tally in window)),
        failures=newest_first(kept.failures, now=now),
        since=discovered.born if discovered else None,
    )


def newest_first(failures: Sequence[FailedRecord], *, now: float) -> list[FailedRecord]:
    """Sort failures by their end: a downtime is counted in any order. No end, or one to come, is now."""
    return sorted(failures, key=lambda item: -min(item.finished if item.finished is not None else now, now))


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
        oldest=min(starts, default=None),
    )


def _idcs(snapshot: Snapshot, window: Tally) -> list[Idc]:
    """Every IDC that was ever seen, the worst first; those without hosts in the window come last."""
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
    """Hosts of the IDC `unknown` never told anything: it would always be the worst."""
    return not idc.hosts, idc.name == UNKNOWN, -idc.bad / max(1, idc.hosts), -idc.hosts, idc.name
