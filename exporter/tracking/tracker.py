"""The open set: what is due to be looked up, and when a record leaves it. PURE.

A record goes one way; what a look-up brings decides how far (`STAGES`):

    found ──► init ──► doing ──► done ──► settled    counted once, for ever
      │         └────────┴──► vanished               the platform no longer knows it
      └──► baseline                                  was finished before counting began

Rules of counting (5, 6, 7, 10: see `settling` and `counting` too; 3 and 11: the tail and the ledger):
1.  A record is counted by its settlement alone: the ledger writes its id and its increments in one
    transaction, and its primary key refuses a second one.
2.  What was finished before counting began is the baseline. A record that may have been there before
    (`doubtful`) and is done at its first look-up is the baseline if it ended by `baseline_end`, or if its
    times do not tell. Any other record is counted, whatever its times say.
4.  An open record is looked up by id after max(poll interval, 10 % of its age), at most a minute, and
    promptly when its own timeout passes, until it is done, however far it has gone from the tail.
5.  A finished record is settled when every expected host has a row with a status, or `settle_grace`
    after it was first seen done, by the second look-up at least. It is looked up again together with its
    hosts, so that the newest result counts. Once done it stays done: an older answer is asked again.
    After an hour of asking in vain it counts with what is known.
12. A record whose own answers fail is looked up again after growing pauses, up to an hour; it stays open.
13. A record has vanished after three answers "not found" over a minute.

All waiting is in ledger time; the platform's clock is compared with a record's own times only.
"""

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from exporter.model import ExecuteStatus, FailedRecord, PageItem, Record, Results, backoff
from exporter.tracking.counting import MAX_AHEAD, Buckets, Counting, Increment, failure, incomplete
from exporter.tracking.settling import is_given_up, is_settled, more, newer, wait_in_vain

MAX_LOOKUP_INTERVAL = 60.0  # seconds: an end is never told later than this
AGE_SHARE = 0.1  # a job that ran an hour is looked at each minute, one of five minutes each 30 s
VANISHED_LOOKUPS = 3  # answers "not found" in a row before a record is given up: one may be a copy's lag
VANISHED_AFTER = 60.0  # and seconds over which they must be spread
UNREADABLE_LOOKUPS = 2  # failures in a row: one may pass
UNREADABLE_WAIT = 3600.0  # seconds between two tries of a record that can't be read, at most
RETRIES = 4  # of these in one round: each may take as long as the deadline, and half the slots stay free
ROUNDING = 5.0  # seconds: an end may be so much later than the clock of the platform, and true
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
    """Where counting began; the platform's clock. Pruning the ledger moves its times up."""

    baseline_end: float  # a doubtful record that ended by then is the baseline
    floor: float | None  # start down to which the first reading has read all; None: it is going on
    # Start down to which all that was there is registered: what started later, and is found, is new.
    # None: the first sweep is going on; LONG_AGO: the whole platform.
    registered: float | None = None
    # From this position up the first reading has seen every record, when the total was `accounted`.
    bottom: int | None = None
    accounted: int = 0  # without growth that may lie below `bottom`
    invisible: int = 0  # records that the first reading or sweep could not see, and that may appear
    seemed_empty: bool = False  # the first answer said so, and later ones did not
    lowest: float | None = None  # earliest start that the first reading met so far
    read: int = 0  # bytes of the pages of the first reading
    first_baseline_end: float | None = None  # before any pruning moved it; None: none did

    @property
    def began(self) -> float:
        """What ended by then was never counted, whatever was pruned since."""
        return self.baseline_end if self.first_baseline_end is None else self.first_baseline_end

    @property
    def unregistered(self) -> float:
        """A record that started by then may be unknown because it is old."""
        if self.floor is None:
            return float("inf")
        return self.floor if self.registered is None else min(self.floor, self.registered)

    def bottom_at(self, total: int) -> float:
        """The position above which no old record can be unknown, at this total."""
        return float("inf") if self.bottom is None else self.bottom + max(0, total - self.accounted)

    def pruned(self, *, ended: float, started: float) -> "CountingStart":
        """After the ledger forgot records: the latest end, and the latest start of these."""
        if self.floor is None:
            return self
        return dataclasses.replace(
            self,
            baseline_end=max(self.baseline_end, ended),
            floor=max(self.floor, started),
            registered=None if self.registered is None else max(self.registered, started),
            first_baseline_end=self.began,
            bottom=None,
        )


