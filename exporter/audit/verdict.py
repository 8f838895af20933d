"""Decides whether a record was counted correctly: compares ledger and platform. Pure.

A record that the ledger counted is counted once more from what the platform says now, and the two are
compared, apart from what a second count could not give again:
- how late it was counted (`job_exporter_count_lag_seconds`): that tells of the exporter, not of the record;
- the bucket of an observation, which follows from its value, by bounds that may have been changed since;
- labels: those that the counter had then, and `other` where a value had no room then.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import ExecuteStatus, Record, Results, Series
from exporter.settings.time_range import shown
from exporter.tracking.counting import Counting, Increment, known_end, result_of
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.folding import BOUNDED_LABELS, OTHER, fold
from exporter.tracking.known import Known, LedgerStatus
from exporter.tracking.lookups import MAX_LOOKUP_INTERVAL, is_overdue, next_lookup
from exporter.tracking.tracker import VANISHED_LOOKUPS
from exporter.tracking.values import Clock, Rules, Stage, Tracked

LAG = "job_exporter_count_lag_seconds"
FINISHED = "job_records_finished_total"
_INCOMPLETE = "job_exporter_records_incomplete_total"
BAD_TIMES = Series(_INCOMPLETE, (("reason", "bad_times"),))
LATE_BASELINE = Series(_INCOMPLETE, (("reason", "late_baseline"),))
FEW_POLLS = 4  # until then a record may be on its way into the ledger


class Kind(StrEnum):
    """How a record is judged."""

    SAME = "same"
    UNCOUNTED = "rightly not counted"
    UNDATED = "not counted, and its times do not tell whether that is right"
    WAITING = "not due yet"
    MISSING = "missing"
    CHANGED = "changed after it was counted"
    GONE = "unknown to the platform"
    NOWHERE = "unknown to both"
    UNANSWERED = "not answered"


FINDINGS = frozenset({Kind.UNDATED, Kind.MISSING, Kind.CHANGED, Kind.GONE, Kind.NOWHERE, Kind.UNANSWERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the platform says of one record now; without a record it knows none."""

    record: Record | None = None
    results: Results | None = None
    shown: bool = False  # a page showed it
    problem: str = ""  # why it could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a verdict depends on beside the record itself."""

    clock: Clock
    rules: Rules
    counting_start: CountingStart | None  # None: the ledger was never polled into
    behind: int = 0  # records that the daemon knows to be missing, and has not read yet

    @property
    def patience(self) -> float:
        """Seconds after its end in which a record may be on its way into the ledger."""
        return self.rules.settle_grace + FEW_POLLS * self.rules.interval + MAX_LOOKUP_INTERVAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A series that a count made now would move by another amount; None: not at all."""

    series: Series  # of a histogram: its sum
    moved: float | None
    now: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one record."""

    kind: Kind
    why: str
    differences: tuple[Difference, ...] = ()

    @property
    def is_finding(self) -> bool:
        """Whether the count is not proven by it."""
        return self.kind in FINDINGS


def judge(known: Known | None, seen: Seen, terms: Terms) -> Verdict:
    """Say whether a record was counted rightly."""
    if seen.problem:
        return Verdict(kind=Kind.UNANSWERED, why=seen.problem)
    match known.status if known else LedgerStatus.UNKNOWN:
        case LedgerStatus.COUNTED if known is not None:
            return _counted(known, seen)
        case LedgerStatus.BASELINE if known is not None:
            return _baseline(known, terms)
        case LedgerStatus.VANISHED:
            return _vanished(seen, terms)
        case LedgerStatus.OPEN | LedgerStatus.SETTLING if known is not None and known.tracked is not None:
            return Verdict(kind=Kind.WAITING, why=_on_its_way(known.tracked, seen, terms))
    return _unknown(seen, terms)


