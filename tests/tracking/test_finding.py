"""What a page means for counting: where it begins, which records are new, and which were there before."""

from dataclasses import replace

import pytest

from exporter.discovery.choosing import next_page
from exporter.discovery.order import Ends
from exporter.discovery.pages import Order, Purpose, Weights
from exporter.discovery.reading import Fresh
from exporter.discovery.scan import Sweep, Walk
from exporter.discovery.tail import Tail, first_reading, is_first_reading
from exporter.model import LONG_AGO, Clock, Page, PageItem
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.decision import decide
from exporter.tracking.finding import ADOPT_BYTES, PageRead, doubtful_ids
from exporter.tracking.probing import LONG_RUN, Start, probe_read
from exporter.tracking.values import Changes, Outcome, Rules
from tests.harness.core import NOW, done, item, page

CLOCK = Clock(now=NOW, wall=NOW, platform=NOW + (100.0))
START = Start(adopt=200, history=0.0, recheck_interval=300.0, sweep=86400.0)


def begun(total: int, history: float | None = 0.0, adopt: int = 200) -> Changes:
    items = (item("first"),) if total else ()
    start = replace(START, adopt=adopt, history=history)
    tail, counting_start = probe_read(
        Tail(), None, page(1, 1, total, *items), size=1000, clock=CLOCK, start=start
    )
    return Changes(tail=tail, counting_start=counting_start)


def decided(
    *,
    tail: Tail,
    counting_start: CountingStart,
    answer: Page,
    size: int = 1000,
    purpose: Purpose = Purpose.GAP,
    sweeps: bool = False,
) -> Changes:
    read = PageRead(page=answer, known=frozenset(), size=size, purpose=purpose)
    return decide(tail, counting_start, {}, read=read, lookups=(), clock=CLOCK, rules=Rules(), sweeps=sweeps)


# -- the beginning


def test_without_history_what_ended_by_now_is_the_baseline() -> None:
    """Rule 2: by the platform's clock; the newest records are read for what is open."""
    changes = begun(1000)
    assert changes.counting_start == CountingStart(
        baseline_end=NOW + 100, floor=None, bottom=1000, accounted=1000
    )
    assert (changes.tail.gaps[0].floor, changes.tail.gaps[0].floor_start) == (800, None)
    assert changes.tail.recheck_due == NOW + 300
    assert is_first_reading(changes.tail)


def test_fewer_are_adopted_where_the_setting_says_so() -> None:
    """`poll.adopt` positions, from the newest."""
    assert begun(1000, adopt=20).tail.gaps[0].floor == 980


def test_with_all_of_history_every_record_counts() -> None:
    """Nothing is doubtful, and everything is read."""
    changes = begun(1000, history=None)
    wanted = CountingStart(baseline_end=0.0, floor=0.0, registered=LONG_AGO, bottom=1000, accounted=1000)
    assert changes.counting_start == wanted
    assert changes.tail.gaps[0].floor == 0


def test_with_a_duration_what_ended_within_it_counts() -> None:
    """It is read down to what began before, whatever the number."""
    changes = begun(1000, history=3600.0)
    assert changes.counting_start == CountingStart(
        baseline_end=NOW - 3500, floor=None, bottom=1000, accounted=1000
    )
    assert (changes.tail.gaps[0].floor, changes.tail.gaps[0].floor_start) == (0, NOW - 3500 - LONG_RUN)


def probed_again(changes: Changes, totals: list[int]) -> tuple[Tail, CountingStart]:
    """Probe 15 s apart."""
    tail, counting_start = changes.tail, changes.counting_start
    for number, total in enumerate(totals, 1):
        clock = replace(CLOCK, now=NOW + 15 * number, platform=NOW + 100 + 15 * number)
        answer = page(1, 1, total, *([item("first")] if total else []))
        tail, counting_start = probe_read(tail, counting_start, answer, size=1000, clock=clock, start=START)
    return tail, counting_start


def test_an_empty_platform_is_confirmed_over_a_minute() -> None:
    """Then every record is new: nothing was there that could be the baseline."""
    assert begun(0).counting_start.floor is None
    assert probed_again(begun(0), [0, 0, 0])[1].floor is None
    tail, counting_start = probed_again(begun(0), [0, 0, 0, 0])
    assert (counting_start.floor, counting_start.registered) == (NOW + 100, LONG_AGO)
    assert (tail.gaps, tail.empty) == ((), None)


def test_a_first_answer_of_an_empty_platform_may_be_false() -> None:
    """The records of the second one are the first reading's: not growth."""
    tail, counting_start = probed_again(begun(0), [2000])
    assert is_first_reading(tail)
    assert [gap.is_early for gap in tail.gaps] == [True]
    assert (counting_start.floor, counting_start.baseline_end) == (None, NOW + 100)


# -- the first reading


