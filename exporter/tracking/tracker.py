"""The open set: what is due to be looked at, and when a record leaves it. PURE.

A record goes one way; what a look at it brings decides how far (`STAGES`):

    found ──► init ──► doing ──► done ──► settled    counted once, for ever
      │         └────────┴──► vanished               the platform no longer knows it
      └──► baseline                                  was finished before counting began

Rules of counting (5, 6, 7 and 10: see `counting` too; 3 and 11 are the tail's and the ledger's):
1.  A record is counted by its settlement alone: the ledger writes its id and its increments in one
    transaction, and its primary key refuses a second one.
2.  What was finished before counting began is the baseline. A record is doubtful when it may be as old:
    it was found by the first reading, or began no later than the oldest record read then. A doubtful
    record that is done at the first look is the baseline if it ended by `baseline_end`, or tells no end.
4.  An open record is looked at by id after max(poll interval, 10 % of its age), at most a minute, and
    promptly when its own timeout passes, until it is done, however far it has gone from the tail; and
    so is one whose answers can't be read, which is said aloud.
5.  A finished record is settled when every expected host has a row with a status, or `settle_grace`
    after it was first seen done, by the second look at least. Without results for `RESULTS_LIMIT` it
    counts without hosts.
"""

import dataclasses
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from exporter.model import Ended, ExecuteStatus, FailedRecord, PageItem, Record, Results, Series
from exporter.tracking.counting import Buckets, Counting, Increment, failure, is_complete

MAX_LOOKUP_INTERVAL = 60.0  # seconds: an end is never told later than this
AGE_SHARE = 0.1  # a job that ran an hour is looked at each minute, one of five minutes each 30 s
RESULTS_LIMIT = 3600.0  # seconds for which results are asked again before a record counts without them
VANISHED_LOOKUPS = 3  # answers "not found" in a row before a record is given up: one may be a replica's lag
VANISHED_AFTER = 60.0  # and seconds over which they must be spread
UNREADABLE_LOOKUPS = 20  # answers in a row that can't be read before it is said: five minutes at least
TIMEOUT_SLACK = 1.0  # seconds: the platform's times are whole ones, let that second pass


class Stage(StrEnum):
    """How far a record of the open set is on its way."""

    FOUND = "found"
    INIT = "init"
    DOING = "doing"
    DONE = "done"


# The stage that a record's execute status leads to; from done there is no way back.
STAGES: Mapping[ExecuteStatus, Stage] = {
    ExecuteStatus.INIT: Stage.INIT,
    ExecuteStatus.DOING: Stage.DOING,
    ExecuteStatus.DONE: Stage.DONE,
}


class Outcome(StrEnum):
    """How a record left the open set."""

    SETTLED = "settled"
    VANISHED = "vanished"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that following and counting depend on; seconds."""

    interval: float = 15.0
    settle_grace: float = 15.0
    overdue_grace: float = 30.0
    record_labels: tuple[str, ...] = ("provider", "script_type")
    buckets: Buckets = field(default_factory=Buckets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One moment by three clocks, in seconds. What waits, waits by ledger time; the others date things."""

    now: float  # ledger time: runs while the ledger is polled, and never jumps
    wall: float  # our clock, POSIX
    platform: float  # the platform's clock, POSIX: its times are compared with it


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingStart:
    """Where counting began; the platform's clock. Pruning the ledger moves both up."""

    baseline_end: float  # a doubtful record that ended by then is the baseline
    floor: float | None  # what started later is surely new; None: the first reading is going on
    lowest: float | None = None  # earliest start that the first reading met so far
    read: int = 0  # bytes of the pages of the first reading
    first_baseline_end: float | None = None  # before any pruning moved it; None: none did

    @property
    def began(self) -> float:
        """What ended by then was never counted, whatever was pruned since."""
        return self.baseline_end if self.first_baseline_end is None else self.first_baseline_end

    def pruned(self, *, ended: float, started: float) -> "CountingStart":
        """After the ledger forgot records: the latest end, and the latest start of these."""
        if self.floor is None:
            return self
        return dataclasses.replace(
            self,
            baseline_end=max(self.baseline_end, ended),
            floor=max(self.floor, started),
            first_baseline_end=self.began,
        )


