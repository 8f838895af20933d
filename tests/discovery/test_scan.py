"""The way down the pages: whatever goes on meanwhile, what was there at the start is shown."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.discovery.pages import Order, PageRequest, Weights
from exporter.discovery.scan import Walk, heavy, next_page, read, share, skipped
from exporter.model import Page, PageItem
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order as WorldOrder
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW

ORDERS: dict[WorldOrder, Order] = {"asc": Order.ASC, "desc": Order.DESC}


def world(records: int, order: WorldOrder = "asc") -> World:
    """A platform with one record a minute."""
    made = World(order=order)
    for number in range(records):
        at = NOW + 60 * number
        made.add(RecordSpec(id=f"{number:04}", hosts=HOSTS[:1], start=at), at)
    return made


def begun(of: World, **changes: object) -> Walk:
    weights = Weights(widest=50, record_bytes=100.0)
    return Walk(total=len(of), order=ORDERS[of.order], at=len(of), weights=weights, **changes)  # type: ignore[arg-type]


def shown(of: World, request: PageRequest) -> Page:
    view = of.page(request.number, request.size)
    items = tuple(PageItem(id=record.id, start=record.start) for record in view.records)
    return Page(number=request.number, size=request.size, total=view.total, items=items)


def step(of: World, walk: Walk, limit: int, *, oldest: float = 0.0) -> tuple[Walk, list[str]]:
    """Read the next page; the walk after it, and the ids that it showed."""
    page = shown(of, next_page(walk, limit=limit))
    starts = [item.start for item in page.items]
    return read(walk, page, size=1000, starts=starts, oldest=oldest), [item.id for item in page.items]


@given(
    order=st.sampled_from(["asc", "desc"]),
    records=st.integers(1, 300),
    limit=st.integers(1, 50),
    growth=st.integers(0, 3),
    late=st.booleans(),
    gone=st.integers(0, 2),
)
def test_nothing_is_passed_over(
    *, order: WorldOrder, records: int, limit: int, growth: int, late: bool, gone: int
) -> None:
    """Though records begin and old ones are deleted between any two pages; and it comes to an end."""
    platform = world(records, order)
    walk, seen = begun(platform), set[str]()
    there = {record.id for record in platform}
    for number in range(20 * records + 20):
        if walk.done:
            break
        walk, ids = step(platform, walk, limit)
        seen.update(ids)
        for one in range(min(growth, limit // 4)):
            at = NOW + 60 * (records - (1 if late and one == 0 else 0)) + number
            platform.add(RecordSpec(id=f"new {number} {one}", hosts=HOSTS[:1], start=at), at)
        platform.delete_oldest(min(gone, len(platform) - 1))
        there &= {record.id for record in platform} | seen
    assert walk.done
    assert there <= seen


def test_each_page_goes_on_below_the_last_however_small_it_is() -> None:
    """Pages begin at multiples of their size: what is read twice must not keep it where it is."""
    for limit in range(1, 13):
        for total in range(1, 60):
            platform = world(total)
            walk = begun(platform)
            while not walk.done:
                before = walk.at
                walk, _ = step(platform, walk, limit)
                assert walk.at < before or walk.done, (limit, total, before)


def test_it_ends_where_all_is_older_than_wanted() -> None:
    """At the first page that shows such a record."""
    platform = world(300)
    walk, pages = begun(platform), 0
    while not walk.done:
        walk, _ = step(platform, walk, 50, oldest=NOW + 60 * 220)
        pages += 1
    assert walk.reached is not None
    assert walk.reached < NOW + 60 * 220
    assert pages <= 3


def test_positions_that_show_nothing_are_counted() -> None:
    """A record without host rows takes one."""
    platform = world(30)
    platform.add(RecordSpec(hosts=HOSTS[:1], start=NOW + 90, rows=False), NOW)
    walk = begun(platform)
    while not walk.done:
        walk, _ = step(platform, walk, 50)
    assert (walk.records, walk.hidden) == (30, 1)


def test_a_page_that_no_longer_reaches_up_is_asked_for_again() -> None:
    """Where the newest come first, a deletion above moves what is unread out of its reach."""
    platform = world(300, "desc")
    walk = begun(platform)
    for _ in range(3):
        walk, _ = step(platform, walk, 50)
    request = next_page(walk, limit=50)
    platform.delete([record.id for record in platform][-20:])
    after = read(walk, shown(platform, request), size=1000)
    assert (after.at, after.done, after.total) == (walk.at, False, 280)


def test_what_is_too_heavy_is_asked_for_in_halves_or_skipped() -> None:
    """A single record that is too large is passed over."""
    for order in ORDERS:
        walk = begun(world(100, order))
        first = next_page(walk, limit=50)
        walk = heavy(walk, first)
        assert next_page(walk, limit=50).size <= first.size // 2
        top = PageRequest(number=100 if order == "asc" else 1, size=1)
        assert skipped(walk, top).at == 99


def test_how_far_it_is_goes_by_the_end_that_is_nearer() -> None:
    """The oldest record, or the time before which nothing is read; from nothing to all of it."""
    walk = begun(world(10))
    assert share(walk, newest=100.0, oldest=0.0) == 0.0
    assert share(begun(world(10), reached=25.0), newest=100.0, oldest=0.0) == 0.75
    assert share(begun(world(10), done=True), newest=100.0, oldest=0.0) == 1.0
    half, _ = step(world(100), begun(world(100)), 50)
    assert share(half, newest=NOW + 1e6, oldest=0.0) == 0.5
    assert share(half, newest=NOW + 60 * 100, oldest=NOW + 60 * 40) > 0.8


def test_growth_keeps_no_walk_from_the_oldest_record() -> None:
    """Where the newest come first, each new record moves what a page shows; the last one is reached still."""
    platform = world(197, "desc")
    walk = begun(platform)
    for number in range(400):
        if walk.done:
            break
        walk, _ = step(platform, walk, 4)
        platform.add(RecordSpec(id=f"new {number}", hosts=HOSTS[:1], start=NOW + 1e6 + number), NOW)
    assert walk.done
