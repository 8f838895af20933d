"""The open set: when a record is looked at, and how it leaves."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from exporter.model import Clock, ExecuteStatus, HostStatus, PageItem, Record, Results, ResultStatus
from exporter.tracking.counting import Buckets
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.lookups import MAX_LOOKUP_INTERVAL, due, is_overdue, is_unreadable, retried
from exporter.tracking.settling import LONGEST_WAIT, RESULTS_LIMIT
from exporter.tracking.tracker import (
    UNREADABLE_WAIT,
    VANISHED_AFTER,
    VANISHED_LOOKUPS,
    after_lookup,
    discovered,
    follow,
    wants_results,
)
from exporter.tracking.values import Lookup, Outcome, Rules, Settlement, Stage, Tracked
from tests.harness import core
from tests.harness.core import NOW, item, row, rows, series

RULES = Rules(interval=15.0, settle_grace=15.0, buckets=Buckets(duration=(60.0,)))
BEGAN = CountingStart(baseline_end=NOW - 1000, floor=NOW - 5000)
DOING, INIT = ExecuteStatus.DOING, ExecuteStatus.INIT
COMPLETE = rows(row("a"))


def at(seconds: float = 0.0, *, skew: float = 0.0) -> Clock:
    """Give the clock so many seconds from now."""
    return Clock(now=NOW + seconds, wall=NOW + seconds, platform=NOW + seconds + skew)


def running(**changes: Any) -> Record:
    return Record(id="r", **{"execute_status": DOING, "start": NOW - 10, **changes})


def done(**changes: Any) -> Record:
    """Make a finished record of one host, a."""
    return core.done(**{"expected_hosts": frozenset("a"), **changes})


def tracked(**changes: Any) -> Tracked:
    return Tracked(id="r", **{"found": NOW, "due": NOW, **changes})


def look_up(
    before: Tracked,
    record: Record | None = None,
    results: Results | None = None,
    *,
    clock: Clock | None = None,
) -> Tracked | Settlement:
    return after_lookup(
        before, Lookup(id="r", record=record, results=results), clock=clock or at(), rules=RULES
    )


def open_(after: Tracked | Settlement) -> Tracked:
    assert isinstance(after, Tracked)
    return after


def left(after: Tracked | Settlement) -> Settlement:
    assert isinstance(after, Settlement)
    return after


def counts(settlement: Settlement, reason: str) -> bool:
    wanted = series("job_exporter_records_incomplete_total", reason=reason)
    return any(increment.series == wanted for increment in settlement.increments)


# -- rule 2: the baseline


def first_seen(*, doubtful: bool = False, record: Record | None = None, **changes: Any) -> Tracked:
    seen = PageItem(id="r", start=NOW, record=record)
    return follow(seen, doubtful=doubtful, counting_start=BEGAN, clock=at(), rules=RULES, **changes)


@pytest.mark.parametrize("doubtful", [False, True])
def test_a_record_that_was_found_is_due_at_once(doubtful: bool) -> None:
    """If it may have been there before counting began, the first look-up tells."""
    new = first_seen(doubtful=doubtful)
    assert new.baseline_end == (BEGAN.baseline_end if doubtful else None)
    assert (new.due, new.stage, new.start) == (NOW, Stage.FOUND, NOW)


def test_a_page_of_whole_records_spares_the_look() -> None:
    """A surely new record is followed to the stage that the page shows; a doubtful one is looked up."""
    assert first_seen(record=done()).stage is Stage.DONE
    assert first_seen(record=running()).due == NOW + 15
    assert first_seen(doubtful=True, record=done()).stage is Stage.FOUND


YEAR_9999 = 253_402_300_799.0


@pytest.mark.parametrize(
    ("end", "is_baseline"),
    [
        (NOW - 1001, True),
        (NOW - 1000, True),
        (NOW - 999, False),
        (NOW, False),
        (NOW + 300, False),
        (NOW + 301, True),
        (YEAR_9999, True),
        (None, True),
    ],
)
def test_a_doubtful_record_that_ended_before_counting_began_is_the_baseline(
    end: float | None, is_baseline: bool
) -> None:
    """Rule 2: so is one whose end does not tell, because it is missing or can't be true."""
    record = done(end=end, start=None)
    before = tracked(baseline_end=NOW - 1000)
    after = left(look_up(before, record, COMPLETE))
    assert after.outcome is (Outcome.BASELINE if is_baseline else Outcome.SETTLED)
    assert bool(after.increments) is not is_baseline
    assert wants_results(before, record, clock=at()) is not is_baseline


