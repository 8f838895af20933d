"""The increments of one finished record. PURE.

Rules of counting (numbers as in `tracker`):
5.  A host counts once, by its worst row. A host without a status, and an expected host without a row (idc
    `unknown`), is `unreported`. A record without results counts without hosts, as `no_results`.
6.  A finished record without a result is `unknown`. Undocumented values are counted.
7.  A duration needs a start and an end, end ≥ start, and an end that is not in the future. Otherwise no
    duration is observed, and the record counts as `bad_times`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec import Struct

from exporter.model import (
    MAX_AHEAD,
    UNKNOWN,
    Exemplar,
    FailedRecord,
    HostStatus,
    IdcFailure,
    IdcOutcome,
    Record,
    Results,
    ResultStatus,
    Series,
)

FINISHED = "job_records_finished_total"
LAG = "job_exporter_count_lag_seconds"

# Several rows of a host count once, with the first of these statuses that occurs.
WORST_FIRST: tuple[HostStatus, ...] = (
    HostStatus.FAIL,
    HostStatus.TIMEOUT,
    HostStatus.UNREPORTED,
    HostStatus.CANCELLED,
    HostStatus.UNKNOWN,
    HostStatus.SUCCESS,
)

Host = tuple[str, HostStatus]  # (idc, status) of one host of a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Upper bounds of the histograms, ascending: seconds or hosts."""

    duration: tuple[float, ...] = ()
    hosts: tuple[float, ...] = ()
    lag: tuple[float, ...] = ()


class Increment(Struct, frozen=True, kw_only=True, gc=False):
    """The amount that one record adds to one series."""

    series: Series
    value: float = 1.0
    exemplar: Exemplar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How finished records are counted at one moment."""

    now: float  # our clock: the time of exemplars
    platform_now: float  # the platform's clock: its times are compared with it
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = Buckets()

    def record(self, record: Record, results: Results | None) -> tuple[Increment, ...]:
        """All increments of a finished record; `results` None: they could not be read."""
        return (*self._record(record), *self._hosts(record, results))

    def _record(self, record: Record) -> Iterator[Increment]:
        result = result_of(record)
        by_result = (("result_status", str(result)),)
        labels = (*by_result, *((name, getattr(record, name)) for name in self.record_labels))
        failed = result is not ResultStatus.SUCCESS
        yield self._count(FINISHED, labels, record, failed=failed)
        seconds = duration(record, platform_now=self.platform_now)
        if seconds is None:
            yield incomplete("bad_times")
        else:
            yield from self._observe(
                Series("job_record_duration_seconds", by_result), seconds, self.buckets.duration, record
            )
        end = known_end(record, self.platform_now)
        if end is not None and (record.start is None or seconds is not None):
            # Rounded to milliseconds: the ledger stores the number as text.
            lag = round(max(0.0, self.platform_now - end), 3)
            yield from self._observe(Series(LAG), lag, self.buckets.lag, record)
        for field in record.unknown_fields:
            yield unknown_value(field)

    def _hosts(self, record: Record, results: Results | None) -> Iterator[Increment]:
        if results is None:
            yield incomplete("no_results")
            return
        if results.bad_rows or missing_hosts(record, results):
            yield incomplete("missing_rows")
        for row in results.rows:
            if row.unknown_status:
                yield unknown_value("host_status")
        hosts = hosts_of(record, results)
        yield from self._observe(Series("job_record_hosts"), len(hosts), self.buckets.hosts, record)
        for idc, statuses in _by_idc(hosts).items():
            for status, number in statuses.items():
                yield self._count(
                    "job_host_results_total",
                    (("idc", idc), ("status", str(status))),
                    record,
                    value=float(number),
                    failed=status is not HostStatus.SUCCESS,
                )
            outcome = _outcome(statuses)
            yield self._count(
                "job_idc_records_total",
                (("idc", idc), ("outcome", str(outcome))),
                record,
                failed=outcome is not IdcOutcome.CLEAN,
            )

    def _count(
        self,
        family: str,
        labels: tuple[tuple[str, str], ...],
        record: Record,
        *,
        failed: bool,
        value: float = 1.0,
    ) -> Increment:
        """Increment one counter; a failure has the record as exemplar."""
        exemplar = Exemplar(record_id=record.id, value=value, timestamp=self.now) if failed else None
        return Increment(series=Series(family, labels), value=value, exemplar=exemplar)

    def _observe(
        self, series: Series, value: float, bounds: tuple[float, ...], record: Record
    ) -> Iterator[Increment]:
        """Observe a value: increment its bucket and the sum."""
        bound = next((str(float(bound)) for bound in bounds if value <= bound), "+Inf")
        exemplar = Exemplar(record_id=record.id, value=value, timestamp=self.now)
        yield Increment(series=Series(series.family, series.labels, bound), exemplar=exemplar)
        yield Increment(series=Series(series.family, series.labels, "sum"), value=value)


def result_of(record: Record) -> ResultStatus:
    """The result of a finished record."""
    return record.result_status or ResultStatus.UNKNOWN


def is_future(time: float, platform_now: float) -> bool:
    """Whether a time is later than the platform's clock allows."""
    return time > platform_now + MAX_AHEAD


