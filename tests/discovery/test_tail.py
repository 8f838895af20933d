"""Where new records can be, which page is asked next, and when the tail is proven read."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.discovery.choosing import PATIENCE, next_page
from exporter.discovery.gaps import HOLD, NEWEST, open_gap
from exporter.discovery.order import Ends, First
from exporter.discovery.pages import (
    MAX_PAGE_SIZE,
    PAGE_BYTES,
    Order,
    PageRequest,
    Purpose,
    Weights,
    page_limit,
    too_heavy,
    weighed,
)
from exporter.discovery.reading import ADD_UP, Reading, read
from exporter.discovery.tail import (
    Tail,
    backlog,
    end_first_reading,
    first_reading,
    is_first_reading,
    probed,
)
from exporter.model import Clock, Page, PageItem
from exporter.simulator.fleet import Host
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, item, page

RECHECK = 300.0
HOST: tuple[Host, ...] = HOSTS[:1]
WIDE = Weights(widest=MAX_PAGE_SIZE)
ASC = Ends(order=Order.ASC)


def at(now: float) -> Clock:
    return Clock(now=now, wall=now, platform=now)


class Reader:
    """Reads the tail of a world as a poller does, and remembers what it asked for and found."""

    def __init__(self, world: World) -> None:
        self.world, self.now = world, NOW
        self.known = {record.id for record in world}
        self.tail = Tail(weights=WIDE)
        self.asked: list[PageRequest] = []
        self.given_up = 0
        self.probe()
        self.run()
        self.asked.clear()

    def page(self, request: PageRequest) -> Page:
        view = self.world.page(request.number, request.size)
        items = (PageItem(id=record.id, start=record.start) for record in view.records)
        return page(request.number, request.size, view.total, *items)

    def probe(self) -> None:
        self.take_probe(self.page(self.tail.probe.request))

    def take_probe(self, answer: Page) -> None:
        self.tail = probed(self.tail, answer, clock=at(self.now), recheck_interval=RECHECK)

    def run(self) -> None:
        """Read whatever is due now."""
        while (request := next_page(self.tail, now=self.now)) is not None:
            self.asked.append(request)
            assert len(self.asked) < 500
            self.take(self.page(request), request.purpose)

    def take(self, answer: Page, purpose: Purpose = Purpose.GAP) -> Reading:
        reading = read(self.tail, answer, self.known, clock=at(self.now), purpose=purpose)
        self.known |= {fresh.item.id for fresh in reading.fresh}
        self.tail, self.given_up = reading.tail, self.given_up + reading.given_up
        return reading

    def poll(self, *, after: float = 15.0) -> None:
        self.now += after
        self.probe()
        self.run()

    @property
    def unseen(self) -> set[str]:
        """Give the visible records that it does not know."""
        return {record.id for record in self.world if self.world.shows(record)} - self.known

    @property
    def positions(self) -> int:
        """Tell how many positions the pages asked for hold."""
        return sum(request.size for request in self.asked)


def world(records: int = 200, *, order: Any = "asc", **changes: Any) -> World:
    """Make a world with a past, a record a minute."""
    made = World(order=order, **changes)
    for number in range(records):
        made.add(RecordSpec(hosts=HOST, start=NOW - 60 * (records - number)), NOW)
    return made


def add(to: World, *, start: float = NOW, count: int = 1, **spec: Any) -> list[str]:
    return [to.add(RecordSpec(hosts=HOST, start=start, **spec), NOW) for _ in range(count)]


# -- how large a page may be


def test_a_page_holds_at_most_500_records() -> None:
    """Light records too: a large page once killed a platform."""
    assert page_limit(Weights(widest=1000, record_bytes=1.0)) == MAX_PAGE_SIZE == 500
    assert page_limit(Weights(widest=1000), limit=10) == 10


def test_records_nobody_has_seen_may_be_heavy() -> None:
    """The first page is of one record, and each at most four times as large as what came well."""
    assert page_limit(Weights()) == 1
    assert page_limit(Weights(widest=3)) == 12


def test_pages_of_heavy_records_stay_under_4_mb() -> None:
    """Pages shrink with what records weigh, down to one record."""
    assert page_limit(Weights(widest=50, record_bytes=1_000_000.0)) == 4
    assert page_limit(Weights(widest=50, record_bytes=50_000_000.0)) == 1


def test_a_heavier_page_counts_at_once_a_lighter_one_slowly() -> None:
    """Too large a page is the danger."""
    tail = weighed(Weights(record_bytes=1000.0), 10, 100_000)
    assert (tail.record_bytes, tail.widest) == (10_000.0, 10)
    assert weighed(tail, 10, 1000).record_bytes == 5_000.0
    assert weighed(tail, 0, 63) == tail


def test_a_page_that_was_too_large_is_halved() -> None:
    """It came, but a platform takes seven times its size in memory."""
    assert weighed(Weights(widest=50), 50, PAGE_BYTES + 1).widest == 25


@given(size=st.integers(1, 50), limit=st.integers(1, 50))
def test_a_page_that_was_refused_is_asked_in_halves(size: int, limit: int) -> None:
    """Again and again, until it is a single record."""
    tail, asked = Weights(widest=50), [size]
    while asked[-1] > 1:
        tail = too_heavy(tail, asked[-1])
        asked.append(min(asked[-1] - 1, page_limit(tail, limit)))
    assert all(later <= max(1, earlier // 2) for earlier, later in pairwise(asked))


# -- what the total tells


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_nothing_new_needs_no_page(order: str) -> None:
    """While the total and the first record stay, only the probe is asked for."""
    reader = Reader(world(order=order))
    for _ in range(10):
        reader.poll()
    assert reader.asked == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_growth_is_read_with_the_smallest_page(order: str) -> None:
    """A new record costs a page of two: it, and the known one below."""
    reader = Reader(world(order=order))
    add(reader.world)
    reader.poll()
    assert not reader.unseen
    assert len(reader.asked) == 1
    assert reader.positions <= 4


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 130), min_size=1, max_size=6),
    past=st.integers(0, 300),
    order=st.sampled_from(["asc", "desc"]),
)
def test_growth_by_k_is_found_by_little_more_than_k_positions(
    counts: list[int], past: int, order: str
) -> None:
    """Whatever the total and however many come at once, all are found and little else is read."""
    reader = Reader(world(past, order=order))
    for number, count in enumerate(counts):
        add(reader.world, start=NOW + number, count=count)
        reader.asked.clear()
        reader.poll(after=5.0)
        assert not reader.unseen
        # The page may lie badly; the order, once unknown, costs a comparison and a page that holds all.
        assert reader.positions <= count + MAX_PAGE_SIZE + 1
        assert not backlog(reader.tail, reader.now)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_record_that_lands_before_the_tail_is_found(order: str) -> None:
    """A tie sorted by id, or a master whose clock is behind: counting says that one is missing."""
    reader = Reader(world(order=order))
    for late in (0, 60, 600, 3600):
        add(reader.world, start=NOW - late)
        reader.poll()
        assert not reader.unseen


def test_many_ties_are_all_found() -> None:
    """Five hundred records of one second, in the order of their ids, come in four polls."""
    reader = Reader(world())
    for _ in range(4):
        add(reader.world, count=125)
        reader.poll()
    assert not reader.unseen


@pytest.mark.parametrize("order", ["asc", "desc"])
@given(arrivals=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_missing_is_what_no_page_has_shown(order: str, arrivals: list[tuple[int, int]]) -> None:
    """However ties land while pages are read: no more is looked for, and no less."""
    reader = Reader(world(order=order))
    for number, (count, late) in enumerate(arrivals):
        reader.now = NOW + number / 3
        add(reader.world, start=NOW + number // 3 - late, count=count)
        reader.probe()
        request = next_page(reader.tail, now=reader.now)
        if request is not None:
            reader.take(reader.page(request))
        reader.probe()
        assert sum(gap.missing for gap in reader.tail.gaps) == len(reader.unseen)


def test_growth_between_two_pages_joins_the_gap() -> None:
    """What arrives before the first page was read is read with it."""
    reader = Reader(world())
    add(reader.world, count=3)
    reader.probe()
    add(reader.world, start=NOW + 1, count=3)
    reader.probe()
    assert len(reader.tail.gaps) == 1
    assert backlog(reader.tail, reader.now) == 6
    reader.run()
    assert not reader.unseen
    assert len(reader.asked) == 1


def test_growth_while_a_gap_is_half_read_opens_another() -> None:
    """The gap of which a page shows most is read first; both are read in the end."""
    reader = Reader(world())
    add(reader.world, count=120)
    reader.probe()
    request = next_page(reader.tail, now=reader.now, limit=50) or PageRequest(number=0, size=0)
    reader.take(reader.page(request))
    add(reader.world, start=NOW + 1)
    reader.probe()
    assert len(reader.tail.gaps) == 2
    assert next_page(reader.tail, now=reader.now, limit=50) == PageRequest(number=6, size=46)
    reader.run()
    assert not reader.unseen


def test_growth_that_a_page_tells_does_not_keep_it_from_its_gap() -> None:
    """Records that came after the probe lie above the page: what it was asked for counts as read."""
    reader = Reader(world())
    add(reader.world, count=20)
    reader.probe()
    add(reader.world, start=NOW + 1, count=5)
    reader.take(reader.page(next_page(reader.tail, now=reader.now) or PageRequest(number=0, size=0)))
    assert [(gap.missing, gap.lo, gap.hi) for gap in reader.tail.gaps] == [(5, 219, 225)]
    reader.poll()
    assert not reader.unseen
    assert len(reader.asked) == 1


def test_growth_that_a_page_of_the_first_reading_tells_leaves_nothing_to_look_for() -> None:
    """The record below the growth is the first reading's: else one would be looked for that is not there."""
    reader = Reader(world())
    reader.known.clear()
    gaps = first_reading(200, now=reader.now, newest=100, since=None)
    reader.tail = replace(reader.tail, gaps=gaps)
    request = next_page(reader.tail, now=reader.now) or PageRequest(number=0, size=0)
    add(reader.world, start=NOW + 1, count=3)
    reader.take(reader.page(request))
    reader.poll()
    assert sum(gap.missing for gap in reader.tail.gaps) == 0
    assert len(reader.known) == 103
    assert reader.positions <= 100 + 3