def first_tail(total: int = 1000, *, newest: int = 100, since: float | None = None) -> Tail:
    gaps = first_reading(total, now=NOW, newest=newest, since=since)
    return Tail(
        total=total, last_total=total, ends=Ends(order=Order.ASC), weights=Weights(widest=50), gaps=gaps
    )


def full(number: int, *, start: float, size: int = 50) -> Page:
    items = (PageItem(id=f"{number}-{index}", start=start + index) for index in range(size))
    return page(number, size, 1000, *items)


def test_the_first_reading_lays_down_the_floor_when_it_ends() -> None:
    """What starts later than the oldest record it read is surely new."""
    counting_start = CountingStart(baseline_end=NOW, floor=None, bottom=1000, accounted=1000)
    half = decided(tail=first_tail(), counting_start=counting_start, answer=full(20, start=NOW - 1000))
    assert half.counting_start == replace(counting_start, lowest=NOW - 1000, read=1000, bottom=950)
    assert len(half.found) == 50
    assert half.increments == ()  # none of them is surely new
    whole = decided(tail=half.tail, counting_start=half.counting_start, answer=full(19, start=NOW - 2000))
    assert whole.counting_start == replace(
        counting_start, floor=NOW - 2000, lowest=NOW - 2000, read=2000, registered=NOW - 2000, bottom=900
    )


def test_a_first_reading_of_the_whole_platform_registers_it() -> None:
    """It saw 49 of 50 records: one may appear later."""
    tail = replace(first_tail(total=50, newest=50))
    counting_start = CountingStart(baseline_end=NOW, floor=None, bottom=50, accounted=50)
    items = [PageItem(id=str(index), start=NOW - 1000) for index in range(49)]
    changes = decided(tail=tail, counting_start=counting_start, answer=page(1, 50, 50, *items), sweeps=True)
    after = changes.counting_start
    assert (after.registered, after.bottom, after.invisible) == (LONG_AGO, 50, 1)


def test_positions_that_the_first_reading_has_read_show_new_records_only() -> None:
    """Above them every unknown record came later, whatever its times; growth may have moved old ones up."""
    counting_start = CountingStart(baseline_end=NOW, floor=NOW - 50, bottom=900, accounted=1000)
    tail = replace(first_tail(total=1010), gaps=())

    def found(number: int, size: int, *items: PageItem) -> list[float | None]:
        answer = page(number, size, 1010, *items)
        changes = decided(tail=tail, counting_start=counting_start, answer=answer, sweeps=True)
        return [one.baseline_end for one in changes.found]

    old, undated = item("old", NOW - 90), item("undated", None)
    assert found(92, 10, old, undated) == [None, None]  # positions 910 to 919
    assert found(91, 10, old, undated) == [NOW, NOW]
    assert found(91, 10, item("a", NOW - 49)) == [NOW]  # a zone may have shifted the floor


def test_where_the_first_reading_meets_no_start_the_floor_is_the_horizon() -> None:
    """Nothing tells how old its records are."""
    counting_start = CountingStart(baseline_end=NOW, floor=None)
    changes = decided(tail=first_tail(newest=50), counting_start=counting_start, answer=page(20, 50, 1000))
    assert changes.counting_start.floor == NOW


def test_heavy_pages_end_the_adoption_early() -> None:
    """It goes no further down than 32 MB take."""
    counting_start = CountingStart(baseline_end=NOW, floor=None)
    heavy = decided(
        tail=first_tail(), counting_start=counting_start, answer=full(20, start=NOW - 9), size=ADOPT_BYTES + 1
    )
    assert next_page(heavy.tail, now=NOW) is None
    assert heavy.counting_start.floor is not None
    assert heavy.counting_start.floor >= NOW - 10


def test_wanted_history_is_read_however_heavy() -> None:
    """It is to be counted: all of it, or down to its time."""
    heavy = {"answer": full(20, start=NOW - 9), "size": ADOPT_BYTES + 1}
    every = decided(tail=first_tail(), counting_start=CountingStart(baseline_end=0.0, floor=0.0), **heavy)  # type: ignore[arg-type]
    since = decided(
        tail=first_tail(since=NOW - 3600),
        counting_start=CountingStart(baseline_end=NOW - 3600, floor=None),
        **heavy,  # type: ignore[arg-type]
    )
    assert is_first_reading(every.tail)
    assert is_first_reading(since.tail)


# -- what is doubtful


REGISTERED = CountingStart(baseline_end=NOW, floor=NOW - 100, registered=NOW - 5000)


