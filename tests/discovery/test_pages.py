"""How pages lie over positions, and which page wastes least."""

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.discovery.pages import PROBE, Order, PageRequest, covered, page_at
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import NOW, page

LIMIT = 50
ORDERS = st.sampled_from(Order)


@st.composite
def wanted(draw: st.DrawFn) -> tuple[int, int, int]:
    """Draw positions `lo` to `at` of `total`."""
    total = draw(st.integers(1, 400_000))
    at = total - draw(st.one_of(st.just(0), st.integers(0, total - 1)))
    return draw(st.integers(max(0, at - 3 * LIMIT), at - 1)), at, total


def span(request: PageRequest, total: int, order: Order | None) -> tuple[int, int]:
    return covered(page(request.number, request.size, total), total, order)


@given(given=wanted(), limit=st.integers(1, LIMIT), order=ORDERS)
def test_a_page_makes_progress_and_is_bounded(given: tuple[int, int, int], limit: int, order: Order) -> None:
    """Whatever is wanted, the page shows the topmost position of it, and is no larger than allowed."""
    lo, at, total = given
    request = page_at(lo, at, total=total, limit=limit, order=order)
    begin, end = span(request, total, order)
    assert 1 <= request.size <= limit
    assert begin < at <= end


@given(given=wanted(), limit=st.integers(1, LIMIT), order=ORDERS)
def test_no_other_page_does_better(given: tuple[int, int, int], limit: int, order: Order) -> None:
    """Of the pages with the topmost position none shows more of what is wanted, none as much with less.

    Less is: fewer records beside them, and half as important, a smaller page.
    """
    lo, at, total = given

    def score(request: PageRequest) -> tuple[int, int]:
        begin, end = span(request, total, order)
        return min(end, at) - max(begin, lo), 2 * (begin - end) - request.size

    chosen = page_at(lo, at, total=total, limit=limit, order=order)
    index = total - at if order is Order.DESC else at - 1
    others = [PageRequest(number=index // size + 1, size=size) for size in range(1, limit + 1)]
    assert score(chosen) == max(score(other) for other in others)


@settings(max_examples=300)
@given(given=wanted(), order=ORDERS)
def test_reading_downwards_costs_little_more_than_what_is_wanted(
    given: tuple[int, int, int], order: Order
) -> None:
    """Growth is read with less than one page beside it, in at most two pages more than the fewest."""
    lo, at, total = given
    count, read, pages = at - lo, 0, 0
    while at > lo:
        begin, end = span(
            page_at(max(lo, at - LIMIT), at, total=total, limit=LIMIT, order=order), total, order
        )
        read, pages, at = read + end - begin, pages + 1, max(lo, begin)
    assert read < count + LIMIT
    assert pages <= -(-count // LIMIT) + 2


def test_a_last_page_is_not_much_wider_than_what_it_shows() -> None:
    """One of 29 positions would show just the 14 records that are wanted; one of 22 shows 17."""
    assert page_at(1015, 1029, total=1029, limit=50, order=Order.ASC) == PageRequest(number=47, size=22)


@given(given=wanted())
def test_a_page_of_one_position_is_always_possible(given: tuple[int, int, int]) -> None:
    """With a limit of 1 exactly the topmost position is asked for, in either order."""
    _, at, total = given
    for order, number in ((Order.ASC, at), (Order.DESC, total - at + 1)):
        assert page_at(0, at, total=total, limit=1, order=order) == PageRequest(number=number, size=1)


@settings(max_examples=50)
@given(total=st.integers(1, 60), size=st.integers(1, 20), number=st.integers(1, 70), order=ORDERS)
def test_positions_are_counted_from_the_oldest(total: int, size: int, number: int, order: Order) -> None:
    """What a page covers is where its records lie among all, oldest first, whatever the order of pages."""
    world = World(order="asc" if order is Order.ASC else "desc", rows_decide=False)
    for second in range(total):
        world.add(RecordSpec(start=NOW + second), NOW)
    begin, end = covered(page(number, size, total), total, order)
    shown = {record.id for record in world.page(number, size).records}
    assert shown == {record.id for record in list(world)[begin:end]}


def test_an_unknown_order_is_taken_for_the_documented_one() -> None:
    """While the order is unknown, the newest record is looked for on the last page."""
    assert page_at(99, 100, total=100, limit=50, order=None) == PageRequest(number=100, size=1)
    assert covered(page(100, 1, 100), 100, None) == (99, 100)


def test_a_page_beyond_the_end_covers_nothing() -> None:
    """Positions that are gone since are not taken for empty ones."""
    assert covered(page(9, 10, 42), 42, Order.ASC) == (42, 42)
    assert covered(page(9, 10, 42), 42, Order.DESC) == (0, 0)
    assert covered(page(5, 10, 42), 42, Order.ASC) == (40, 42)


def test_the_probe_is_the_cheapest_question() -> None:
    """The total is asked for with one position of the first page, never a negative or large size."""
    assert PageRequest(number=1, size=1) == PROBE