def test_a_total_that_a_page_tells_is_taken_in() -> None:
    """Records that came between the probe and the page are not lost; a page without a total tells none."""
    reader = Reader(world())
    reader.take(page(1, 1, 201, item(min(reader.known))))
    assert reader.tail.total == 201
    assert sum(gap.missing for gap in reader.tail.gaps) == 1
    reader.take(page(1, 1, None))
    assert reader.tail.total == 201


def test_a_small_gap_does_not_wait_for_ever() -> None:
    """Larger gaps go first, because their pages show more; but none waits longer than two polls for them."""
    small = open_gap(100, 102, missing=1, now=NOW)
    large = open_gap(150, 200, missing=50, now=NOW + PATIENCE - 1)
    tail = Tail(total=200, last_total=200, ends=ASC, weights=Weights(widest=50), gaps=(small, large))
    assert next_page(tail, now=NOW + PATIENCE, limit=50) == PageRequest(number=4, size=50)
    assert next_page(tail, now=NOW + PATIENCE + 1, limit=50) == PageRequest(number=51, size=2)


def test_of_gaps_that_wait_too_long_the_oldest_comes_first() -> None:
    """Where more arrives than pages may show, the rest of a gap would wait behind wider ones for ever."""
    rest = open_gap(100, 102, missing=1, now=NOW)
    wide = open_gap(150, 200, missing=50, now=NOW + 1)
    tail = Tail(total=200, last_total=200, ends=ASC, weights=Weights(widest=50), gaps=(rest, wide))
    assert next_page(tail, now=NOW + 1000, limit=50) == PageRequest(number=51, size=2)


