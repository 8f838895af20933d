"""What really happened, as plain values: tests compare the exporter's counters with it.

The rules are written a second time here, on purpose: sharing the exporter's would hide its mistakes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.simulator.record import Record

_SPELLINGS = {"cancel": "cancelled", "canceled": "cancelled", "failed": "fail", "error": "fail"}
_RESULTS = frozenset({"success", "fail", "timeout", "cancelled"})
# From harmless to bad: of the rows of one host the last one here counts. A row without a status is worse
# than one that someone cancelled: nobody knows what that host did.
SEVERITY = ("success", "unknown", "cancelled", "unreported", "timeout", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTruth:
    """How one host of a finished record ended; without a row its IDC is `unknown`."""

    host_id: str
    idc: str
    status: str  # one of SEVERITY


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTruth:
    """The facts of one finished record."""

    id: str
    finished: float  # POSIX seconds, when it became done
    result: str  # success, fail, timeout, cancelled or unknown
    duration: int | None  # seconds; None: a time is missing, or the end lies before the start
    provider: str
    script_type: str
    hosts: tuple[HostTruth, ...]
    visible: bool  # in a page now
    ever_visible: bool  # was in a page at some time
    deleted: bool


def normal_result(execute: str, result: str) -> str:
    """Give the result of a record that is done, from both statuses as the platform spells them."""
    known = _normal(result)
    if not known:
        return "cancelled" if _normal(execute) == "cancelled" else "unknown"
    return known if known in _RESULTS else "unknown"


def normal_host(status: str) -> str:
    """Give the final status of a host row as the platform spells it."""
    known = _normal(status)
    if not known:
        return "unreported"
    return known if known in _RESULTS else "unknown"


def _normal(status: str) -> str:
    lower = status.strip().lower()
    return _SPELLINGS.get(lower, lower)


def record_truth(record: Record, *, visible: bool, deleted: bool = False) -> RecordTruth:
    """Tell the facts of a finished record; ValueError when it is not finished."""
    if record.finished is None or record.verdict is None:
        raise ValueError(f"record {record.id} is not finished")
    result, end = record.verdict
    timed = record.start is not None and end is not None and end >= record.start
    return RecordTruth(
        id=record.id,
        finished=record.finished,
        result=result,
        duration=end - record.start if timed and end is not None and record.start is not None else None,
        provider=record.spec.provider or "unknown",
        script_type=record.spec.script_type or "unknown",
        hosts=_hosts(record),
        visible=visible,
        ever_visible=record.ever_visible,
        deleted=deleted,
    )


def _hosts(record: Record) -> tuple[HostTruth, ...]:
    worst: dict[str, HostTruth] = {}
    for host, status in record.all_rows():
        fact = HostTruth(host_id=host.id, idc=host.idc or "unknown", status=normal_host(status))
        known = worst.get(host.id)
        if known is None or SEVERITY.index(fact.status) > SEVERITY.index(known.status):
            worst[host.id] = fact
    if record.spec.hosts_listed:
        for host in record.spec.hosts:
            if host.id not in worst:
                worst[host.id] = HostTruth(host_id=host.id, idc="unknown", status="unreported")
    return tuple(worst.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over many records, in the shape of counters."""

    results: dict[str, int]  # by result
    kinds: dict[tuple[str, str, str], int]  # by (result, provider, script type)
    hosts: dict[tuple[str, str], int]  # by (idc, status)
    outcomes: dict[tuple[str, str], int]  # records by (idc, clean | degraded | failed)
    durations: dict[str, tuple[int, int]]  # by result: (observations, sum of seconds)


def tally(facts: Iterable[RecordTruth]) -> Tally:
    """Add up what an exporter that saw exactly these records must show."""
    results: Counter[str] = Counter()
    kinds: Counter[tuple[str, str, str]] = Counter()
    hosts: Counter[tuple[str, str]] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    seen: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for fact in facts:
        results[fact.result] += 1
        kinds[fact.result, fact.provider, fact.script_type] += 1
        hosts.update((host.idc, host.status) for host in fact.hosts)
        outcomes.update(idc_outcomes(fact.hosts).items())
        if fact.duration is not None:
            seen[fact.result] += 1
            seconds[fact.result] += fact.duration
    durations = {result: (count, seconds[result]) for result, count in seen.items()}
    return Tally(
        results=dict(results),
        kinds=dict(kinds),
        hosts=dict(hosts),
        outcomes=dict(outcomes),
        durations=durations,
    )


def idc_outcomes(hosts: Iterable[HostTruth]) -> dict[str, str]:
    """Tell by IDC whether all of its hosts succeeded (clean), some (degraded) or none (failed)."""
    good: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for host in hosts:
        total[host.idc] += 1
        good[host.idc] += host.status == "success"
    return {
        idc: "clean" if good[idc] == count else "degraded" if good[idc] else "failed"
        for idc, count in total.items()
    }