@pytest.mark.parametrize("end", [NOW - 5000, None, YEAR_9999])
@pytest.mark.parametrize("start", [NOW - 9000, None])
def test_a_record_that_came_after_the_first_reading_is_never_the_baseline(
    start: float | None, end: float | None
) -> None:
    """Whatever its times say or leave out: another zone, or a job that was cancelled before it began."""
    cancelled = done(start=start, end=end, result_status=ResultStatus.CANCELLED)
    after = left(look_up(first_seen(), cancelled, COMPLETE))
    assert after.outcome is Outcome.SETTLED
    assert counts(after, "bad_times") is (start is None or end != NOW - 5000)


@pytest.mark.parametrize("late", [False, True])
def test_a_baseline_record_found_late_is_counted_as_that(late: bool) -> None:
    """All that was there had been registered by then: the user is told."""
    before = tracked(baseline_end=BEGAN.baseline_end, late=late)
    after = left(look_up(before, done(end=BEGAN.baseline_end), COMPLETE))
    assert after.outcome is Outcome.BASELINE
    assert counts(after, "late_baseline") is late


@pytest.mark.parametrize(("ahead", "is_baseline"), [(0.0, False), (5.0, False), (6.0, True), (250.0, True)])
def test_a_record_that_the_first_look_up_finds_done_did_not_end_in_the_future(
    ahead: float, is_baseline: bool
) -> None:
    """The first reading found it: it was done then, and its times are of a zone ahead."""
    before = tracked(baseline_end=NOW - 10, is_first=True)
    after = left(look_up(before, done(end=NOW + ahead), COMPLETE))
    assert (after.outcome is Outcome.BASELINE) is is_baseline


def test_a_record_that_a_page_shows_open_is_adopted() -> None:
    """A page of whole records tells it, so it counts whenever it says that it ended."""
    after = first_seen(doubtful=True, record=running())
    assert (after.baseline_end, after.stage) == (None, Stage.DOING)


def test_a_doubtful_record_without_an_end_is_new_where_growth_explains_it() -> None:
    """Nothing else dates it."""
    for is_new in (False, True):
        before = first_seen(doubtful=True, new_without_end=is_new)
        after = left(look_up(before, done(start=None, end=None), COMPLETE))
        assert after.outcome is (Outcome.SETTLED if is_new else Outcome.BASELINE)


def test_a_doubtful_record_that_is_open_is_adopted() -> None:
    """From then on it is counted, whenever it says that it ended."""
    after = open_(look_up(tracked(baseline_end=NOW), running()))
    assert after.baseline_end is None
    assert left(look_up(after, done(end=NOW - 5000), COMPLETE)).outcome is Outcome.SETTLED


def test_a_record_is_discovered_once() -> None:
    """When it is found, if surely new; else when a look shows that it will be counted."""
    sure, doubtful = tracked(), tracked(baseline_end=NOW)
    assert discovered(None, sure)
    assert not discovered(None, doubtful)
    assert discovered(doubtful, sure)
    assert not discovered(sure, sure)
    assert not discovered(doubtful, doubtful)
    settled = Settlement(id="r", outcome=Outcome.SETTLED, found=NOW)
    assert discovered(doubtful, settled)
    assert not discovered(sure, settled)
    for outcome in (Outcome.BASELINE, Outcome.VANISHED):
        assert not discovered(doubtful, replace(settled, outcome=outcome))