def test_growth_that_pages_tell_adds_up() -> None:
    """Else each page would be followed by one for the few that came meanwhile; a probe ends the wait."""
    reader = Reader(world())
    add(reader.world)
    reader.probe()
    add(reader.world, start=NOW + 1, count=2)
    reader.run()
    assert len(reader.asked) == 1
    assert len(reader.unseen) == 2
    waiting = reader.tail
    assert next_page(waiting, now=NOW + ADD_UP) is not None
    add(reader.world, start=NOW + 2)
    reader.probe()
    assert next_page(reader.tail, now=NOW) is not None
    reader.run()
    assert len(reader.asked) == 2
    assert not reader.unseen


# -- rows that come late


def test_an_empty_position_is_looked_at_again() -> None:
    """A record whose rows come late is found when they do, without the total growing."""
    reader = Reader(world())
    hidden = add(reader.world, rows=False)[0]
    reader.poll()
    reader.poll()
    add(reader.world, start=NOW + 5, count=4)
    reader.poll()
    assert not reader.unseen
    reader.world.give_rows(hidden)
    for _ in range(20):
        reader.poll()
    assert not reader.unseen


def test_an_empty_position_that_moved_in_a_downtime_is_found() -> None:
    """Old records expired, and more new ones came: the total grew, and what had no rows lies deeper."""
    reader = Reader(world())
    (hidden,) = add(reader.world, rows=False)
    reader.poll()
    reader.world.give_rows(hidden)
    reader.world.delete([record.id for record in reader.world][:7])
    add(reader.world, start=NOW + 60, count=60)
    reader.poll(after=60)  # ledger time: a downtime does not count
    for _ in range(20):
        reader.poll()
    assert not reader.unseen


