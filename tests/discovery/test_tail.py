"""Where new records can be, which page is asked next, and when the tail is proven read."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.discovery.gaps import HOLD, MAX_PAGE_SIZE, open_gap
from exporter.discovery.pages import Order, PageRequest
from exporter.discovery.tail import (
    ADD_UP,
    IDLE_RECHECKS,
    PAGE_BYTES,
    PATIENCE,
    Reading,
    Tail,
    backlog,
    end_first_reading,
    first_reading,
    is_first_reading,
    next_page,
    page_limit,
    probed,
    read,
    too_heavy,
    weighed,
)
from exporter.model import Page, PageItem
from exporter.simulator.fleet import Host
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, item, page

RECHECK = 300.0
HOST: tuple[Host, ...] = HOSTS[:1]


class Reader:
    """Reads the tail of a world as a poller does, and remembers what it asked for and found."""

    def __init__(self, world: World) -> None:
        self.world, self.now = world, NOW
        self.known = {record.id for record in world}
        self.tail = Tail(widest=MAX_PAGE_SIZE)
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
        answer = self.page(PageRequest(number=1, size=1))
        self.tail = probed(self.tail, answer, now=self.now, platform_now=self.now, recheck_interval=RECHECK)

    def run(self) -> None:
        """Read whatever is due now."""
        while (request := next_page(self.tail, now=self.now)) is not None:
            self.asked.append(request)
            assert len(self.asked) < 500
            self.take(self.page(request))

    def take(self, answer: Page) -> Reading:
        reading = read(self.tail, answer, self.known, now=self.now, platform_now=self.now)
        self.known |= {fresh.id for fresh in reading.fresh}
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


def test_a_page_holds_at_most_50_records() -> None:
    """Light records too: a large page once killed a platform."""
    assert page_limit(Tail(widest=1000, record_bytes=1.0)) == MAX_PAGE_SIZE == 50
    assert page_limit(Tail(widest=1000), limit=10) == 10


def test_records_nobody_has_seen_may_be_heavy() -> None:
    """The first page is of one record, and each at most four times as large as what came well."""
    assert page_limit(Tail()) == 1
    assert page_limit(Tail(widest=3)) == 12


def test_pages_of_heavy_records_stay_under_4_mb() -> None:
    """Pages shrink with what records weigh, down to one record."""
    assert page_limit(Tail(widest=50, record_bytes=1_000_000.0)) == 4
    assert page_limit(Tail(widest=50, record_bytes=50_000_000.0)) == 1


def test_a_heavier_page_counts_at_once_a_lighter_one_slowly() -> None:
    """Too large a page is the danger."""
    tail = weighed(Tail(record_bytes=1000.0), 10, 100_000)
    assert (tail.record_bytes, tail.widest) == (10_000.0, 10)
    assert weighed(tail, 10, 1000).record_bytes == 5_000.0
    assert weighed(tail, 0, 63) == tail


def test_a_page_that_was_too_large_is_halved() -> None:
    """It came, but a platform takes seven times its size in memory."""
    assert weighed(Tail(widest=50), 50, PAGE_BYTES + 1).widest == 25


@given(size=st.integers(1, 50), limit=st.integers(1, 50))
def test_a_page_that_was_refused_is_asked_in_halves(size: int, limit: int) -> None:
    """Again and again, until it is a single record."""
    tail, asked = Tail(widest=50), [size]
    while asked[-1] > 1:
        tail = too_heavy(tail, PageRequest(number=1, size=asked[-1]))
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
    reader.take(reader.page(next_page(reader.tail, now=reader.now) or PageRequest(number=0, size=0)))
    add(reader.world, start=NOW + 1)
    reader.probe()
    assert len(reader.tail.gaps) == 2
    assert next_page(reader.tail, now=reader.now) == PageRequest(number=6, size=46)
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
    tail = Tail(total=200, order=Order.ASC, widest=50, gaps=(small, large))
    assert next_page(tail, now=NOW + PATIENCE) == PageRequest(number=4, size=50)
    assert next_page(tail, now=NOW + PATIENCE + 1) == PageRequest(number=51, size=2)


def test_of_gaps_that_wait_too_long_the_oldest_comes_first() -> None:
    """Where more arrives than pages may show, the rest of a gap would wait behind wider ones for ever."""
    rest = open_gap(100, 102, missing=1, now=NOW)
    wide = open_gap(150, 200, missing=50, now=NOW + 1)
    tail = Tail(total=200, order=Order.ASC, widest=50, gaps=(rest, wide))
    assert next_page(tail, now=NOW + 1000) == PageRequest(number=51, size=2)


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
    add(reader.world, start=NOW + 90_000, count=60)
    reader.poll(after=90_000)
    for _ in range(20):
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
    tail = Tail(total=100, order=Order.ASC, gaps=first_reading(100, now=NOW))
    after = probed(tail, page(1, 1, 40, item("a")), now=NOW, platform_now=NOW, recheck_interval=RECHECK)
    assert all(0 <= gap.lo <= gap.at <= gap.hi <= 40 for gap in after.gaps)
    assert after.gaps[0].floor == 0
    nothing = probed(tail, page(1, 1, 0), now=NOW, platform_now=NOW, recheck_interval=RECHECK)
    assert (nothing.gaps, next_page(nothing, now=NOW)) == ((), None)


def test_a_platform_that_was_emptied_is_read_anew() -> None:
    """Everything is gone, then there are new records: they are found."""
    reader = Reader(world())
    reader.world.delete_oldest(200)
    reader.poll()
    add(reader.world, count=7)
    reader.poll()
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


def test_the_recheck_comes_less_often_while_nothing_changes() -> None:
    """From five minutes to an hour, then each hour: it costs next to nothing."""
    reader = Reader(world())
    at = []
    for _ in range(4 * 3600 // 15):
        reader.poll()
        if reader.asked:
            at.append(reader.now)
            reader.asked.clear()
    waits = [later - earlier for earlier, later in pairwise(at)]
    assert waits == sorted(waits)
    assert waits[0] <= 2 * RECHECK
    assert waits[-1] == IDLE_RECHECKS * RECHECK


def test_the_recheck_comes_soon_when_something_changes() -> None:
    """After an idle night, growth brings the next re-check within an interval."""
    reader = Reader(world())
    for _ in range(1000):
        reader.poll()
    add(reader.world)
    reader.poll()
    reader.world.delete([record.id for record in reader.world][50:53])
    add(reader.world, count=3)
    for _ in range(22):
        reader.poll()
    assert not reader.unseen


def test_a_recheck_that_finds_something_is_followed_by_others() -> None:
    """What it found was hidden: the next one does not wait longer."""
    reader = Reader(world())
    reader.world.delete([record.id for record in reader.world][50:60])
    add(reader.world, count=10)
    for _ in range(22):
        reader.poll()
    assert not reader.unseen
    assert reader.tail.recheck_wait <= 2 * RECHECK


def test_a_recheck_does_not_wait_out_a_clock_that_jumped_back() -> None:
    """Our clock was an hour and more ahead when the next one was planned."""
    reader = Reader(world())
    reader.now = NOW - 2 * 3600
    reader.poll()
    assert reader.asked


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


def test_a_platform_that_turns_its_order_round_is_noticed() -> None:
    """The page that should be the newest begins before the first: the order is found anew."""
    reader = Reader(world())
    reader.world.order = "desc"
    add(reader.world, count=3)
    for _ in range(40):
        reader.poll()
    assert reader.tail.order is Order.DESC
    assert not reader.unseen


def test_a_first_record_without_a_start_is_the_oldest() -> None:
    """Where the oldest come first, a record without a start sorts before all others."""
    made = world(5)
    add(made, no_start=True)
    reader = Reader(made)
    assert reader.tail.first_start is None
    assert reader.tail.order is Order.ASC


# -- the first reading


def test_a_first_reading_reads_the_newest() -> None:
    """The newest 200, or all; of an empty platform nothing."""
    assert first_reading(0, now=NOW) == ()
    assert first_reading(1000, now=NOW, newest=200)[0].floor == 800
    assert first_reading(10, now=NOW, newest=200)[0].floor == 0
    assert first_reading(1000, now=NOW)[0].floor == 0


def first_tail(total: int = 1000) -> Tail:
    return Tail(total=total, order=Order.ASC, widest=50, gaps=first_reading(total, now=NOW, newest=200))


def test_a_first_reading_ends_when_its_floor_is_reached() -> None:
    """It has looked at each of the newest 200 positions once, and tells how far back it came."""
    tail, reading, asked = first_tail(), None, 0
    while is_first_reading(tail):
        request = next_page(tail, now=NOW)
        assert request is not None
        first = (request.number - 1) * request.size
        items = (item(str(number), NOW + number) for number in range(first, first + request.size))
        answer = page(request.number, request.size, 1000, *items)
        reading = read(tail, answer, set(), now=NOW, platform_now=NOW)
        tail, asked = reading.tail, asked + request.size
    assert reading is not None
    assert reading.first_low == NOW + 800
    assert asked == 200
    assert tail.gaps == ()


def test_a_first_reading_can_be_ended_early() -> None:
    """Where pages are too heavy it goes no further down, and nothing below is missing."""
    tail = first_tail()
    assert is_first_reading(tail)
    items = tuple(item(str(number)) for number in range(25))
    tail = read(
        replace(tail, order=Order.ASC), page(40, 25, 1000, *items), set(), now=NOW, platform_now=NOW
    ).tail
    ended = end_first_reading(replace(tail, gaps=(*tail.gaps, replace(tail.gaps[0], floor=None))))
    assert (ended.gaps[0].lo, ended.gaps[0].floor, ended.gaps[0].missing) == (975, 975, 0)
    assert ended.gaps[1].lo == 950


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_first_reading_counts_each_position_once(order: str) -> None:
    """The other end, read to find the order, lies below: it is counted when the reading comes by."""
    made = world(100, order=order)
    reader = Reader(World())
    reader.world, reader.tail = made, Tail(widest=50)
    reader.probe()
    reader.tail = replace(reader.tail, gaps=first_reading(100, now=NOW, newest=200))
    reader.run()
    assert not reader.unseen
    assert reader.tail.gaps == ()
    assert not is_first_reading(reader.tail)
