"""Tallies of the last hours, five minutes each, for the plot and the IDC table of the status page. PURE.

The ledger stores them in the same transaction as the counters, so that the page survives a restart and no
request needs the database.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.tracking.counting import LAG, result_of
from exporter.tracking.folding import OTHER
from exporter.tracking.values import Outcome, Settlement

WIDTH = 300  # seconds of a tally
KEPT = 72  # tallies: six hours, as many bars as fit on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The counted records that ended within one stretch of `WIDTH` seconds."""

    results: Mapping[str, int] = field(default_factory=dict)  # records by result status
    hosts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # IDC → host status → hosts
    lag: float = 0.0  # sum of seconds from the end to the counting
    lagged: int = 0  # number of records in that sum


Recent = Mapping[int, Tally]  # POSIX time // WIDTH → tally


def tallied(settlements: Iterable[Settlement], *, idcs: Collection[str], now: float) -> Recent:
    """Tally settlements by the end of their records; those before the window are left out.

    A record without an end, or with one in the future, ended now. An IDC that is not in `idcs` is `other`, as
    in the counters (rule 10).
    """
    by_number: dict[int, list[Tally]] = {}
    for item in settlements:
        if item.outcome is not Outcome.SETTLED or item.record is None:
            continue
        end = item.record.end
        number = int((now if end is None else min(end, now)) // WIDTH)
        if number >= first_kept(now):
            by_number.setdefault(number, []).append(_of_one(item, str(result_of(item.record)), idcs))
    return {number: total(tallies) for number, tallies in by_number.items()}


def merged(had: Recent, new: Recent, *, now: float) -> Recent:
    """Add new tallies, and drop those that have left the window."""
    kept = {number: tally for number, tally in had.items() if number >= first_kept(now)}
    return kept | {number: total([kept.get(number, Tally()), tally]) for number, tally in new.items()}


def total(tallies: Iterable[Tally]) -> Tally:
    """Sum tallies, in place for speed: 500 IDCs make many thousand numbers."""
    results: Counter[str] = Counter()
    hosts: dict[str, dict[str, int]] = {}
    lag, lagged = 0.0, 0
    for tally in tallies:
        results.update(tally.results)
        for idc, statuses in tally.hosts.items():
            sums = hosts.setdefault(idc, {})
            for status, number in statuses.items():
                sums[status] = sums.get(status, 0) + number
        lag, lagged = lag + tally.lag, lagged + tally.lagged
    return Tally(results=dict(results), hosts=hosts, lag=lag, lagged=lagged)


def results_of(tallies: Iterable[Tally]) -> Mapping[str, int]:
    """Sum the results only."""
    return sum((Counter(tally.results) for tally in tallies), Counter())


def first_kept(now: float) -> int:
    """The number of the oldest tally in the window that ends now."""
    return int(now // WIDTH) - KEPT + 1


def _of_one(item: Settlement, result: str, idcs: Collection[str]) -> Tally:
    hosts: dict[str, Counter[str]] = {}
    lag, lagged = 0.0, 0
    for increment in item.increments:
        series = increment.series
        if series.family == "job_host_results_total":
            labels = dict(series.labels)
            idc = labels["idc"] if labels["idc"] in idcs else OTHER
            hosts.setdefault(idc, Counter())[labels["status"]] += int(increment.value)
        elif series.family == LAG and series.part == "sum":
            lag, lagged = increment.value, 1
    return Tally(results={result: 1}, hosts=hosts, lag=lag, lagged=lagged)