@pytest.mark.parametrize("false", [0, 150])
def test_records_that_come_back_are_not_hidden(false: int) -> None:
    """A total was false for so long that it was believed. The growth after it is found on no page, but no
    position is empty.
    """
    reader = Reader(world())
    (hidden,) = add(reader.world, rows=False)
    for _ in range(8):
        reader.now += 15.0
        reader.take_probe(page(1, 1, false))
    assert reader.tail.total == false
    for _ in range(int((HOLD + RECHECK) / 15) + 5):
        reader.poll()
        assert reader.tail.invisible <= 1
    assert reader.given_up == 1
    reader.world.give_rows(hidden)
    for _ in range(int(RECHECK / 15) + 5):
        reader.poll()
    assert not reader.unseen


def test_a_record_that_never_gets_rows_is_given_up() -> None:
    """After the hold it is said aloud, once, and no page is read for it any more."""
    reader = Reader(world())
    add(reader.world, rows=False)
    for _ in range(int((HOLD + RECHECK) / 15) + 5):
        reader.poll()
    assert reader.given_up == 1
    reader.asked.clear()
    for _ in range(10):
        reader.poll()
    assert len(reader.asked) <= 1  # the re-check


# -- what shifts


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_deletion_makes_a_check_due(order: str) -> None:
    """The total shrinks, and a record that came in the same moment is found at once."""
    reader = Reader(world(order=order))
    reader.world.delete_oldest(5)
    add(reader.world, count=2)
    reader.poll()
    assert not reader.unseen


def test_a_deletion_that_hides_growth_is_noticed_by_the_first_record() -> None:
    """As many expired as came: the total is the same, but the first record is another."""
    reader = Reader(world())
    reader.world.delete_oldest(30)
    add(reader.world, count=30)
    reader.poll()
    assert not reader.unseen


def test_a_deletion_that_hides_growth_elsewhere_is_found_by_the_recheck() -> None:
    """Nothing shows it but the newest page, which is read again within five minutes."""
    reader = Reader(world())
    reader.world.delete([record.id for record in reader.world][50:60])
    add(reader.world, count=10)
    reader.poll()
    assert len(reader.unseen) == 10
    for _ in range(20):
        reader.poll()
    assert not reader.unseen


