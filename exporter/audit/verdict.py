"""Decides whether a record was counted correctly: compares ledger and platform. Pure.

A counted record is counted again from what the platform says now, and the increments are compared. Three
things are not compared, because a second count cannot repeat them:
- how late the record was counted (`job_exporter_count_lag_seconds`);
- the bucket of an observation: it follows from the value, and the bounds may have changed since;
- labels: the second count uses the labels of the first, and `other` where a value was above the limit.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from exporter.model import Clock, ExecuteStatus, Record, Results, Series
from exporter.settings.time_range import shown
from exporter.tracking.counting import FINISHED, LAG, Counting, Increment, known_end, result_of
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.folding import BOUNDED_LABELS, OTHER, fold
from exporter.tracking.lookups import MAX_LOOKUP_INTERVAL, is_overdue, next_lookup
from exporter.tracking.state import Known, LedgerStatus
from exporter.tracking.tracker import VANISHED_LOOKUPS
from exporter.tracking.values import Rules, Stage, Tracked

_INCOMPLETE = "job_exporter_records_incomplete_total"
BAD_TIMES = Series(_INCOMPLETE, (("reason", "bad_times"),))
LATE_BASELINE = Series(_INCOMPLETE, (("reason", "late_baseline"),))
FEW_POLLS = 4  # so many polls after its end a record may still be on its way into the ledger


class Kind(StrEnum):
    """The kinds of verdicts."""

    SAME = "same"
    UNCOUNTED = "correctly not counted"
    UNDATED = "not counted; its times do not tell whether that is correct"
    WAITING = "not due yet"
    MISSING = "missing"
    CHANGED = "changed after it was counted"
    GONE = "unknown to the platform"
    NOWHERE = "unknown to both"
    UNANSWERED = "not answered"


FINDINGS = frozenset({Kind.UNDATED, Kind.MISSING, Kind.CHANGED, Kind.GONE, Kind.NOWHERE, Kind.UNANSWERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the platform says about a record now; `record` is None if it does not know it."""

    record: Record | None = None
    results: Results | None = None
    shown: bool = False  # found on a page
    problem: str = ""  # why it could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a verdict depends on besides the record."""

    clock: Clock
    rules: Rules
    counting_start: CountingStart | None  # None: before the first poll
    behind: int = 0  # records that the daemon has still to read


class Difference(NamedTuple):
    """A series that a count made now would increment by another amount; None: not at all."""

    series: Series  # of a histogram: its sum
    moved: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one record."""

    kind: Kind
    why: str
    differences: tuple[Difference, ...] = ()

    @property
    def is_finding(self) -> bool:
        """Whether the count may be wrong."""
        return self.kind in FINDINGS


def judge(known: Known | None, seen: Seen, terms: Terms) -> Verdict:
    """Decide whether a record was counted correctly."""
    if seen.problem:
        return Verdict(Kind.UNANSWERED, seen.problem)
    if known is None:
        return _unknown(seen, terms)
    match known.status:
        case LedgerStatus.COUNTED:
            return _counted(known, seen)
        case LedgerStatus.BASELINE:
            return _baseline(known, terms)
        case LedgerStatus.VANISHED:
            return _vanished(seen, terms)
        case _:
            return Verdict(Kind.WAITING, _next_step(known.tracked, seen, terms))


def differences(
    moved: Mapping[Series, float], record: Record, results: Results | None, *, then: float = math.inf
) -> tuple[Difference, ...]:
    """How a count made now differs from what the record moved, sorted by series.

    `then`: when it was counted; later times were in the future.
    """
    labels = next((series.labels for series in moved if series.family == FINISHED), ())
    counting = Counting(now=0.0, platform_now=then, record_labels=tuple(name for name, _ in labels[1:]))
    had = _comparable(moved.items())
    now = _comparable(
        (part.series, part.value)
        for increment in counting.record(record, results)
        for part in _folded(increment, moved)
    )
    return tuple(
        Difference(series=series, moved=had.get(series), now=now.get(series))
        for series in sorted({*had, *now})
        if had.get(series) != now.get(series)
    )


def _folded(increment: Increment, moved: Mapping[Series, float]) -> Iterable[Increment]:
    """Fold label values as the first count did: only values in `moved` had a series of their own."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for name, value in chain.from_iterable(series.labels for series in moved):
        values[name].add(value)
    bounded = {name: values[name] for name in BOUNDED_LABELS if OTHER in values[name]}
    return fold(increment, bounded, limit=0)


def _comparable(moved: Iterable[tuple[Series, float]]) -> dict[Series, float]:
    sums: defaultdict[Series, float] = defaultdict(float)
    for series, value in moved:
        if series.family != LAG and series.part in {"", "sum"}:
            sums[series] += value
    return sums


