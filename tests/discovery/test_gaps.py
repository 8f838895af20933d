"""A gap: how it is read, deepened, kept and closed."""

from dataclasses import replace
from typing import Any

import pytest

from exporter.discovery.gaps import (
    DEEPEST,
    FIRST_STEP,
    HOLD,
    MAX_STEP,
    RELOOK_LIMIT,
    TIE,
    Bounds,
    Gap,
    View,
    concluded,
    explained,
    explained_elsewhere,
    is_due,
    open_gap,
    passed,
    split_empty,
    touches,
)
from exporter.discovery.merging import joined
from exporter.model import MAX_AHEAD, Clock, PageItem
from tests.harness.core import NOW, item, page

CLOCK = Clock(now=NOW, wall=NOW, platform=NOW + 5)
BOUNDS = Bounds(total=1000, clock=CLOCK)


def gap(lo: int, hi: int, *, missing: int = 0, **changes: Any) -> Gap:
    return replace(open_gap(lo, hi, missing=missing, now=NOW), **changes)


def view(lo: int, hi: int, *items: PageItem, known: tuple[str, ...] = (), empty_positions: int = 0) -> View:
    fresh = {item.id for item in items} - set(known)
    return View(
        lo=lo, hi=hi, page=page(1, hi - lo, 1000, *items), fresh=fresh, empty_positions=empty_positions
    )


def began(*starts: float | None) -> list[PageItem]:
    """Records that began then."""
    return [item(f"r{number}", start) for number, start in enumerate(starts)]


def ended(given: Gap, **changes: Any) -> Gap | None:
    """Conclude a gap whose bottom was just reached."""
    return concluded(replace(given, at=given.lo), replace(BOUNDS, **changes))


def kept(given: Gap | None) -> Gap:
    assert given is not None
    return given


def test_a_new_gap_is_to_be_read_at_once_from_its_top() -> None:
    """It is due, and nothing of it is read yet."""
    fresh = open_gap(90, 100, missing=9, now=NOW)
    assert (fresh.at, fresh.missing, is_due(fresh, NOW)) == (100, 9, True)


@pytest.mark.parametrize(("due_in", "is_due_now"), [(-1.0, True), (0.0, True), (1.0, False)])
def test_a_gap_waits_until_it_is_due(due_in: float, is_due_now: bool) -> None:
    """A look that was put off is not made early; one that a page brought nothing waits for the next poll."""
    assert is_due(gap(0, 1, due=NOW + due_in), NOW) is is_due_now
    assert not is_due(gap(0, 1, is_stalled=True), NOW)


def grown(lo: int, hi: int, **changes: Any) -> Gap:
    return gap(lo, hi, missing=hi - lo - 1, anchor=1, **changes)


def test_growth_that_meets_is_one_gap() -> None:
    """Nothing was read of either: one page may show both, wherever they stand in the list."""
    assert joined([grown(94, 100), grown(89, 95), grown(99, 103)]) == (
        replace(grown(89, 103), missing=5 + 5 + 3),
    )


def test_growth_without_a_position_of_its_own_does_not_meet_itself() -> None:
    """After deletions all positions of a gap may be its anchor."""
    assert joined([grown(2, 3)]) == (grown(2, 3),)


def test_growth_that_meets_is_due_when_the_first_of_it_is() -> None:
    """What waited to add up waits no longer once growth is there that is to be read now."""
    (gap,) = joined([grown(89, 95, due=NOW + 1), grown(94, 100)])
    assert is_due(gap, NOW)


@pytest.mark.parametrize(
    "below",
    [
        grown(80, 95, at=90),
        grown(80, 94),
        replace(grown(80, 95), since=NOW),
        gap(80, 95, missing=14),
        gap(80, 95, is_check=True),
    ],
    ids=["half read", "apart", "looked at before", "no growth", "a re-check"],
)
def test_other_gaps_stay_apart(below: Gap) -> None:
    """What a gap was read down to, or when it is looked at again, is its own."""
    above = grown(94, 100)
    assert joined([above, below]) == (below, above)


def test_records_explain_what_is_missing() -> None:
    """Each new record makes one less missing, the newest first, and is not counted for another gap."""
    left = began(NOW, NOW - 1, NOW - 2)
    assert explained(gap(90, 100, missing=2), left, view(80, 110)) == began(NOW, NOW - 1)
    assert [item.start for item in left] == [NOW - 2]