def test_a_deletion_moves_what_is_still_to_be_read() -> None:
    """Open gaps reach down by as much, and never beyond what is there."""
    tail = Tail(total=100, ends=ASC, gaps=first_reading(100, now=NOW), recheck_due=NOW + 999)
    after = told(tail, [40] * 5)
    assert all(0 <= gap.lo <= gap.at <= gap.hi <= 40 for gap in after.gaps)
    assert after.gaps[0].floor == 0
    nothing = told(tail, [0] * 5)
    assert (nothing.gaps, next_page(nothing, now=NOW + 60)) == ((), None)


def test_a_platform_that_was_emptied_is_read_anew() -> None:
    """Everything is gone, then there are new records: they are found once that is confirmed."""
    reader = Reader(world())
    reader.world.delete_oldest(200)
    reader.poll()
    add(reader.world, count=7)
    for _ in range(5):
        reader.poll()
    assert not reader.unseen


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("come", [30, 1500])
def test_deletions_that_hide_growth_hide_none_of_it(order: str, come: int) -> None:
    """As many go as come: a reading goes on while it finds what is new."""
    reader = Reader(world(2000, order=order))
    reader.world.delete_oldest(come)
    add(reader.world, count=come)
    for _ in range(3):
        reader.poll()
    assert not reader.unseen
    assert len(reader.asked) < 15


def test_a_blinking_record_hides_no_other() -> None:
    """3 come and 2 are deleted; the newest but one shows nothing for a moment; then 1 comes and 1 goes."""
    reader = Reader(world())
    ids = add(reader.world, count=3)
    reader.world.delete([record.id for record in reader.world][10:12])
    reader.world.blink(sorted(ids)[1])
    reader.poll()
    add(reader.world, start=NOW + 1)
    reader.world.delete([record.id for record in reader.world][10:11])
    reader.world.unblink(sorted(ids)[1])
    for _ in range(25):
        reader.poll()
    assert not reader.unseen


# -- totals that can't be trusted


def told(tail: Tail, totals: list[int], *, first: str = "a", start: float = NOW - 99_000) -> Tail:
    """Probe, 15 s apart, and be told these totals."""
    tail = replace(tail, ends=replace(tail.ends, first=tail.ends.first or First(id="a", start=NOW - 99_000)))
    for number, total in enumerate(totals):
        now = NOW + 15 * number
        answer = page(1, 1, total, *([item(first, start)] if total else []))
        tail = probed(tail, answer, clock=at(now), recheck_interval=RECHECK)
    return tail


CALM = Tail(total=2000, last_total=2000, ends=ASC, recheck_due=NOW + 999)


@pytest.mark.parametrize("lie", [0, 40, 1999])
def test_one_answer_of_fewer_records_changes_nothing(lie: int) -> None:
    """Then the truth again: no gap, no page, no re-check."""
    after = told(CALM, [lie, lie, lie, 2000])
    assert (after.total, after.gaps, after.fewer) == (2000, (), None)


def test_fewer_records_are_accepted_after_a_minute() -> None:
    """The largest total of that minute: growth went on meanwhile; then the tail is checked at once."""
    assert told(CALM, [1500, 1501, 1503, 1502]).total == 2000
    after = told(CALM, [1500, 1501, 1503, 1502, 1502])
    assert after.total == 1503
    assert [gap.is_check for gap in told(CALM, [1500] * 6).gaps] == [True]


def test_an_oldest_record_that_went_too_tells_of_a_deletion() -> None:
    """Two kinds of evidence: it is accepted at once, unless much is gone."""
    assert told(CALM, [1990], first="b", start=NOW - 98_000).total == 1990
    assert told(CALM, [1700], first="b", start=NOW - 98_000).total == 2000
    assert told(CALM, [0]).total == 2000


def test_an_older_copy_brings_no_growth() -> None:
    """Behind a balancer one copy still shows the records that were deleted."""
    after = told(CALM, [1990], first="b", start=NOW - 98_000)
    again = told(after, [2000], first="a")
    assert (again.total, [gap.missing for gap in again.gaps if gap.missing]) == (1990, [])