def _counted(known: Known, seen: Seen) -> Verdict:
    record = seen.record
    if record is None:
        return Verdict(Kind.GONE, "it was counted, and the platform no longer knows it")
    if record.execute_status is not ExecuteStatus.DONE:
        return Verdict(Kind.CHANGED, "it was done, and is open now")
    compared = (
        ("result", known.result or "unknown", str(result_of(record))),
        ("start", known.start, record.start),
        ("end", known.end, record.end),
    )
    changed = [
        f"its {name} was {_text(had)}, and is {_text(now)} now" for name, had, now in compared if had != now
    ]
    moved = known.moved or {}
    then = known.settled if BAD_TIMES in moved and known.settled is not None else math.inf
    other = differences(moved, record, seen.results, then=then)
    if other or changed:
        return Verdict(Kind.CHANGED, "; ".join(changed) or "a count made now would move other series", other)
    return Verdict(Kind.SAME, "a count made now would move the same series")


def _text(value: str | float | None) -> str:
    return shown(value) if isinstance(value, float) else value or "none"


def _baseline(known: Known, terms: Terms) -> Verdict:
    began = terms.counting_start
    if began is None or known.end is None or known.end > began.baseline_end:
        why = "it was done when it was found, and its times do not tell if it ended before counting began"
        return Verdict(Kind.UNDATED, why)
    why = "it ended before counting began (poll.history)"
    if known.moved and LATE_BASELINE in known.moved:
        why += ", but was found later: do its times have another zone (api.timezone)?"
    return Verdict(Kind.UNCOUNTED, why)


def _vanished(seen: Seen, terms: Terms) -> Verdict:
    if seen.record is None:
        why = f"before it was done, the platform answered {VANISHED_LOOKUPS} times that it does not know it"
        return Verdict(Kind.UNCOUNTED, why)
    if _is_fresh(seen.record, terms):
        return Verdict(Kind.WAITING, "it vanished and came back; it will be found again")
    return Verdict(Kind.MISSING, "it vanished and came back, and was not found again in time")


def _unknown(seen: Seen, terms: Terms) -> Verdict:
    """A record that the ledger does not know."""
    record, began = seen.record, terms.counting_start
    if record is None:
        return Verdict(Kind.NOWHERE, "neither the ledger nor the platform knows this id")
    if began is None or began.floor is None:
        return Verdict(Kind.WAITING, "the first reading of the platform is not complete yet")
    if record.start is None or record.start <= began.floor:
        return _from_before(record, began, terms)
    if not seen.shown and seen.results is not None and not seen.results.rows:
        return Verdict(Kind.UNCOUNTED, "it has no host rows, so no page shows it")
    if _is_fresh(record, terms):
        return Verdict(Kind.WAITING, "it is new and not found yet")
    done = record.execute_status is ExecuteStatus.DONE
    why = "it is done, and the ledger does not know it" if done else "it is open and not found yet"
    if terms.behind:
        why += f"; the daemon has still to read {terms.behind} records"
    return Verdict(Kind.MISSING if done else Kind.WAITING, why)


def _from_before(record: Record, began: CountingStart, terms: Terms) -> Verdict:
    """A record that the ledger does not know, and that may have been there when counting began."""
    further = "older than the records that a first start adopts (poll.adopt)"
    if record.execute_status is not ExecuteStatus.DONE:
        return Verdict(Kind.UNCOUNTED, f"it is open, began before counting did, and is {further}")
    end, why = known_end(record, terms.clock.platform), "it is done, and the ledger does not know it"
    if end is None:
        return Verdict(Kind.UNDATED, f"{why}; its times do not tell when it ended")
    if end <= began.baseline_end:
        why = "it ended before counting began, or its id was pruned (state.retention)"
        return Verdict(Kind.UNCOUNTED, why)
    return Verdict(Kind.MISSING, f"{why}; was it open when counting began, and {further}?")


def _is_fresh(record: Record, terms: Terms) -> bool:
    """Whether a record ended, or if it is open began, so recently that it may not be in the ledger yet."""
    moment = record.end if record.execute_status is ExecuteStatus.DONE else record.start
    rules = terms.rules
    patience = rules.settle_grace + FEW_POLLS * rules.interval + MAX_LOOKUP_INTERVAL
    return moment is not None and terms.clock.platform - moment < patience


def _next_step(tracked: Tracked | None, seen: Seen, terms: Terms) -> str:
    """The state of a followed record, and what happens next."""
    if seen.record is None:
        return "the platform does not know it now; after some look-ups over a minute it counts as vanished"
    if tracked is None or tracked.stage is Stage.DONE:
        return "it is done and waits for its hosts (poll.settle-grace)"
    wait = next_lookup(tracked, terms.clock, terms.rules) - terms.clock.now
    late = " and past its own timeout" if is_overdue(tracked, clock=terms.clock, rules=terms.rules) else ""
    now = "done on the platform" if seen.record.execute_status is ExecuteStatus.DONE else "open"
    return f"it is {now}{late}; looked up every {wait:.0f} s"