def test_a_record_explains_no_more_than_there_is_room_for() -> None:
    """A page that overlaps a gap by one position can hold one of its records, and beside it none."""
    left = began(NOW, NOW - 1)
    assert explained(gap(90, 100, missing=2), left, view(70, 87)) == []
    assert len(explained(gap(90, 100, missing=2), left, view(70, 91))) == 1


def test_what_was_read_before_explains_nothing() -> None:
    """At the anchor of a gap of growth nothing is missing: there is no room for a record."""
    left = began(NOW, NOW - 1)
    assert explained(gap(90, 92, missing=1, anchor=1), left, view(80, 91)) == []
    assert len(explained(gap(90, 92, missing=1, anchor=1), left, view(80, 92))) == 1


def test_a_record_that_began_later_is_none_of_the_missing() -> None:
    """It came with a deletion that hid growth: the older missing one is still looked for."""
    left = began(NOW + 60, NOW - 60)
    assert len(explained(gap(90, 100, missing=2, until=NOW), left, view(80, 110))) == 1
    assert [item.start for item in left] == [NOW + 60]


def test_what_no_gap_on_a_page_missed_explains_the_nearest_other() -> None:
    """A tie landed below where its growth was taken to be: nothing is looked for that was found.

    So it is for a gap that was read to its bottom, if the record had begun by then. A start in the future is
    wrong: it may be an old record's, in another time zone.
    """
    near, far = grown(94, 100, after=NOW), grown(200, 210, after=NOW)
    read_before, first_reading = grown(84, 87, after=NOW, until=NOW), gap(20, 90, missing=9)
    left = began(NOW + 1, NOW, NOW, NOW, NOW - TIE, NOW - TIE, NOW - TIE, NOW - TIE, NOW - TIE - 1, NOW + 1)
    left += began(NOW + MAX_AHEAD + 1)
    after, found = explained_elsewhere([far, near, read_before, first_reading], left, view(60, 70), now=NOW)
    assert [gap.missing for gap in after] == [9 - 2, 0, 0, 9]
    assert [item.start for item in left] == [NOW - TIE - 1, NOW + MAX_AHEAD + 1]
    assert len(found) == 2 + 5 + 2


def test_a_page_from_above_moves_the_reading_down() -> None:
    """What the page showed below the gap is read too, and the lowest record seen is remembered."""
    after = passed(
        gap(90, 100), view(80, 100, item("b", NOW), item("a", NOW), item("z", NOW + 1), known=("a",))
    )
    assert (after.lo, after.at) == (80, 80)
    assert (after.low, after.low_known) == ((NOW, "a"), True)


def test_a_page_elsewhere_leaves_a_gap_alone() -> None:
    """Neither one below what is to be read next, nor one above it."""
    before = gap(90, 100)
    for elsewhere in (view(70, 99), view(100, 120)):
        assert not touches(before, elsewhere.lo, elsewhere.hi)
        assert passed(before, elsewhere) == before


def test_a_recheck_ends_where_its_page_does() -> None:
    """It is one page, however that lies over the newest positions: the rest would cost another."""
    after = passed(gap(50, 100, is_check=True), view(60, 100, item("a")))
    assert (after.lo, after.at) == (60, 60)


def test_a_first_reading_counts_its_positions() -> None:
    """Its bottom stays where it is, though a page reached further down: each position counts once."""
    after = passed(gap(90, 100, floor=0), view(80, 100, item("a", None)))
    assert (after.lo, after.at, after.low) == (90, 90, None)


def test_holes_become_a_gap_of_their_own() -> None:
    """What shows nothing is looked at again a second later, one page of it, however wide the gap is."""
    rest, empty = split_empty(gap(0, 100, missing=30), view(80, 100, empty_positions=7), BOUNDS)
    assert rest.missing == 23
    assert (kept(empty).lo, kept(empty).hi, kept(empty).missing) == (80, 100, 7)
    assert (kept(empty).due, kept(empty).until) == (NOW + 1, NOW + 6)


def test_no_more_can_hide_than_is_missing() -> None:
    """Old empty positions beside a new record are looked at again, but not taken for missing."""
    rest, empty = split_empty(gap(80, 100, missing=2), view(80, 100, empty_positions=7), BOUNDS)
    assert (rest.missing, kept(empty).missing) == (0, 2)


