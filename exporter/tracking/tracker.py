"""The life of a record: what a look-up changes, and when the record leaves the open set. PURE.

A record moves in one direction; the answer to a look-up decides how far (`Stage`):

    found ──► init ──► doing ──► done ──► settled    counted once, for ever
      │         └────────┴──► vanished               the platform no longer has it
      └──► baseline                                  was done before counting began

Rules of counting (also in `settling`: 5, `counting`: 6 and 7, `folding`: 10, `finding`: 2):
1.  Only a settlement counts a record. The ledger writes the id and the increments in one transaction, and its
    primary key refuses a second settlement.
2.  A record that may have been there before counting began is doubtful (see `finding`). If its first look-up
    finds it done, it is the baseline in three cases: it ended by `baseline_end`, its end is in the future, or
    it has no end and nothing else shows that it is new. Every other record is counted, whatever its times
    say.
4.  See `lookups`.
5.  A done record is settled when every expected host has a row with a status, or after `settle_grace`. Each
    look-up requests the record and its hosts, so that the newest result counts. A done record stays done: an
    answer that says otherwise is older. After an hour of failed look-ups it counts with the known data.
12. A record whose own look-ups fail stays open. It is retried with backoff, up to an hour.
13. A record has vanished after three answers "not found" within at least a minute.

All waits use ledger time. The platform's clock is only compared with times of records.
"""

from typing import Any

from msgspec.structs import replace

from exporter.model import MAX_AHEAD, Clock, ExecuteStatus, PageItem, Record, Results, backoff
from exporter.tracking.counting import Counting, failure, incomplete
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.lookups import next_lookup
from exporter.tracking.settling import is_given_up, is_settled, more, newer, wait_in_vain
from exporter.tracking.values import Lookup, Outcome, Rules, Settlement, Stage, Tracked

VANISHED_LOOKUPS = 3  # consecutive answers "not found": a lagging database copy may give one
VANISHED_AFTER = 60.0  # seconds from the first to the last of them
UNREADABLE_WAIT = 3600.0  # maximum seconds between two look-ups of an unreadable record
ROUNDING = 5.0  # seconds by which a true end may be later than the platform's clock