class Tracked(Struct, frozen=True, kw_only=True, gc=False):
    """A record of the open set; our clock, but for `start` and `baseline_end`."""

    id: str
    found: float
    due: float
    stage: Stage = Stage.FOUND
    baseline_end: float | None = None  # of a doubtful record; None: surely new, or known to be followed
    start: float | None = None
    timeout: float | None = None
    not_found: int = 0  # answers "not found" in a row
    not_found_since: float | None = None
    done: float | None = None  # first seen done
    lookups: int = 0  # that were answered; a restart may forget some
    unread: int = 0  # look-ups in a row whose answer could not be read
    result_lookups: int = 0
    record: Record | None = None  # once done; not kept in the ledger, it is read again after a restart
    ended: Ended | None = None  # what its page told, where it had ended by then; not kept in the ledger
    best: Results | None = None  # of the looks at its hosts the one that showed most; not kept either


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What one look at a record brought; None: not asked for, or it could not be had."""

    id: str
    record: Record | None = None
    results: Results | None = None
    not_found: bool = False
    unread: bool = False  # the platform answered, and not with a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A record that leaves the open set for good, and what it counts."""

    id: str
    outcome: Outcome
    found: float
    lookups: int = 0
    done: float | None = None  # first seen done
    increments: tuple[Increment, ...] = ()
    record: Record | None = None
    failure: FailedRecord | None = None


def follow(item: PageItem, *, counting_start: CountingStart, clock: Clock, rules: Rules) -> Tracked:
    """Begin to follow a record that a page has shown for the first time; it is due at once."""
    doubtful = counting_start.floor is None or item.start is None or item.start <= counting_start.floor
    tracked = Tracked(
        id=item.id,
        found=clock.now,
        due=clock.now,
        start=item.start,
        baseline_end=counting_start.baseline_end if doubtful else None,
        ended=item.ended,
    )
    # A page of whole records spares the look.
    return _seen(tracked, item.record, clock, rules) if item.record and not doubtful else tracked


def due(tracked: Iterable[Tracked], *, now: float, rules: Rules, limit: int) -> list[Tracked]:
    """At most `limit` records to look at now, those waiting longest first.

    What is due within half an interval counts as due: of two polls the nearer one looks. Else a look that
    came a little after its poll began would be missed by the next one and wait for the one after.
    """
    soon = now + rules.interval / 2
    # What is due later than any look is ever put off was put off before our clock jumped back.
    never = now + max(MAX_LOOKUP_INTERVAL, rules.interval, rules.settle_grace) + TIMEOUT_SLACK
    waiting = (item for item in tracked if not soon < item.due <= never)
    return heapq.nsmallest(limit, waiting, key=lambda item: (item.due, item.id))