@pytest.mark.parametrize(
    "changes",
    [{"passes": 1}, {"is_check": True}, {"at": 70}],
    ids=["looked at before", "re-check", "elsewhere"],
)
def test_holes_are_handed_on_once(changes: dict[str, Any]) -> None:
    """A gap looked at again keeps its own; a re-check comes back by itself; others are not concerned."""
    before = gap(60, 100, missing=3, **changes)
    assert split_empty(before, view(80, 100, empty_positions=3), BOUNDS) == (before, None)


def test_a_page_without_holes_leaves_a_gap_whole() -> None:
    """Nothing is to be looked at again."""
    before = gap(60, 100, missing=3)
    assert split_empty(before, view(80, 100), BOUNDS) == (before, None)


def test_holes_far_back_in_a_first_reading_are_old() -> None:
    """They were empty long ago and stay so: they are missing no longer, and not looked at again."""
    first = gap(0, 1000, missing=1000, floor=0)
    rest, empty = split_empty(first, view(950, 1000, empty_positions=5), BOUNDS)
    assert (rest.missing, kept(empty).missing) == (995, 5)
    assert split_empty(replace(first, at=950), view(900, 950, empty_positions=5), BOUNDS) == (
        replace(rest, at=950),
        None,
    )


def test_a_gap_closes_when_nothing_is_missing() -> None:
    """All was found, and the lowest record was known before."""
    assert ended(gap(90, 100, low=(NOW, "a"), low_known=True)) is None


def test_a_gap_deepens_while_records_are_missing() -> None:
    """A tie or a late record landed before it; each step down is twice the last, and bounded."""
    deeper = kept(ended(gap(900, 1000, missing=1, low_known=True)))
    assert (deeper.lo, deeper.at, deeper.step, deeper.due) == (900 - FIRST_STEP, 900, 2 * FIRST_STEP, NOW)
    assert kept(ended(gap(900, 1000, missing=1, step=MAX_STEP))).step == MAX_STEP


def test_a_gap_deepens_while_its_lowest_record_is_new() -> None:
    """A deletion hid growth: the total told too little, so new records may lie further down."""
    assert kept(ended(gap(900, 1000, low=(NOW, "a"), low_known=False))).lo < 900


def test_a_gap_that_finds_nothing_new_goes_no_deeper_than_the_bound() -> None:
    """What lies further down the sweep finds; something new begins the count anew."""
    barren = gap(9000, 9001, missing=1, low_known=True, barren=DEEPEST)
    assert kept(ended(barren)).passes == 1
    deeper = kept(ended(replace(barren, is_productive=True, since=NOW - 10)))
    assert (deeper.lo, deeper.since, deeper.barren) == (9000 - FIRST_STEP, None, FIRST_STEP)


def test_looks_at_heavy_records_come_less_often() -> None:
    """The platform is not asked for the same megabytes again and again."""
    empty = gap(500, 540, missing=1, empty_positions=1, low_known=True)
    assert kept(ended(empty, record_bytes=100_000.0)).due == pytest.approx(NOW + 44.0)
    assert kept(ended(empty, record_bytes=100.0)).due == NOW + 1


def test_a_gap_goes_no_deeper_than_the_oldest_record() -> None:
    """At position 0 it is looked at again instead, while something is missing."""
    again = kept(ended(gap(0, 10, missing=1)))
    assert again.passes == 1
    assert ended(gap(0, 10)) is None


def test_empty_positions_that_can_hide_what_is_missing_are_waited_for() -> None:
    """It is not gone deeper for them."""
    assert kept(ended(gap(90, 100, missing=2, empty_positions=2, low_known=True))).passes == 1


def test_looks_at_empty_positions_come_less_and_less_often() -> None:
    """Each wait is longer, at most five minutes; the positions widen, because they shift, and are bounded."""
    again, waits, now = gap(500, 501, missing=1, empty_positions=1, low_known=True), list[float](), NOW

    def read_at(now: float) -> Gap | None:
        shown = replace(again, empty_positions=1, low_known=True)
        return ended(shown, clock=replace(CLOCK, now=now))

    while (after := read_at(now)) is not None:
        waits.append(after.due - now)
        assert after.lo < again.lo
        assert after.hi > again.hi
        assert after.hi - after.lo <= MAX_STEP
        again, now = after, after.due
    assert waits == sorted(waits)
    assert waits[:4] == [1, 4, 16, 64]
    assert max(waits) == RELOOK_LIMIT
    assert HOLD < now - NOW <= HOLD + RELOOK_LIMIT