def known_end(record: Record, platform_now: float) -> float | None:
    """The end of a record; None if it has none, or one in the future."""
    return None if record.end is None or is_future(record.end, platform_now) else record.end


def duration(record: Record, *, platform_now: float) -> float | None:
    """Rule 7: seconds from start to end; None if the times are missing or wrong."""
    end = known_end(record, platform_now)
    if record.start is None or end is None or end < record.start:
        return None
    return end - record.start


def missing_hosts(record: Record, results: Results) -> frozenset[str]:
    """Expected hosts without a row; the record may name them by id, address or entity id."""
    missing = (record.expected_hosts or frozenset()).difference(*(row.names for row in results.rows))
    if not missing:
        return missing
    # A host with several addresses: its row joins them with commas, the record may list each.
    listed = (name.split(",") for row in results.rows for name in row.names if "," in name)
    return missing.difference(*({name.strip() for name in names} for names in listed))


def is_complete(record: Record, results: Results) -> bool:
    """Whether every expected host has a row, and every row a status."""
    if results.bad_rows or any(row.status is None for row in results.rows):
        return False
    if record.expected_hosts is None:
        return bool(results.rows)
    return not missing_hosts(record, results)


def hosts_of(record: Record, results: Results) -> list[Host]:
    """Rule 5: each host of a record once."""
    hosts: dict[str, Host] = {}
    for number, row in enumerate(results.rows):
        status = row.status or HostStatus.UNREPORTED
        key = row.host_id or f"\0row {number}"  # a row without a host id is a host of its own
        if key not in hosts or WORST_FIRST.index(status) < WORST_FIRST.index(hosts[key][1]):
            hosts[key] = (row.idc, status)
    return [*hosts.values(), *((UNKNOWN, HostStatus.UNREPORTED) for _ in missing_hosts(record, results))]


def failure(record: Record, results: Results | None, *, platform_now: float) -> FailedRecord | None:
    """The row on the page of recent failures; None if the record succeeded."""
    if result_of(record) is ResultStatus.SUCCESS:
        return None
    by_idc = _by_idc(hosts_of(record, results)) if results else {}
    return FailedRecord(
        id=record.id,
        result=result_of(record),
        finished=known_end(record, platform_now),
        duration=duration(record, platform_now=platform_now),
        idcs=tuple(
            IdcFailure(
                idc=idc,
                failed=sum(statuses.values()) - statuses.get(HostStatus.SUCCESS, 0),
                hosts=sum(statuses.values()),
            )
            for idc, statuses in by_idc.items()
        ),
    )


def unknown_value(field: str) -> Increment:
    """Rule 6: count an undocumented value of a field."""
    return Increment(series=Series("job_exporter_unknown_values_total", (("field", field),)))


def incomplete(reason: str, records: int = 1) -> Increment:
    """Count why records were counted incompletely, or not at all."""
    series = Series("job_exporter_records_incomplete_total", (("reason", reason),))
    return Increment(series=series, value=float(records))


def _by_idc(hosts: list[Host]) -> dict[str, dict[HostStatus, int]]:
    """IDC → host status → number of hosts."""
    by_idc: dict[str, dict[HostStatus, int]] = {}
    for (idc, status), number in Counter(hosts).items():
        by_idc.setdefault(idc, {})[status] = number
    return by_idc


def _outcome(statuses: Mapping[HostStatus, int]) -> IdcOutcome:
    good = statuses.get(HostStatus.SUCCESS, 0)
    if good == sum(statuses.values()):
        return IdcOutcome.CLEAN
    return IdcOutcome.DEGRADED if good else IdcOutcome.FAILED