# -- rule 4: looks


@pytest.mark.parametrize("status", [INIT, DOING])
def test_an_open_record_stays_and_is_looked_at_again(status: ExecuteStatus) -> None:
    """Its stage follows what the platform says."""
    after = open_(look_up(tracked(), running(execute_status=status)))
    assert (after.stage, after.done, after.record) == (Stage(status), None, None)
    assert after.due == NOW + 15


@pytest.mark.parametrize(
    ("age", "wait"), [(0, 15), (100, 15), (150, 15), (300, 30), (600, 60), (86400, 60), (-3600, 15)]
)
def test_looks_come_after_a_tenth_of_the_age(age: float, wait: float) -> None:
    """At least a poll interval, at most a minute; age by the platform's clock."""
    record = running(start=NOW + 7 - age)
    assert open_(look_up(tracked(), record, clock=at(skew=7))).due == NOW + wait


def test_without_a_start_the_age_is_since_it_was_found() -> None:
    """The platform gives none; the one that a page gave is kept."""
    record = running(start=None)
    assert open_(look_up(tracked(found=NOW - 400), record)).due == NOW + 40
    assert open_(look_up(tracked(start=NOW - 300, found=NOW), record)).due == NOW + 30


@pytest.mark.parametrize(
    ("timeout", "wait"),
    [(3600, 60), (659.5, 60.5), (620, 21), (605, 15), (600, 15), (599, 60), (None, 60)],
    ids=["far off", "at the end of the wait", "within it", "before the next poll", "now", "passed", "none"],
)
def test_a_record_is_looked_at_promptly_when_its_timeout_passes(timeout: float | None, wait: float) -> None:
    """A second after it, because the platform's times are whole seconds; afterwards as any other."""
    assert open_(look_up(tracked(), running(start=NOW - 600, timeout=timeout))).due == NOW + wait


@given(
    record=st.builds(
        done,
        execute_status=st.sampled_from(ExecuteStatus),
        start=st.none() | st.floats(NOW - 1e7, NOW + 1e6),
        timeout=st.none() | st.floats(0, 1e6),
        expected_hosts=st.sampled_from([None, frozenset("ab")]),
    ),
    answer=st.sampled_from(["nothing", "not found", "no results", "some", "none"]),
    rules=st.builds(Rules, interval=st.floats(0.1, 7200), settle_grace=st.floats(0, 600)),
    waited=st.none() | st.floats(0, 7200),
    lookups=st.integers(0, 20),
)
def test_no_look_is_due_again_within_its_own_poll(
    record: Record, answer: str, rules: Rules, waited: float | None, lookups: int
) -> None:
    """Else that poll would ask again and again; nor is it put off beyond a minute or a poll."""
    since = None if waited is None else NOW - waited
    before = tracked(done=since, result_lookups=lookups, stage=Stage.FOUND if waited is None else Stage.DONE)
    results = {"some": rows(row("a")), "none": rows()}.get(answer)
    given_look = Lookup(
        id="r",
        record=None if answer in {"nothing", "not found"} else record,
        results=results,
        not_found=answer == "not found",
    )
    after = after_lookup(before, given_look, clock=at(), rules=rules)
    if isinstance(after, Tracked):
        assert due([after], now=NOW, rules=rules, limit=1) == []
        assert after.due <= NOW + max(MAX_LOOKUP_INTERVAL, rules.interval, rules.settle_grace) + 1


def test_those_that_wait_longest_are_looked_at_first() -> None:
    """No more than the limit; ties by id, so that a poll can be repeated. The nearer of two polls looks."""
    waiting = [
        Tracked(id=id_, found=NOW, due=NOW + after)
        for id_, after in {"d": 0, "b": -60, "c": -5, "a": -5, "later": 7.6, "soon": 7.4}.items()
    ]
    assert [item.id for item in due(waiting, now=NOW, rules=RULES, limit=9)] == ["b", "a", "c", "d", "soon"]
    assert [item.id for item in due(waiting, now=NOW, rules=RULES, limit=2)] == ["b", "a"]