def test_what_shows_nothing_for_the_hold_is_given_up() -> None:
    """A record without rows is never visible: after 900 s nothing is looked at again, nor gone deeper."""
    assert ended(gap(500, 501, missing=1, since=NOW - HOLD - 1)) is None
    assert ended(gap(500, 501, missing=1, since=NOW - HOLD)) is not None


def test_a_recheck_does_not_look_at_empty_positions_again() -> None:
    """It comes back by itself."""
    assert ended(gap(90, 100, empty_positions=3, low_known=True, is_check=True)) is None
    assert ended(gap(90, 100, empty_positions=3, low_known=True)) is not None


def test_a_look_again_goes_no_higher_than_the_newest_record() -> None:
    """It keeps until when what is missing can have begun."""
    again = kept(ended(gap(995, 1000, missing=1, empty_positions=1, low_known=True)))
    assert (again.hi, again.until) == (1000, NOW + 6)
    later = ended(replace(again, empty_positions=1, low_known=True), clock=replace(CLOCK, platform=NOW + 99))
    assert kept(later).until == NOW + 6


def test_a_first_reading_goes_down_to_its_floor() -> None:
    """Each position on the way is missing until it is seen; it goes no further."""
    deeper = kept(ended(gap(950, 1000, floor=920, step=50)))
    assert (deeper.lo, deeper.missing) == (920, 30)
    assert ended(gap(920, 1000, floor=920)) is None


def test_a_first_reading_with_a_duration_goes_down_to_its_time() -> None:
    """Below a record that began before the wanted history there is nothing to count."""
    reading = gap(950, 1000, floor=0, floor_start=NOW - 3600, step=50)
    assert kept(ended(reading)).lo == 900
    assert kept(ended(replace(reading, low=(NOW - 3600, "a")))).lo == 900
    assert ended(replace(reading, low=(NOW - 3601, "a"))) is None


def looked_at(lo: int, hi: int, **changes: Any) -> Gap:
    """A gap of an empty position that is read again."""
    return gap(lo, hi, **{"passes": 3, "since": NOW - 100, **changes})


def test_gaps_that_are_read_again_together_are_one() -> None:
    """One page shows both; the hold is that of what is missing."""
    (both,) = joined([looked_at(0, 25), looked_at(0, 25, since=NOW - 300)])
    assert (both.lo, both.hi, both.missing, both.since) == (0, 25, 0, NOW - 300)
    (both,) = joined([looked_at(4, 30, missing=1), looked_at(0, 25, since=NOW - 800, due=NOW + 90)])
    assert (both.lo, both.hi, both.missing, both.since, both.due) == (0, 30, 1, NOW - 100, NOW)


@pytest.mark.parametrize(
    "other",
    [
        looked_at(30, 40),
        looked_at(0, 25, missing=1, since=NOW - 800),
        looked_at(0, 25, is_early=True),
        looked_at(0, 25, at=20),
        looked_at(20, 20 + MAX_STEP),
    ],
    ids=["apart", "longer held", "early", "half read", "too wide"],
)
def test_other_gaps_that_are_read_again_stay_apart(other: Gap) -> None:
    """They end at other times, or cost a page of their own."""
    assert len(joined([looked_at(0, 25, missing=1), other])) == 2


def test_a_gap_that_is_read_again_is_not_prolonged_by_what_others_miss() -> None:
    """Where records come all the time, the hold of an empty position would never end."""
    found = item("new", NOW)
    again = looked_at(0, 10, missing=1)
    assert not passed(again, view(0, 10, found), []).is_productive
    assert passed(again, view(0, 10, found), [found]).is_productive
    assert passed(gap(0, 10, missing=1), view(0, 10, found), []).is_productive


def test_empty_pages_lead_no_further_down() -> None:
    """A gap that is read again and shows no record tells nothing of what lies below it."""
    again = ended(looked_at(900, 910, missing=0, empty_positions=10))
    assert again is not None
    assert again.due > NOW
    assert again.lo > 890


def test_gaps_that_are_half_read_alike_are_one() -> None:
    """The page that comes next goes on with both."""
    (both,) = joined([looked_at(0, 30, at=12), looked_at(0, 25, at=12)])
    assert (both.lo, both.hi, both.at) == (0, 30, 12)