def test_a_page_that_brings_nothing_is_not_asked_again_in_the_same_poll() -> None:
    """A copy that lags does not show what another one told of; the next probe asks again."""
    reader = Reader(world())
    stale = {size: reader.page(PageRequest(number=1, size=size)) for size in (1,)}[1]
    add(reader.world)
    reader.probe()
    request = next_page(reader.tail, now=reader.now)
    assert request is not None
    old = replace(reader.page(request), items=(), total=stale.total)
    reader.take(old)
    assert next_page(reader.tail, now=reader.now) is None
    reader.poll()
    assert not reader.unseen


def test_what_one_gap_finds_another_does_not_wait_for() -> None:
    """33 landed below a gap that was read before, among 50 others: no more is missing than is not read."""
    reader = Reader(world(1000))
    add(reader.world, start=NOW - 4000, count=33)  # between older records
    reader.probe()
    add(reader.world, start=NOW + 1, count=50)
    reader.probe()
    for _ in range(3):
        reader.poll()
        assert reader.tail.missing == len(reader.unseen)
    assert not reader.unseen


# -- the re-check


@pytest.mark.parametrize("records", range(200, 240, 3))
def test_a_recheck_is_one_page(records: int) -> None:
    """However pages lie: what is left over of the newest 50 would cost another, as dear as the first."""
    reader = Reader(world(records))
    add(reader.world, count=3)
    reader.poll(after=RECHECK)
    assert len(reader.asked) == 1
    assert not reader.unseen