def test_a_record_that_could_not_be_asked_for_is_asked_for_at_the_next_poll() -> None:
    """Nothing else changes."""
    after = look_up(tracked(stage=Stage.DOING))
    assert after == tracked(stage=Stage.DOING, due=NOW + 15, last_lookup=NOW)


def test_a_record_that_cannot_be_read_is_asked_for_ever_more_rarely() -> None:
    """At most an hour apart, and never given up; an answer ends it."""
    failed = Lookup(id="r", failure="HTTP 500")
    item_, waits, now = tracked(stage=Stage.DOING, start=NOW), [], 0.0
    for _ in range(2000):  # no power of two overflows
        item_ = open_(after_lookup(item_, failed, clock=at(now), rules=RULES))
        waits.append(item_.due - NOW - now)
        now = item_.due - NOW
    assert waits[:5] == [15, 30, 60, 120, 240]
    assert (waits[-1], max(waits)) == (UNREADABLE_WAIT, UNREADABLE_WAIT)
    assert (item_.unread, item_.reason) == (2000, "HTTP 500")
    assert open_(look_up(item_, running())).unread == 0


def test_one_failure_does_not_make_a_record_unreadable() -> None:
    """The second in a row does."""
    failed = Lookup(id="r", failure="HTTP 500")
    once = open_(after_lookup(tracked(), failed, clock=at(), rules=RULES))
    assert not is_unreadable(once)
    assert is_unreadable(open_(after_lookup(once, failed, clock=at(15), rules=RULES)))


def test_records_that_failed_come_last_and_few_in_a_round() -> None:
    """Each of them may take as long as the deadline: they must not delay the others."""
    waiting = [tracked(due=NOW - 5)] + [
        Tracked(id=f"x{number}", found=NOW, due=NOW - 100 - number, unread=1) for number in range(9)
    ]
    chosen = [item.id for item in due(waiting, now=NOW, rules=RULES, limit=9)]
    assert chosen == ["r", *(f"x{number}" for number in (8, 7, 6, 5))]
    assert len(due(waiting, now=NOW, rules=RULES, limit=2)) == 2


def test_all_records_that_failed_are_due_when_one_can_be_read_again() -> None:
    """What made them unreadable is over, as far as that tells."""
    failed = tracked(unread=3, due=NOW + 500)
    assert [item.due for item in retried([tracked(), failed], clock=at(), rules=RULES)] == [NOW]
    just = structs.replace(failed, last_lookup=NOW - 1)  # this poll did it
    assert [item.due for item in retried([just], clock=at(), rules=RULES)] == [NOW + 14]


def test_a_record_is_overdue_past_its_timeout_and_the_grace() -> None:
    """By the platform's clock; not once it is done, nor without a start or timeout."""
    item_ = tracked(start=NOW - 100, timeout=60.0)
    assert is_overdue(item_, clock=at(), rules=RULES)
    assert not is_overdue(item_, clock=at(-10), rules=RULES)
    assert is_overdue(item_, clock=at(-10, skew=1), rules=RULES)
    for other in ({"stage": Stage.DONE}, {"start": None}, {"timeout": None}):
        assert not is_overdue(structs.replace(item_, **other), clock=at(), rules=RULES)


# -- rule 5: settling


def test_a_record_whose_hosts_are_complete_is_settled_at_once() -> None:
    """Every expected host has a row with a status."""
    after = left(look_up(tracked(), done(expected_hosts=frozenset("a")), COMPLETE))
    assert after.outcome is Outcome.SETTLED
    assert not counts(after, "missing_rows")


