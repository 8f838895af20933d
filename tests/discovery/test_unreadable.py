"""Positions that can't be read: when they are tried again."""

from exporter.discovery.unreadable import Unreadable, readable, registered
from tests.harness.core import NOW


def failing(*positions: int, now: float = NOW) -> tuple[Unreadable, ...]:
    known: tuple[Unreadable, ...] = ()
    for position in positions:
        known = registered(known, position, now=now, interval=15.0, reason="500", is_missing=False)
    return known


def test_one_that_becomes_readable_makes_the_others_due_in_the_next_poll() -> None:
    """Not in the same one, where they may have failed a moment ago."""
    known = readable(failing(3, 7, 9), 7, 8, now=NOW + 1)
    assert [item.position for item in known] == [3, 9]
    assert {item.due for item in known} == {NOW + 15}
    (later,) = readable(failing(3, 9), 9, 10, now=NOW + 5000)
    assert later.due <= NOW + 5000


def test_what_is_due_earlier_stays_due() -> None:
    """A page that was read puts nothing off."""
    (item,) = readable(
        (Unreadable(position=3, due=NOW - 5, soonest=NOW), Unreadable(position=9, due=NOW)), 9, 10, now=NOW
    )
    assert item.due == NOW - 5
