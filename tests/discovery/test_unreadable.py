"""Positions that can't be read: when they are tried again."""

from dataclasses import replace

from exporter.discovery.gaps import open_gap
from exporter.discovery.order import Ends
from exporter.discovery.pages import Order, PageRequest
from exporter.discovery.reading import read
from exporter.discovery.tail import Tail, Unreadable
from exporter.discovery.unreadable import readable, registered
from exporter.model import Clock
from tests.harness.core import NOW, item, page

TAIL = Tail(total=100, last_total=100, ends=Ends(order=Order.ASC))
CLOCK = Clock(now=NOW, wall=NOW, platform=NOW)


def failing(*positions: int, tail: Tail = TAIL) -> Tail:
    for position in positions:
        request = PageRequest(number=position + 1, size=1)
        tail = registered(tail, request, clock=CLOCK, interval=15.0, reason="500")
    return tail


def left(tail: Tail, lo: int, hi: int, *, now: float) -> tuple[Unreadable, ...]:
    """Those that a page over these positions leaves."""
    return readable(tail, lo, hi, now=now)[0].unreadable


def test_one_that_becomes_readable_makes_the_others_due_in_the_next_poll() -> None:
    """Not in the same one, where they may have failed a moment ago."""
    known = left(failing(3, 7, 9), 7, 8, now=NOW + 1)
    assert [item.position for item in known] == [3, 9]
    assert {item.due for item in known} == {NOW + 15}
    (later,) = left(failing(3, 9), 9, 10, now=NOW + 5000)
    assert later.due <= NOW + 5000


def test_what_is_due_earlier_stays_due() -> None:
    """A page that was read puts nothing off."""
    items = (Unreadable(position=3, due=NOW - 5, soonest=NOW), Unreadable(position=9, due=NOW))
    (item,) = left(replace(TAIL, unreadable=items), 9, 10, now=NOW)
    assert item.due == NOW - 5


GROWN = replace(TAIL, gaps=(replace(open_gap(97, 100, missing=2, now=NOW), anchor=1, after=NOW - 15),))


def test_growth_is_still_missing_if_a_known_record_lies_there_now() -> None:
    """A record that came elsewhere moved the positions: what is shown there explains no growth."""
    after = read(failing(99, tail=GROWN), page(100, 1, 100, item("a")), {"a"}, clock=CLOCK).tail
    assert (after.missing, after.unreadable) == (2, ())
    # It explains the next record without a start, wherever that lies.
    (fresh,) = read(after, page(1, 1, 100, item("b", None)), set(), clock=CLOCK).fresh
    assert fresh.is_grown


def test_growth_is_found_when_its_position_can_be_read() -> None:
    """A new record lies there."""
    reading = read(failing(99, tail=GROWN), page(100, 1, 100, item("b")), set(), clock=CLOCK)
    assert (reading.tail.missing, [one.is_grown for one in reading.fresh]) == (1, [True])