@pytest.mark.parametrize(
    ("grace", "waits"), [(0.0, []), (10.0, [15]), (15.0, [15]), (60.0, [15, 30, 15])], ids=str
)
def test_missing_hosts_are_waited_for_until_the_grace_has_passed(grace: float, waits: list[float]) -> None:
    """Looks go by polls, less and less often; then the hosts count as unreported."""
    record, rules = done(expected_hosts=frozenset("ab")), replace(RULES, settle_grace=grace)
    answer = Lookup(id="r", record=record, results=COMPLETE)
    after, now, waited = after_lookup(tracked(), answer, clock=at(), rules=rules), 0.0, []
    while isinstance(after, Tracked):
        assert (after.stage, after.done) == (Stage.DONE, NOW)
        waited.append(after.due - NOW - now)
        now = after.due - NOW
        after = after_lookup(after, replace(answer, record=None), clock=at(now), rules=rules)
    assert waited == waits
    assert counts(after, "missing_rows")
    unreported = series("job_host_results_total", idc="unknown", status="unreported")
    assert any(increment.series == unreported for increment in after.increments)


def test_incomplete_hosts_are_never_settled_by_their_only_look() -> None:
    """Rows blink: after an outage the first look may show nothing though the grace has long passed."""
    first = open_(look_up(tracked(done=NOW - 600, stage=Stage.DONE), done(), rows()))
    assert first.due == NOW + 15
    assert left(look_up(first, None, rows(), clock=at(15))).outcome is Outcome.SETTLED


def test_hosts_are_not_settled_by_a_look_that_shows_less_than_an_earlier_one() -> None:
    """Rows blink, or go with their record: what was seen comes back within a minute, or counts as it was."""
    record = done(expected_hosts=frozenset("abc"))
    all_rows = rows(row("a"), row("b"), row("c", None))
    first = open_(look_up(tracked(), record, all_rows))
    blinked = open_(look_up(first, None, rows(row("a")), clock=at(15)))
    assert blinked.best == all_rows
    late = at(15 + MAX_LOOKUP_INTERVAL)
    silent = series("job_host_results_total", idc="杭州", status="unreported")
    for settlement in (
        left(look_up(blinked, None, all_rows, clock=at(30))),
        left(look_up(blinked, None, rows(row("a")), clock=late)),
        left(look_up(blinked, None, rows(), clock=late)),
    ):
        assert not counts(settlement, "missing_rows")
        assert any(increment.series == silent for increment in settlement.increments)


@pytest.mark.parametrize(("early", "settled"), [(3.7, True), (3.8, False)])
def test_a_poll_a_little_early_is_in_time(early: float, settled: bool) -> None:
    """A quarter of the interval: else the grace would be two polls, not one."""
    first = open_(look_up(tracked(), done(), rows()))
    assert isinstance(look_up(first, None, rows(), clock=at(15 - early)), Settlement) is settled


def test_a_host_that_reports_within_the_grace_is_counted_truly() -> None:
    """Rows were seen to come 1.7 s after the record was done."""
    record = done(expected_hosts=frozenset("ab"))
    after = open_(look_up(tracked(), record, rows(row("a"), row("b", None))))
    settled = left(look_up(after, None, rows(row("a"), row("b", HostStatus.FAIL)), clock=at(2)))
    failed = series("job_host_results_total", idc="杭州", status="fail")
    assert any(increment.series == failed for increment in settled.increments)


REFUSED = Lookup(id="r", failure="HTTP 500")


@pytest.mark.parametrize(("interval", "least", "most"), [(15.0, 15, 20), (7200.0, 5, 5)])
def test_results_that_cannot_be_had_are_asked_for_over_an_hour(
    interval: float, least: int, most: int
) -> None:
    """Less and less often, at most five minutes apart; then the record counts without hosts."""
    rules = replace(RULES, interval=interval)
    after = after_lookup(tracked(), replace(REFUSED, record=done()), clock=at(), rules=rules)
    tries, now = 1, 0.0
    while isinstance(after, Tracked):
        assert after.due - NOW - now <= max(LONGEST_WAIT, interval)
        now = after.due - NOW
        after = after_lookup(after, replace(REFUSED, record=done()), clock=at(now), rules=rules)
        tries += 1
    assert now >= RESULTS_LIMIT
    assert least <= tries <= most
    assert counts(after, "no_results")