class Tracked(Struct, frozen=True, kw_only=True, gc=False):
    """A record of the open set; ledger time, but for `start`, `seen_open` and `baseline_end`."""

    id: str
    found: float
    due: float
    stage: Stage = Stage.FOUND
    baseline_end: float | None = None  # of a doubtful record; None: it will be counted
    late: bool = False  # found when all that was there before had been registered
    is_first: bool = False  # found by the first reading
    new_without_end: bool = False  # of a doubtful one: it is new if it tells no end
    start: float | None = None
    timeout: float | None = None
    not_found: int = 0  # answers "not found" in a row
    not_found_since: float | None = None
    done: float | None = None  # first seen done
    lookups: int = 0  # that were answered; a restart may forget some
    unread: int = 0  # look-ups in a row that failed, though others did not
    asked: float = 0.0  # seconds of asking in vain, once done
    seen_open: float | None = None  # when it was last seen open, platform's clock; not kept in the ledger
    last_lookup: float = 0.0  # not kept in the ledger
    result_lookups: int = 0
    record: Record | None = None  # once done; a page of whole records may have told it
    best: Results | None = None  # of the look-ups of its hosts, the one that showed most


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What one look-up of a record brought; None: not asked for, or it could not be had."""

    id: str
    record: Record | None = None
    results: Results | None = None
    not_found: bool = False
    failure: str | None = None  # why its own answer could not be had


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


def follow(
    item: PageItem,
    *,
    doubtful: bool,
    new_without_end: bool = False,
    counting_start: CountingStart,
    clock: Clock,
    rules: Rules,
) -> Tracked:
    """Begin to follow a record that a page has shown for the first time; it is due at once.

    `doubtful`: it may have been there before counting began. `new_without_end`: it counts if it tells no end.
    """
    tracked = Tracked(
        id=item.id,
        found=clock.now,
        due=clock.now,
        start=item.start,
        baseline_end=counting_start.baseline_end if doubtful else None,
        late=counting_start.registered is not None,
        is_first=counting_start.floor is None,
        new_without_end=counting_start.seemed_empty or new_without_end,
    )
    # A page of whole records spares the look-up. A doubtful record that is done is looked up.
    record = item.record
    if record is None or (doubtful and record.execute_status is ExecuteStatus.DONE):
        return tracked
    return _seen(tracked, record, clock, rules)


def due(tracked: Iterable[Tracked], *, now: float, rules: Rules, limit: int) -> list[Tracked]:
    """At most `limit` records to look up now, those waiting longest first; last a few that failed before.

    What is due within half an interval counts as due: of two polls the nearer one takes it. Else a look-up
    that came a little after its poll began would be missed by the next one and wait for the one after.
    """
    soon = now + rules.interval / 2
    waiting: list[Tracked] = []
    failed: list[Tracked] = []
    for item in tracked:
        if item.due <= soon:
            (failed if item.unread else waiting).append(item)

    def first(items: list[Tracked], number: int) -> list[Tracked]:
        return heapq.nsmallest(number, items, key=lambda item: (item.due, item.id))

    chosen = first(waiting, limit)
    return chosen + first(failed, min(RETRIES, limit - len(chosen)))


def after_lookup(tracked: Tracked, lookup: Lookup, *, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """Decide what a look-up of a record means: it stays in the open set, or leaves it."""
    told, results = lookup.record, lookup.results
    tracked = replace(tracked, last_lookup=clock.now)
    if lookup.not_found or told or results:
        tracked = replace(tracked, lookups=tracked.lookups + 1)
    if lookup.not_found:
        return _missed(tracked, clock, rules)
    before = tracked
    if told is not None:
        if is_baseline(tracked, told, clock):
            return baseline(tracked, told)
        tracked = _seen(tracked, told, clock, rules)
    elif results is None and lookup.failure is None:  # nothing could be had: the platform's own failure
        return replace(tracked, due=clock.now + rules.interval)
    if lookup.failure is not None:
        tracked = replace(tracked, unread=before.unread + 1)
    if tracked.stage is Stage.DONE and tracked.record is not None:
        is_older = told is not None and told.execute_status is not ExecuteStatus.DONE
        return _done(tracked, tracked.record, results, clock, rules, is_older=is_older)
    if lookup.failure is None:
        return tracked
    wait = backoff(tracked.unread, first=rules.interval, longest=max(UNREADABLE_WAIT, rules.interval))
    return replace(tracked, due=clock.now + wait)


def wants_results(tracked: Tracked, record: Record, *, clock: Clock) -> bool:
    """Whether a look-up of a record that shows this must ask for its results too."""
    done = tracked.stage is Stage.DONE or record.execute_status is ExecuteStatus.DONE
    return done and not is_baseline(tracked, record, clock)


def is_unreadable(tracked: Tracked) -> bool:
    """Whether the look-ups of a record fail, and not just one of them."""
    return tracked.unread >= UNREADABLE_LOOKUPS


def retried(tracked: Iterable[Tracked], *, clock: Clock, rules: Rules) -> Iterator[Tracked]:
    """Make the records due that could not be read, because one of them can be read again.

    Those that this poll has looked up wait for the next one.
    """
    for item in tracked:
        if item.unread:
            yield replace(item, due=min(item.due, max(clock.now, item.last_lookup + rules.interval)))


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
    """Rule 4: when to look up an open record again.

    Never before the next poll: what is due at once is looked up again and again by this one.
    """
    age = clock.platform - tracked.start if tracked.start is not None else clock.now - tracked.found
    wait = min(MAX_LOOKUP_INTERVAL, AGE_SHARE * age)
    if tracked.start is not None and tracked.timeout is not None:
        passes = tracked.start + tracked.timeout - clock.platform
        if 0 <= passes < max(wait, rules.interval):
            wait = passes + TIMEOUT_SLACK
    return clock.now + max(rules.interval, wait)


def _seen(tracked: Tracked, told: Record, clock: Clock, rules: Rules) -> Tracked:
    """Follow a record to the stage that it shows."""
    done = tracked.stage is Stage.DONE or told.execute_status is ExecuteStatus.DONE
    record = newer(tracked.record, told) if done else told
    tracked = replace(
        tracked,
        stage=Stage.DONE if done else STAGES[record.execute_status],
        baseline_end=None,  # it was seen open, or ended after the baseline: it will be counted
        not_found=0,
        not_found_since=None,
        unread=0,
        seen_open=tracked.seen_open if done else clock.platform,
        start=record.start if record.start is not None else tracked.start,
        timeout=record.timeout,
        done=(tracked.done if tracked.done is not None else clock.now) if done else None,
        record=record if done else None,
    )
    return replace(tracked, due=clock.now if done else next_lookup(tracked, clock, rules))


def _missed(tracked: Tracked, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """The platform says that it does not know the record."""
    since = tracked.not_found_since if tracked.not_found_since is not None else clock.now
    missed = tracked.not_found + 1
    if missed >= VANISHED_LOOKUPS and clock.now - since >= VANISHED_AFTER:
        if tracked.record is not None:  # it was seen done
            return _settle(_without_empty_results(tracked), tracked.record, clock, rules)
        # One still doubtful was never followed: it may have been the baseline, and nothing is lost.
        counts = (incomplete("vanished"),) if tracked.baseline_end is None else ()
        return _leave(tracked, Outcome.VANISHED, increments=counts)
    wait = max(rules.interval, VANISHED_AFTER / VANISHED_LOOKUPS)
    return replace(tracked, not_found=missed, not_found_since=since, unread=0, due=clock.now + wait)


def _without_empty_results(tracked: Tracked) -> Tracked:
    """Drop results without any row: a deleted record has none, so they say nothing of its hosts."""
    best = tracked.best
    return tracked if best is None or best.rows or best.bad_rows else replace(tracked, best=None)


def is_baseline(tracked: Tracked, record: Record, clock: Clock) -> bool:
    """Rule 2: whether a record was done before counting began. An end in the future is wrong."""
    if tracked.baseline_end is None or record.execute_status is not ExecuteStatus.DONE:
        return False
    end = record.end
    if end is None:
        return not tracked.new_without_end
    ahead = ROUNDING if tracked.is_first else MAX_AHEAD
    return end <= tracked.baseline_end or end > clock.platform + ahead


def baseline(tracked: Tracked, record: Record) -> Settlement:
    """Let a record go that was done before counting began."""
    late = (incomplete("late_baseline"),) if tracked.late else ()
    return _leave(tracked, Outcome.BASELINE, record=record, increments=late)


def _done(
    tracked: Tracked, record: Record, results: Results | None, clock: Clock, rules: Rules, *, is_older: bool
) -> Tracked | Settlement:
    """Rule 5: a finished record with what could be had of its hosts; `is_older`: the answer was."""
    if results is not None:
        best, lookups = tracked.best, tracked.result_lookups + 1
        tracked = replace(tracked, best=more(best, results), result_lookups=lookups)
    if results is None or is_older:
        if is_given_up(tracked.asked, rules.interval):
            return _settle(tracked, record, clock, rules)
        wait = wait_in_vain(tracked.asked, rules.interval)
        return replace(tracked, asked=tracked.asked + wait, due=clock.now + wait)
    waited = clock.now - (tracked.done if tracked.done is not None else clock.now)
    grace = rules.settle_grace
    if is_settled(record, results, best=best, waited=waited, interval=rules.interval, grace=grace):
        return _settle(tracked, record, clock, rules)
    wait = backoff(lookups, first=rules.interval, longest=max(rules.interval, grace - waited))
    return replace(tracked, asked=0.0, due=clock.now + wait)


def _settle(tracked: Tracked, record: Record, clock: Clock, rules: Rules) -> Settlement:
    """Count a finished record with what is known of its hosts."""
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
        increments=counting.record(record, tracked.best),
        failure=failure(record, tracked.best, platform_now=clock.platform),
    )


def _leave(tracked: Tracked, outcome: Outcome, **known: Any) -> Settlement:
    """Let a record go, with what is known of its way."""
    return Settlement(
        id=tracked.id,
        outcome=outcome,
        found=tracked.found,
        lookups=tracked.lookups,
        done=tracked.done,
        **known,
    )
