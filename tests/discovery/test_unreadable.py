"""Positions that can't be read: when they are tried again."""

from dataclasses import replace

from exporter.discovery.order import Ends
from exporter.discovery.pages import Order, PageRequest
from exporter.discovery.tail import Tail, Unreadable
from exporter.discovery.unreadable import readable, registered
from exporter.model import Clock
from tests.harness.core import NOW

TAIL = Tail(total=100, last_total=100, ends=Ends(order=Order.ASC))


def failing(*positions: int) -> Tail:
    tail, clock = TAIL, Clock(now=NOW, wall=NOW, platform=NOW)
    for position in positions:
        request = PageRequest(number=position + 1, size=1)
        tail = registered(tail, request, clock=clock, interval=15.0, reason="500")
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