def test_time_in_which_nobody_asked_for_results_is_no_part_of_that_hour() -> None:
    """Neither a downtime nor an outage of the platform brings the hour nearer."""
    pending = open_(after_lookup(tracked(), replace(REFUSED, record=done()), clock=at(), rules=RULES))
    for hours in range(1, 5):  # nothing could be had: the platform was lost
        pending = open_(look_up(pending, clock=at(3600.0 * hours)))
    for seconds in (0, 5, 10, 15, 20):
        pending = open_(after_lookup(pending, REFUSED, clock=at(18_000 + seconds), rules=RULES))
    assert is_unreadable(pending)
    assert left(look_up(pending, done(), COMPLETE, clock=at(18_030))).outcome is Outcome.SETTLED


def test_a_settlement_tells_its_way() -> None:
    """How often the record was looked at, answers only, and when it was first seen done."""
    waiting = look_up(open_(look_up(tracked(), running())))  # the second one could not be had
    ended = look_up(open_(waiting), done(), rows(row("a", None)))
    after = left(look_up(open_(ended), None, COMPLETE, clock=at(15)))
    assert (after.lookups, after.done, after.found) == (3, NOW, NOW)


def test_what_was_done_stays_done() -> None:
    """An answer `doing` is older, as from a copy that lags: nothing of it counts, it is asked again."""
    pending = open_(look_up(tracked(), done(result_status=ResultStatus.FAIL), rows(row("a", None))))
    older = open_(look_up(pending, running(end=NOW), COMPLETE, clock=at(15)))
    assert (older.stage, older.record) == (Stage.DONE, pending.record)
    assert older.due == NOW + 30
    after = left(look_up(older, done(result_status=ResultStatus.FAIL), COMPLETE, clock=at(30)))
    assert after.record == done(result_status=ResultStatus.FAIL)
    assert wants_results(pending, running(), clock=at())
    assert not wants_results(tracked(), running(), clock=at())


def test_a_record_that_is_open_again_for_an_hour_counts_as_it_was_seen_done() -> None:
    """Nothing waits for ever."""
    after: Tracked | Settlement = open_(look_up(tracked(), done(), rows(row("a", None))))
    now = 0.0
    while isinstance(after, Tracked):
        now = after.due - NOW
        after = look_up(after, running(), rows(row("a")), clock=at(now))
    assert RESULTS_LIMIT <= now <= RESULTS_LIMIT + 2 * LONGEST_WAIT
    assert (after.record, after.outcome) == (done(), Outcome.SETTLED)
    assert not counts(after, "no_results")


def test_the_newest_result_before_settling_counts() -> None:
    """It was done without one, then with one; none, told later, does not replace it."""
    first = open_(look_up(tracked(), done(result_status=None), COMPLETE))
    told = open_(look_up(first, done(), rows(row("a", None)), clock=at(5)))
    lost = open_(look_up(told, done(result_status=None), rows(row("a", None)), clock=at(10)))
    after = left(look_up(lost, done(result_status=ResultStatus.TIMEOUT), COMPLETE, clock=at(12)))
    assert after.record == done(result_status=ResultStatus.TIMEOUT)
    assert left(look_up(lost, None, COMPLETE, clock=at(12))).record == done()


def test_a_result_that_never_comes_is_waited_for_no_longer_than_the_grace() -> None:
    """Though all hosts are there."""
    first = open_(look_up(tracked(), done(result_status=None), COMPLETE))
    assert open_(look_up(first, done(result_status=None), COMPLETE, clock=at(10)))
    assert left(look_up(first, done(result_status=None), COMPLETE, clock=at(15))).outcome is Outcome.SETTLED


