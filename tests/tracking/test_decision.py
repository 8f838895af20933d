"""What a round of a poll means: what was gathered, and the changes to commit."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from exporter.discovery.order import Ends, First
from exporter.discovery.pages import Order
from exporter.discovery.tail import Tail, first_reading
from exporter.model import Clock, ExecuteStatus, Page, Record, ResultStatus
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.decision import DISCOVERED, decide
from exporter.tracking.finding import PageRead
from exporter.tracking.values import Changes, Lookup, Outcome, Rules, Stage, Tracked
from tests.harness.core import NOW, done, item, page, row, rows, series

CLOCK = Clock(now=NOW, wall=NOW, platform=NOW + (100.0))
RULES = Rules()
HOSTS = frozenset("a")
BEGAN = CountingStart(baseline_end=NOW, floor=NOW - 5000, registered=NOW - 5000)
TAIL = Tail(total=100, last_total=100, ends=Ends(order=Order.ASC))


def decided(
    *lookups: Lookup,
    tail: Tail | None = None,
    counting_start: CountingStart = BEGAN,
    followed: Mapping[str, Tracked] | None = None,
    answer: Page | None = None,
    known: tuple[str, ...] = (),
    size: int = 1000,
) -> Changes:
    read = None if answer is None else PageRead(page=answer, known=frozenset(known), size=size)
    return decide(
        tail or TAIL,
        counting_start,
        followed or {},
        read=read,
        lookups=lookups,
        clock=CLOCK,
        rules=RULES,
    )


def tracked(record_id: str, **changes: Any) -> Tracked:
    return Tracked(id=record_id, **{"found": NOW, "due": NOW, **changes})


# -- rounds


def test_new_records_are_found_and_discovered() -> None:
    """Those that the ledger knows are neither."""
    changes = decided(answer=page(34, 3, 102, item("a"), item("b"), item("c")), known=("b",))
    assert {new.id for new in changes.found} == {"a", "c"}
    assert changes.increments == (DISCOVERED, DISCOVERED)


def test_a_late_old_record_is_not_discovered_before_it_was_looked_at() -> None:
    """It may have been there before counting began."""
    found = decided(answer=page(100, 1, 100, item("old", NOW - 6000)))
    assert found.increments == ()
    followed = {"old": found.found[0]}
    open_ = Record(id="old", execute_status=ExecuteStatus.DOING)
    assert decided(Lookup(id="old", record=open_), followed=followed).increments == (DISCOVERED,)
    baseline = decided(Lookup(id="old", record=done("old", end=NOW - 1)), followed=followed)
    assert baseline.increments == ()
    assert baseline.settlements[0].outcome is Outcome.BASELINE


def test_looks_change_records_or_settle_them() -> None:
    """Each by itself, in one round."""
    followed = {name: tracked(name) for name in ("open", "done", "mute")}
    changes = decided(
        Lookup(id="open", record=Record(id="open", execute_status=ExecuteStatus.DOING)),
        Lookup(id="done", record=done("done", expected_hosts=HOSTS), results=rows(row("a"))),
        Lookup(id="mute"),
        followed=followed,
    )
    assert {after.id for after in changes.changed} == {"open", "mute"}
    assert [settled.id for settled in changes.settlements] == ["done"]
    assert (changes.tail, changes.counting_start) == (TAIL, BEGAN)


def test_a_record_that_cannot_be_read_is_told_once() -> None:
    """By the second failure in a row, with the reason."""
    refused = Lookup(id="a", failure="HTTP 500")
    once = decided(refused, followed={"a": tracked("a")})
    twice = decided(refused, followed={item.id: item for item in once.changed})
    again = decided(refused, followed={item.id: item for item in twice.changed})
    assert [changes.unreadable for changes in (once, twice, again)] == [{}, {"a": "HTTP 500"}, {}]


def test_one_that_can_be_read_again_brings_back_all() -> None:
    """The others are due at once; but those that were just looked up are not."""
    followed = {name: tracked(name, unread=2, due=NOW + 900) for name in ("a", "b", "c")}
    running = Record(id="a", execute_status=ExecuteStatus.DOING)
    changes = decided(Lookup(id="a", record=running), Lookup(id="b", failure="HTTP 500"), followed=followed)
    assert {item.id: item.due for item in changes.changed} == {"a": NOW + 15, "b": NOW + 60, "c": NOW}


OPEN = ExecuteStatus.DOING
HOUR = 3600.0
PLATFORM = CLOCK.platform


@pytest.mark.parametrize(
    ("before", "record", "hours"),
    [
        ({}, done("a", end=PLATFORM), None),
        ({}, done("a", start=PLATFORM + 8 * HOUR, end=PLATFORM + 8 * HOUR), 8),
        ({}, done("a", start=PLATFORM + 8 * HOUR, end=None, execute_status=OPEN), 8),
        ({}, done("a", start=PLATFORM, end=None, execute_status=OPEN), None),
        ({}, done("a", start=PLATFORM + 1200, end=PLATFORM + 1200), None),
        ({}, done("a", end=253_402_300_799.0), None),
        ({}, done("a", end=NOW - 8 * HOUR), -8),
        ({"baseline_end": NOW}, done("a", end=NOW - 8 * HOUR), None),
        ({"seen_open": PLATFORM}, done("a", end=PLATFORM - HOUR), -1),
        ({"stage": Stage.DONE}, done("a", end=NOW - 8 * HOUR), None),
    ],
)
def test_times_that_are_wrong_by_hours_are_told(
    before: Mapping[str, Any], record: Record, hours: float | None
) -> None:
    """They lie in the future, before counting began though it came later, or before it was last seen open."""
    changes = decided(Lookup(id="a", record=record), followed={"a": tracked("a", **before)})
    assert changes.hours_off == ({} if hours is None else {"a": pytest.approx(hours, abs=0.1)})


def test_the_last_end_of_each_result_is_kept() -> None:
    """The greatest, of those counted; a record without an end tells none, nor does an end in the future."""
    ended = {
        "a": done("a", end=NOW - 5),
        "b": done("b", end=NOW),
        "c": done("c", end=NOW - 2),
        "d": done("d", end=NOW - 3, result_status=ResultStatus.UNKNOWN),
        "e": done("e", end=None, result_status=ResultStatus.FAIL),
        "f": done("f", end=NOW + 3600, result_status=ResultStatus.FAIL),
    }
    ended = {key: dataclasses.replace(record, expected_hosts=HOSTS) for key, record in ended.items()}
    lookups = (Lookup(id=key, record=record, results=rows(row("a"))) for key, record in ended.items())
    changes = decided(*lookups, followed={key: tracked(key) for key in ended})
    assert len(changes.settlements) == len(ended)
    name = "job_record_last_finished_timestamp_seconds"
    assert changes.latest == {
        series(name, result_status="success"): NOW,
        series(name, result_status="unknown"): NOW - 3,
    }


def test_the_baseline_does_not_tell_a_last_end() -> None:
    """It was not counted."""
    followed = {"a": tracked("a", baseline_end=NOW)}
    assert decided(Lookup(id="a", record=done("a", end=NOW - 5)), followed=followed).latest == {}


def test_a_page_at_the_other_end_tells_the_order() -> None:
    """The keeper logs it."""
    unsure = Tail(total=100, last_total=100, ends=Ends(first=First(id="first", start=NOW - 100)))
    assert decided(tail=unsure, answer=page(100, 1, 100, item("a"))).tail.order is Order.ASC


def test_what_is_given_up_is_told_but_not_of_the_first_reading() -> None:
    """Old positions without rows are no news."""
    gap = replace(first_reading(100, now=NOW)[0], floor=None, since=NOW - 10_000, missing=3, passes=1)
    assert decided(tail=replace(TAIL, gaps=(gap,)), answer=page(2, 50, 100)).given_up == 3
    first = decided(
        tail=replace(TAIL, gaps=first_reading(100, now=NOW, newest=50)),
        counting_start=CountingStart(baseline_end=NOW, floor=None),
        answer=page(2, 50, 100),
    )
    assert first.given_up == 0