def test_the_recheck_comes_regularly() -> None:
    """One small page each interval."""
    reader = Reader(world())
    at = []
    for _ in range(3600 // 15):
        reader.poll()
        if reader.asked:
            at.append(reader.now)
            assert reader.positions <= NEWEST
            reader.asked.clear()
    assert {later - earlier for earlier, later in pairwise(at)} == {RECHECK}


# -- the order of pages


@pytest.mark.parametrize(("order", "found"), [("asc", Order.ASC), ("desc", Order.DESC)])
def test_the_order_is_found_by_comparing_the_ends(order: str, found: Order) -> None:
    """The last page of one record is compared with the first."""
    reader = Reader(world(order=order))
    assert reader.tail.order is found


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_few_records_of_one_second_are_read_whatever_the_order(order: str) -> None:
    """Both ends begin in the same second: a page that holds everything is asked for."""
    made = World(order=order)  # type: ignore[arg-type]
    reader = Reader(made)
    for count in (1, 5, 30):
        add(made, count=count)
        reader.poll()
        assert not reader.unseen
    assert reader.tail.order is None
    add(made, start=NOW + 1)
    reader.poll()
    assert not reader.unseen
    assert reader.tail.order is not None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_many_records_of_one_second_are_read_in_the_end(order: str) -> None:
    """More than a page: the newest is taken to be last until a record of another second tells."""
    made = World(order=order)  # type: ignore[arg-type]
    reader = Reader(made)
    add(made, count=120)
    reader.poll()
    add(made, start=NOW + 1)
    reader.poll()
    assert reader.tail.order is (Order.ASC if order == "asc" else Order.DESC)
    for _ in range(60):
        reader.poll()
    assert not reader.unseen


@pytest.mark.parametrize("old", [600, 4000])
@pytest.mark.parametrize(("order", "after"), [("asc", "desc"), ("desc", "asc")])
def test_an_order_that_turns_is_noticed(order: str, after: str, old: int) -> None:
    """In both directions, within a few polls, without reading all that is old."""
    reader = Reader(world(old, order=order))
    for _ in range(3):
        add(reader.world, start=reader.now)
        reader.poll()
    assert not reader.unseen
    reader.asked.clear()
    reader.world.order = after  # type: ignore[assignment]
    for _ in range(12):
        add(reader.world, start=reader.now)
        reader.poll()
    assert reader.tail.order is (Order.ASC if after == "asc" else Order.DESC)
    assert not reader.unseen
    assert reader.positions <= 12 * 2 + 2 * NEWEST
    assert reader.tail.missing == 0


def test_a_newest_record_that_is_deleted_turns_no_order() -> None:
    """Its place at the front shows an older one: both ends are compared, and all goes on."""
    reader = Reader(world(order="desc"))
    reader.world.delete([next(iter(reversed([record.id for record in reader.world])))])
    for _ in range(8):
        add(reader.world, start=reader.now - 300)
        reader.poll()
    assert reader.tail.order is Order.DESC
    assert not reader.unseen


def test_an_empty_platform_has_no_order_that_could_have_turned() -> None:
    """What looked like a turn was the last record that was left."""
    reader = Reader(world(3, order="desc"))
    reader.world.delete([[record.id for record in reader.world][-1]])
    reader.poll()
    assert reader.tail.turned is not None
    reader.world.delete_oldest(2)
    reader.poll()
    assert reader.tail.turned is None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_growth_tells_the_order_where_no_times_do(order: str) -> None:
    """A first record that changes with growth, twice, is the newest; one that stays is the oldest."""
    tail, records = Tail(weights=WIDE, recheck_due=NOW + 9999), [f"{number:03}" for number in range(300)]
    for _ in range(4):
        shown = records if order == "asc" else records[::-1]
        answer = page(1, 1, len(records), item(shown[0], None))
        tail = probed(tail, answer, clock=at(NOW), recheck_interval=RECHECK)
        records.append(f"{len(records):03}")
    assert tail.order is (Order.ASC if order == "asc" else Order.DESC)


def test_a_first_record_without_a_start_is_the_oldest() -> None:
    """Where the oldest come first, a record without a start sorts before all others."""
    made = world(5)
    add(made, no_start=True)
    reader = Reader(made)
    first = reader.tail.ends.first
    assert first is not None
    assert first.start is None
    assert reader.tail.order is Order.ASC


# -- the first reading


def test_a_first_reading_reads_the_newest() -> None:
    """The newest 200, or all; of an empty platform nothing."""
    assert first_reading(0, now=NOW) == ()
    assert first_reading(1000, now=NOW, newest=200)[0].floor == 800
    assert first_reading(10, now=NOW, newest=200)[0].floor == 0
    assert first_reading(1000, now=NOW)[0].floor == 0


def first_tail(total: int = 1000) -> Tail:
    return Tail(
        total=total,
        last_total=total,
        ends=ASC,
        weights=Weights(widest=50),
        gaps=first_reading(total, now=NOW, newest=200),
    )


def test_a_first_reading_ends_when_its_floor_is_reached() -> None:
    """It has looked at each of the newest 200 positions once, and tells how far back it came."""
    tail, reading, asked = first_tail(), None, 0
    while is_first_reading(tail):
        request = next_page(tail, now=NOW)
        assert request is not None
        first = (request.number - 1) * request.size
        items = (item(str(number), NOW + number) for number in range(first, first + request.size))
        answer = page(request.number, request.size, 1000, *items)
        reading = read(tail, answer, set(), clock=at(NOW))
        tail, asked = reading.tail, asked + request.size
    assert reading is not None
    assert reading.first is not None
    assert reading.first.low == (NOW + 800, "800")
    assert asked == 200
    assert tail.gaps == ()


def test_a_first_reading_can_be_ended_early() -> None:
    """Where pages are too heavy it goes no further down, and nothing below is missing."""
    tail = first_tail()
    assert is_first_reading(tail)
    items = tuple(item(str(number)) for number in range(25))
    tail = read(tail, page(40, 25, 1000, *items), set(), clock=at(NOW)).tail
    other = replace(tail.gaps[0], floor=None)
    ended = end_first_reading(replace(tail, gaps=(*tail.gaps, other)))
    assert ended.gaps == (other,)
    assert not is_first_reading(ended)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_first_reading_counts_each_position_once(order: str) -> None:
    """The other end, read to find the order, lies below: it is counted when the reading comes by."""
    made = world(100, order=order)
    reader = Reader(World())
    reader.world, reader.tail = made, Tail(weights=Weights(widest=50))
    reader.probe()
    reader.tail = replace(reader.tail, gaps=first_reading(100, now=NOW, newest=200))
    reader.run()
    assert not reader.unseen
    assert reader.tail.gaps == ()
    assert not is_first_reading(reader.tail)