@pytest.mark.parametrize(
    ("second", "waited", "settled"),
    [
        (COMPLETE, 5, True),
        (rows(row("a"), row("b")), 5, False),
        (rows(row("a", HostStatus.FAIL)), 5, False),
        (rows(row("a"), row("b")), 15, True),
    ],
    ids=["the same", "one row more", "another status", "the grace is over"],
)
def test_without_a_list_of_hosts_two_look_ups_must_agree(
    second: Results, waited: float, settled: bool
) -> None:
    """Rows are written one after the other: those of the first look-up may be a part of them."""
    first = open_(look_up(tracked(), done(expected_hosts=None), COMPLETE))
    after = look_up(first, done(expected_hosts=None), second, clock=at(waited))
    assert isinstance(after, Settlement) is settled


def test_a_record_seen_done_that_vanishes_counts_as_it_was() -> None:
    """It was deleted while its hosts were waited for."""
    pending = open_(look_up(tracked(), done(), rows(row("a", None))))
    for seconds in (0, 30):
        pending = open_(missed(pending, seconds))
    after = left(missed(pending, 60))
    assert (after.outcome, after.record) == (Outcome.SETTLED, done())


def test_empty_results_of_a_record_that_has_vanished_say_nothing_of_its_hosts() -> None:
    """A page told it done; it was deleted before its results were asked for. It counts without hosts."""
    after: Tracked | Settlement = look_up(first_seen(record=done()), None, rows())
    for seconds in (15, 35, 75):
        after = missed(open_(after), seconds)
    counted = left(after)
    assert counted.outcome is Outcome.SETTLED
    assert counts(counted, "no_results")
    assert not any(part.series.family == "job_host_results_total" for part in counted.increments)


def test_a_failure_is_told_to_the_page() -> None:
    """With the settlement that counts it."""
    after = left(look_up(tracked(), done(result_status=ResultStatus.FAIL), COMPLETE))
    assert after.failure is not None
    assert left(look_up(tracked(), done(), COMPLETE)).failure is None


# -- vanished


def missed(before: Tracked, seconds: float) -> Tracked | Settlement:
    return after_lookup(before, Lookup(id="r", not_found=True), clock=at(seconds), rules=RULES)


def test_a_record_that_is_not_found_again_and_again_has_vanished() -> None:
    """Three answers over a minute: one may be a replica's lag. It is counted as vanished."""
    first = open_(missed(tracked(), 0))
    assert first.due == NOW + VANISHED_AFTER / VANISHED_LOOKUPS
    second = open_(missed(first, 20))
    third = open_(missed(second, 40))
    gone = left(missed(third, 60))
    assert gone.outcome is Outcome.VANISHED
    assert counts(gone, "vanished")


def test_a_minute_alone_is_not_enough() -> None:
    """After a long outage two answers do not make a record vanish."""
    first = open_(missed(tracked(), 0))
    second = open_(missed(first, 3600))
    assert left(missed(second, 3620)).outcome is Outcome.VANISHED


def test_a_record_that_is_found_again_starts_anew() -> None:
    """Answers not found count in a row only."""
    first = open_(missed(open_(missed(tracked(), 0)), 40))
    back = open_(look_up(first, running(), clock=at(50)))
    assert (back.not_found, back.not_found_since) == (0, None)


def test_a_doubtful_record_that_vanishes_counts_nothing() -> None:
    """It was never followed: it may have been the baseline."""
    gone = tracked(baseline_end=NOW, not_found=VANISHED_LOOKUPS - 1, not_found_since=NOW - VANISHED_AFTER)
    assert left(missed(gone, 0)).increments == ()


def test_an_item_without_a_record_is_only_found() -> None:
    """A page of host rows tells no execute status: each record is looked at."""
    new = follow(item("r"), doubtful=False, counting_start=BEGAN, clock=at(), rules=RULES)
    assert (new.stage, new.start, new.baseline_end) == (Stage.FOUND, NOW, None)