def differences(
    moved: Mapping[Series, float], record: Record, results: Results | None, *, then: float = math.inf
) -> tuple[Difference, ...]:
    """What a count of the record made now would move otherwise; in the order of the series.

    `then`: when it was counted; times after that were in the future.
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
    """Fold what had no room then: beside `other`, only what it moved by name had a series."""
    values: dict[str, set[str]] = {}
    for series in moved:
        for name, value in series.labels:
            if name in BOUNDED_LABELS:
                values.setdefault(name, set()).add(value)
    return fold(increment, {name: had for name, had in values.items() if OTHER in had}, limit=0)


def _comparable(moved: Iterable[tuple[Series, float]]) -> dict[Series, float]:
    sums: dict[Series, float] = {}
    for series, value in moved:
        if series.family != LAG and series.part in {"", "sum"}:
            sums[series] = sums.get(series, 0.0) + value
    return sums


def _counted(known: Known, seen: Seen) -> Verdict:
    record = seen.record
    if record is None:
        return Verdict(kind=Kind.GONE, why="it was counted, and the platform no longer knows it")
    if record.execute_status is not ExecuteStatus.DONE:
        return Verdict(kind=Kind.CHANGED, why="it was done, and is open again")
    said = {
        "result": (known.result or "unknown", str(result_of(record))),
        "start": (known.start, record.start),
        "end": (known.end, record.end),
    }
    changed = [
        f"its {name} was {_said(had)}, and is {_said(now)}" for name, (had, now) in said.items() if had != now
    ]
    moved = known.moved
    then = math.inf
    if moved is not None and BAD_TIMES in moved and known.settled is not None:
        then = known.settled
    other = differences(moved, record, seen.results, then=then) if moved is not None else ()
    if other or changed:
        why = "; ".join(changed) or "a count made now would move other series"
        return Verdict(kind=Kind.CHANGED, why=why, differences=other)
    if known.moved is None:
        older = "result and times are the same; it was counted before the ledger kept what a record moves"
        return Verdict(kind=Kind.SAME, why=older)
    return Verdict(kind=Kind.SAME, why="a count made now would move the same")


def _said(value: str | float | None) -> str:
    """A result, or a time."""
    return shown(value) if isinstance(value, float) else value or "none"


def _baseline(known: Known, terms: Terms) -> Verdict:
    """Whether a record that was not counted had ended before counting began."""
    began = terms.counting_start
    if began is None or known.end is None or known.end > began.baseline_end:
        why = "it was done when it was found, and no time tells whether that was before counting began"
        return Verdict(kind=Kind.UNDATED, why=why)
    why = "it had ended when counting began (poll.history)"
    if known.moved and LATE_BASELINE in known.moved:
        why += ", and was found after that: do its times have another zone (api.timezone)?"
    return Verdict(kind=Kind.UNCOUNTED, why=why)


def _vanished(seen: Seen, terms: Terms) -> Verdict:
    if seen.record is None:
        why = f"the platform answered {VANISHED_LOOKUPS} times that it does not know it, before it was done"
        return Verdict(kind=Kind.UNCOUNTED, why=why)
    if _is_fresh(seen.record, terms):
        return Verdict(kind=Kind.WAITING, why="it had vanished, and is back: it will be found again")
    return Verdict(kind=Kind.MISSING, why="it had vanished, is back, and no page showed it again in time")


def _unknown(seen: Seen, terms: Terms) -> Verdict:
    """Why the ledger has nothing of a record."""
    record, began = seen.record, terms.counting_start
    if record is None:
        return Verdict(kind=Kind.NOWHERE, why="neither the ledger nor the platform knows this id")
    if began is None or began.floor is None:
        return Verdict(kind=Kind.WAITING, why="the first reading of the platform has not ended yet")
    if record.start is None or record.start <= began.floor:
        return _from_before(record, began, terms)
    if not seen.shown and seen.results is not None and not seen.results.rows:
        why = "it has no host rows: a page of host rows never shows it"
        return Verdict(kind=Kind.UNCOUNTED, why=why)
    if _is_fresh(record, terms):
        return Verdict(kind=Kind.WAITING, why="it is new, and not found yet")
    done = record.execute_status is ExecuteStatus.DONE
    why = "it is done, and the ledger does not know it" if done else "it is open, and not found yet"
    if terms.behind:
        why += f"; the daemon knows that {terms.behind} records are still to be read"
    return Verdict(kind=Kind.MISSING if done else Kind.WAITING, why=why)


def _from_before(record: Record, began: CountingStart, terms: Terms) -> Verdict:
    """A record that is not in the ledger, and is as old as what was there when counting began."""
    done = record.execute_status is ExecuteStatus.DONE
    if done and known_end(record, terms.clock.platform) is None:
        why = "it is done, the ledger does not know it, and no time tells when it ended"
        return Verdict(kind=Kind.UNDATED, why=why)
    if done and not _ended_between(record, began.baseline_end, terms.clock.platform):
        why = "it ended before counting began, or so long ago that its id is forgotten (state.retention)"
        return Verdict(kind=Kind.UNCOUNTED, why=why)
    further = "further back than a first start looks (poll.adopt)"
    if done:
        why = f"it is done, and the ledger does not know it; was it open when counting began, {further}?"
        return Verdict(kind=Kind.MISSING, why=why)
    return Verdict(kind=Kind.UNCOUNTED, why=f"it is open, and began before counting did, {further}")


def _ended_between(record: Record, begin: float, end: float) -> bool:
    return record.end is not None and begin < record.end <= end


def _is_fresh(record: Record, terms: Terms) -> bool:
    """Whether the last thing that is known to have happened to a record was a moment ago."""
    done = record.execute_status is ExecuteStatus.DONE
    moment = record.end if done else record.start
    return moment is not None and terms.clock.platform - moment < terms.patience


def _on_its_way(tracked: Tracked, seen: Seen, terms: Terms) -> str:
    """How far a record of the open set is, and what comes next."""
    if seen.record is None:
        return "the platform does not know it now; it is given up after some looks over a minute"
    if tracked.stage is Stage.DONE:
        return "it is done, and its hosts are waited for (poll.settle-grace)"
    wait = next_lookup(tracked, terms.clock, terms.rules) - terms.clock.now
    late = ", and past its own timeout" if is_overdue(tracked, clock=terms.clock, rules=terms.rules) else ""
    now = "done on the platform" if seen.record.execute_status is ExecuteStatus.DONE else "open"
    return f"it is {now}{late}; a look comes each {wait:.0f} s"
