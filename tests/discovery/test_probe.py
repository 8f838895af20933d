"""Which record the probe asks for."""

from exporter.discovery.pages import Order
from exporter.discovery.probe import CANDIDATES, LIGHT, Probe, weighed
from tests.harness.core import item, page


def asked(sizes: dict[int, int], probes: int, order: Order = Order.ASC) -> list[int]:
    """The pages asked for, one a poll, where the first records have these sizes."""
    probe, numbers = Probe(), []
    for _ in range(probes):
        numbers.append(probe.number)
        size = sizes.get(probe.number, 400)
        probe = weighed(probe, page(probe.number, 1, 100, item("r")), size, order)
    return numbers


def test_a_light_record_is_asked_for_again_and_again() -> None:
    """The oldest one, as a rule."""
    assert asked({1: LIGHT}, 4) == [1, 1, 1, 1]


def test_past_heavy_records_a_light_one_is_looked_for() -> None:
    """And stays the one that is asked for."""
    assert asked({1: 490_000, 2: LIGHT + 1}, 6) == [1, 2, 3, 3, 3, 3]


def test_where_all_are_heavy_the_lightest_is_asked_for() -> None:
    """Until it becomes much heavier."""
    heavy = {number: 900_000 - 100_000 * number for number in range(1, CANDIDATES)} | {CANDIDATES: 800_000}
    assert asked(heavy, 8) == [1, 2, 3, 4, 3, 3, 3, 3]
    probe = Probe(number=3, sizes=(800_000, 700_000, 600_000, 800_000))
    assert weighed(probe, page(3, 1, 100, item("r")), 1_300_000, Order.ASC) == Probe()


def test_newest_first_nothing_is_looked_for() -> None:
    """The first record changes all the time."""
    assert asked({1: 490_000}, 4, Order.DESC) == [1, 1, 1, 1]


def test_another_record_is_asked_for_where_one_fails() -> None:
    """Two others, of the first few."""
    assert [other.number for other in Probe(number=4).alternatives] == [1, 2]