def follow(
    item: PageItem,
    *,
    doubtful: bool,
    new_without_end: bool = False,
    counting_start: CountingStart,
    clock: Clock,
    rules: Rules,
) -> Tracked:
    """Follow a record that a page shows for the first time; it is due at once.

    `doubtful`: it may have been there before counting began. `new_without_end`: it counts if it has no end.
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
    # A page of whole records saves the look-up, unless the record is doubtful and done.
    record = item.record
    if record is None or (doubtful and record.execute_status is ExecuteStatus.DONE):
        return tracked
    return _seen(tracked, record, clock, rules)


def after_lookup(tracked: Tracked, lookup: Lookup, *, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """Apply the answer to a look-up: the record stays in the open set, or leaves it."""
    answer, results = lookup.record, lookup.results
    is_answered = lookup.not_found or answer is not None or results is not None
    tracked = replace(tracked, last_lookup=clock.now, lookups=tracked.lookups + is_answered)
    if lookup.not_found:
        return _missed(tracked, clock, rules)
    before = tracked
    if answer is not None:
        if is_baseline(tracked, answer, clock):
            return baseline(tracked, answer)
        tracked = _seen(tracked, answer, clock, rules)
    elif results is None and lookup.failure is None:  # the platform failed, not the record
        return replace(tracked, due=clock.now + rules.interval)
    if lookup.failure is not None:
        tracked = replace(tracked, unread=before.unread + 1, reason=lookup.failure)
    if tracked.stage is Stage.DONE and tracked.record is not None:
        is_older = answer is not None and answer.execute_status is not ExecuteStatus.DONE
        return _done(tracked, tracked.record, results, clock, rules, is_older=is_older)
    if lookup.failure is None:
        return tracked
    wait = backoff(tracked.unread, first=rules.interval, longest=max(UNREADABLE_WAIT, rules.interval))
    return replace(tracked, due=clock.now + wait)


def wants_results(tracked: Tracked, record: Record, *, clock: Clock) -> bool:
    """Whether the look-up that returned `record` must request its results too."""
    done = tracked.stage is Stage.DONE or record.execute_status is ExecuteStatus.DONE
    return done and not is_baseline(tracked, record, clock)


def discovered(before: Tracked | None, after: Tracked | Settlement) -> bool:
    """Whether a record is now surely one to be counted, and was not before (None: it was just found)."""
    if isinstance(after, Settlement):
        return after.outcome is Outcome.SETTLED and before is not None and before.baseline_end is not None
    return after.baseline_end is None and (before is None or before.baseline_end is not None)


def _seen(tracked: Tracked, answer: Record, clock: Clock, rules: Rules) -> Tracked:
    """Move a record to the stage that an answer shows."""
    done = tracked.stage is Stage.DONE or answer.execute_status is ExecuteStatus.DONE
    record = newer(tracked.record, answer) if done else answer
    tracked = replace(
        tracked,
        stage=Stage.DONE if done else Stage(record.execute_status),
        baseline_end=None,  # it was open, or ended after counting began: it will be counted
        not_found=0,
        not_found_since=None,
        unread=0,
        seen_open=tracked.seen_open if done else clock.platform,
        start=record.start if record.start is not None else tracked.start,
        timeout=record.timeout,
        done=(tracked.done or clock.now) if done else None,
        record=record if done else None,
    )
    return replace(tracked, due=clock.now if done else next_lookup(tracked, clock, rules))


def _missed(tracked: Tracked, clock: Clock, rules: Rules) -> Tracked | Settlement:
    """Apply the answer "not found"."""
    since = tracked.not_found_since or clock.now
    missed = tracked.not_found + 1
    if missed >= VANISHED_LOOKUPS and clock.now - since >= VANISHED_AFTER:
        record, best = tracked.record, tracked.best
        if record is not None:  # it was seen done
            if best is not None and not (best.rows or best.bad_rows):  # those of a deleted record
                tracked = replace(tracked, best=None)
            return _settle(tracked, record, clock, rules)
        # A record that is still doubtful may be the baseline: nothing is lost.
        counts = (incomplete("vanished"),) if tracked.baseline_end is None else ()
        return _leave(tracked, Outcome.VANISHED, increments=counts)
    wait = max(rules.interval, VANISHED_AFTER / VANISHED_LOOKUPS)
    return replace(tracked, not_found=missed, not_found_since=since, unread=0, due=clock.now + wait)


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
    """The settlement of a record that was done before counting began."""
    late = (incomplete("late_baseline"),) if tracked.late else ()
    return _leave(tracked, Outcome.BASELINE, record=record, increments=late)


def _done(
    tracked: Tracked, record: Record, results: Results | None, clock: Clock, rules: Rules, *, is_older: bool
) -> Tracked | Settlement:
    """Rule 5: settle a done record, or wait; `is_older`: the answer was older than the known one."""
    if results is not None:
        best, lookups = tracked.best, tracked.result_lookups + 1
        tracked = replace(tracked, best=more(best, results), result_lookups=lookups)
    if results is None or is_older:
        if is_given_up(tracked.asked, rules.interval):
            return _settle(tracked, record, clock, rules)
        wait = wait_in_vain(tracked.asked, rules.interval)
        return replace(tracked, asked=tracked.asked + wait, due=clock.now + wait)
    waited = clock.now - (tracked.done or clock.now)
    grace = rules.settle_grace
    if is_settled(record, results, best=best, waited=waited, interval=rules.interval, grace=grace):
        return _settle(tracked, record, clock, rules)
    wait = backoff(lookups, first=rules.interval, longest=max(rules.interval, grace - waited))
    return replace(tracked, asked=0.0, due=clock.now + wait)


def _settle(tracked: Tracked, record: Record, clock: Clock, rules: Rules) -> Settlement:
    """Count a done record with the best results known."""
    counting = Counting(
        now=clock.wall, platform_now=clock.platform, record_labels=rules.record_labels, buckets=rules.buckets
    )
    return _leave(
        tracked,
        Outcome.SETTLED,
        record=record,
        increments=counting.record(record, tracked.best),
        failure=failure(record, tracked.best, platform_now=clock.platform),
    )


def _leave(tracked: Tracked, outcome: Outcome, **known: Any) -> Settlement:
    """The settlement of a record that leaves the open set."""
    return Settlement(
        id=tracked.id,
        outcome=outcome,
        found=tracked.found,
        lookups=tracked.lookups,
        done=tracked.done,
        **known,
    )