def after_lookup(tracked: Tracked, lookup: Lookup, *, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """Decide what a look at a record means: it stays in the open set, or leaves it."""
    if lookup.not_found or lookup.record or lookup.results:
        tracked = replace(tracked, lookups=tracked.lookups + 1)
    if lookup.not_found:
        return _missed(tracked, clock, rules)
    if lookup.record is not None:
        if _is_baseline(tracked, lookup.record, clock):
            return _leave(tracked, Outcome.BASELINE, record=lookup.record)
        tracked = _seen(tracked, lookup.record, clock, rules)
    elif tracked.record is None and lookup.unread:  # it may never be: it stays open, for all that is known
        return replace(tracked, unread=tracked.unread + 1, due=next_lookup(tracked, clock, rules))
    elif tracked.record is None:  # nothing could be had
        return replace(tracked, due=clock.now + rules.interval)
    if tracked.record is None:
        return tracked
    return _done(tracked, tracked.record, lookup.results, clock, rules)


def wants_results(tracked: Tracked, record: Record, *, clock: Clock) -> bool:
    """Whether a look at a record that shows this must ask for its results too."""
    done = tracked.stage is Stage.DONE or record.execute_status is ExecuteStatus.DONE
    return done and not _is_baseline(tracked, record, clock)


def shown_results(tracked: Tracked, record: Record) -> Results | None:
    """The results that the page of a finished record has told; None: they must be asked for.

    Its rows are those of the results. They count if they are complete, and the record had ended when the page
    was read. No clock is needed for that: they bear the very end that the record does.
    """
    ended = tracked.ended
    if ended is None or (ended.start, ended.end) != (record.start, record.end):
        return None
    return ended.results if is_complete(record, ended.results) else None


def is_overdue(tracked: Tracked, *, clock: Clock, rules: Rules) -> bool:
    """Whether an open record has run past its own timeout and the grace."""
    if tracked.stage is Stage.DONE or tracked.start is None or tracked.timeout is None:
        return False
    return clock.platform > tracked.start + tracked.timeout + rules.overdue_grace


def discovered(before: Tracked | None, after: Tracked | Settlement) -> bool:
    """Whether a record is now surely one to be counted, and was not before (None: it was just found)."""
    if isinstance(after, Settlement):
        return after.outcome is Outcome.SETTLED and before is not None and before.baseline_end is not None
    return after.baseline_end is None and (before is None or before.baseline_end is not None)


def next_lookup(tracked: Tracked, clock: Clock, rules: Rules) -> float:
    """Rule 4: when to look at an open record again.

    Never before the next poll: what is due at once is looked at again and again by this one.
    """
    age = clock.platform - tracked.start if tracked.start is not None else clock.now - tracked.found
    wait = min(MAX_LOOKUP_INTERVAL, AGE_SHARE * age)
    if tracked.start is not None and tracked.timeout is not None:
        passes = tracked.start + tracked.timeout - clock.platform
        if 0 <= passes < max(wait, rules.interval):
            wait = passes + TIMEOUT_SLACK
    return clock.now + max(rules.interval, wait)


def _seen(tracked: Tracked, record: Record, clock: Clock, rules: Rules) -> Tracked:
    """Follow a record to the stage that it shows."""
    done = tracked.stage is Stage.DONE or record.execute_status is ExecuteStatus.DONE
    tracked = replace(
        tracked,
        stage=Stage.DONE if done else STAGES[record.execute_status],
        baseline_end=None,  # it was seen open, or ended after the baseline: it will be counted
        not_found=0,
        not_found_since=None,
        unread=0,
        start=record.start if record.start is not None else tracked.start,
        timeout=record.timeout,
        done=(tracked.done if tracked.done is not None else clock.now) if done else None,
        record=record if done else None,
        ended=tracked.ended if done else None,
    )
    return replace(tracked, due=clock.now if done else next_lookup(tracked, clock, rules))


def _missed(tracked: Tracked, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """The platform says that it does not know the record."""
    since = tracked.not_found_since if tracked.not_found_since is not None else clock.now
    missed = tracked.not_found + 1
    if missed >= VANISHED_LOOKUPS and clock.now - since >= VANISHED_AFTER:
        gone = Series("job_exporter_records_incomplete_total", (("reason", "vanished"),))
        # One still doubtful was never followed: it may have been the baseline, and nothing is lost.
        counts = (Increment(series=gone),) if tracked.baseline_end is None else ()
        return _leave(tracked, Outcome.VANISHED, increments=counts)
    wait = max(rules.interval, VANISHED_AFTER / VANISHED_LOOKUPS)
    return replace(tracked, not_found=missed, not_found_since=since, due=clock.now + wait)


def _is_baseline(tracked: Tracked, record: Record, clock: Clock) -> bool:
    """Rule 2. An end that is still to come says nothing of when it ended."""
    if tracked.baseline_end is None or record.execute_status is not ExecuteStatus.DONE:
        return False
    return record.end is None or not tracked.baseline_end < record.end <= clock.platform


def _done(
    tracked: Tracked, record: Record, results: Results | None, clock: Clock, rules: Rules
) -> Tracked | Settlement:
    """Rule 5: a finished record with what could be had of its hosts."""
    waited = clock.now - (tracked.done if tracked.done is not None else clock.now)
    if results is None:
        wait = max(rules.interval, min(MAX_LOOKUP_INTERVAL, AGE_SHARE * waited))
        settled = waited >= RESULTS_LIMIT
    else:
        best = results if _shows_most(tracked, results) else tracked.best
        settled = is_complete(record, results) or _waited_enough(tracked, results, waited, rules)
        wait = min(
            rules.interval * 2.0**tracked.result_lookups, max(rules.interval, rules.settle_grace - waited)
        )
        tracked = replace(tracked, result_lookups=tracked.result_lookups + 1, best=best)
        results = best
    if not settled:
        return replace(tracked, due=clock.now + wait)
    counting = Counting(
        now=clock.wall,
        platform_now=clock.platform,
        record_labels=rules.record_labels,
        buckets=rules.buckets,
    )
    return _leave(
        tracked,
        Outcome.SETTLED,
        record=record,
        increments=counting.record(record, results),
        failure=failure(record, results),
    )


def _leave(tracked: Tracked, outcome: Outcome, **more: Any) -> Settlement:
    """Let a record go, with what is known of its way."""
    return Settlement(
        id=tracked.id,
        outcome=outcome,
        found=tracked.found,
        lookups=tracked.lookups,
        done=tracked.done,
        **more,
    )


def _waited_enough(tracked: Tracked, results: Results, waited: float, rules: Rules) -> bool:
    """Whether a finished record is to be taken with the hosts that have not reported.

    Rows blink, or go with their record: what counts is never the only look, and if the last one shows less
    than an earlier one did, that one counts, a while later. A poll a little early is in time.
    """
    seen_twice = tracked.result_lookups > 0 or not rules.settle_grace
    shows_all = _shows_most(tracked, results) or waited >= rules.settle_grace + MAX_LOOKUP_INTERVAL
    return seen_twice and shows_all and waited >= rules.settle_grace - rules.interval / 4


def _shows_most(tracked: Tracked, results: Results) -> bool:
    """Whether no earlier look has shown more hosts that reported, or as many and more rows."""
    return tracked.best is None or _reported(results) >= _reported(tracked.best)


def _reported(results: Results) -> tuple[int, int]:
    return sum(row.status is not None for row in results.rows), len(results.rows)