@pytest.mark.parametrize(
    ("fresh", "registered", "doubtful"),
    [
        (Fresh(item=item("a", None), is_grown=True, is_within=True), None, False),
        (Fresh(item=item("a", None), is_grown=True), None, True),
        (Fresh(item=item("a", None), is_above=True, is_within=True), None, False),
        (Fresh(item=item("a", NOW), is_within=True), None, True),
        (Fresh(item=item("a", NOW - 4999), is_within=True), NOW - 5000, False),
        (Fresh(item=item("a", NOW - 5000), is_within=True), NOW - 5000, True),
        (Fresh(item=item("a", None), is_within=True), NOW - 5000, True),
        (Fresh(item=item("a", None), is_within=True), LONG_AGO, False),
        (Fresh(item=item("a", NOW), is_early=True, is_within=True), LONG_AGO, True),
    ],
    ids=[
        "growth within reach",
        "growth out of reach",
        "above what the first reading saw",
        "the first sweep goes on",
        "started within reach",
        "started before",
        "no start",
        "whole platform",
        "early",
    ],
)
def test_only_what_may_have_been_there_before_is_doubtful(
    fresh: Fresh, registered: float | None, doubtful: bool
) -> None:
    """A record that lies where all was registered never is, whatever its times say or leave out."""
    counting_start = replace(REGISTERED, registered=registered)
    assert doubtful_ids([fresh], counting_start) == ({"a"} if doubtful else set())


def within(name: str, start: float | None, **changes: bool) -> Fresh:
    return Fresh(item=item(name, start), is_within=True, **changes)


def test_what_was_invisible_to_the_first_sweep_may_be_old() -> None:
    """As many records as it met empty positions, if they began before counting did."""
    start = replace(REGISTERED, registered=LONG_AGO, invisible=1)
    assert doubtful_ids([within("a", NOW)], start) == {"a"}
    assert doubtful_ids([within("a", None)], start) == {"a"}
    assert not doubtful_ids([within("a", NOW + 1)], start)
    assert not doubtful_ids([within("a", NOW, is_grown=True)], start)
    assert not doubtful_ids([within("a", NOW, is_above=True)], start)  # all was seen up there
    assert not doubtful_ids([within("a", NOW), within("b", NOW)], start)  # two can't be that one
    tail = replace(swept(is_first=False), sweep=None)
    changes = decided(
        tail=tail, counting_start=start, answer=page(1, 100, 100, item("a", NOW - 5)), sweeps=True
    )
    assert changes.counting_start.invisible == 0


def swept(*, is_first: bool, total: int = 100) -> Tail:
    walk = Walk(total=total, order=Order.ASC, at=total)
    sweep = Sweep(walk=walk, began=NOW, oldest=NOW - 86400, is_first=is_first)
    return Tail(
        total=total, last_total=total, ends=Ends(order=Order.ASC), weights=Weights(widest=50), sweep=sweep
    )


def test_the_first_sweep_registers_what_had_ended_before() -> None:
    """Without a look-up; anything else that it meets is followed, and may be the baseline."""
    old = replace(item("old", NOW - 99), record=done("old", end=NOW - 1))
    young = replace(item("young", NOW - 99), record=done("young", end=NOW + 1))
    counting_start = CountingStart(baseline_end=NOW, floor=NOW - 10)
    changes = decided(
        tail=swept(is_first=True),
        counting_start=counting_start,
        answer=page(1, 100, 100, old, young, item("open", NOW - 50)),
        purpose=Purpose.SWEEP,
        sweeps=True,
    )
    assert [(one.id, one.outcome) for one in changes.settlements] == [("old", Outcome.BASELINE)]
    assert {one.id: one.baseline_end for one in changes.found} == {"young": NOW, "open": NOW}
    assert changes.counting_start.registered == LONG_AGO
    assert changes.increments == ()


def test_a_later_sweep_counts_what_it_finds() -> None:
    """But not what began before its window and before all that is registered: that may be forgotten."""
    changes = decided(
        tail=swept(is_first=False),
        counting_start=replace(REGISTERED, registered=NOW - 100_000),
        answer=page(
            1,
            100,
            100,
            item("late", NOW - 50),
            item("shifted", NOW - 86401),
            item("forgotten", NOW - 100_001),
        ),
        purpose=Purpose.SWEEP,
        sweeps=True,
    )
    assert [one.id for one in changes.found] == ["late", "shifted"]
    assert "job_exporter_records_late_total" in {one.series.family for one in changes.increments}
    assert changes.tail.hidden == 97


@pytest.mark.parametrize(
    ("before", "after", "bottom"),
    [
        (Order.ASC, Order.DESC, None),
        (Order.ASC, Order.ASC, 900),
        (None, Order.ASC, 900),
        (Order.DESC, None, 900),
    ],
)
def test_a_reversed_order_forgets_what_the_first_reading_saw(
    before: Order | None, after: Order | None, bottom: int | None
) -> None:
    """It had read other positions: unknown records there may be old."""
    start = CountingStart(baseline_end=NOW, floor=NOW, bottom=900, accounted=1000)
    assert start.after_order(before, after).bottom == bottom
