"""Zero first: a sample that is held is shown at 0, or as it was carried over, until its time has come."""

import pytest

from exporter.metrics.exposition import Exposition
from exporter.model import Sample, Snapshot
from tests.harness.metrics import (
    A_FAIL,
    BY_NAME,
    DURATION,
    OPENMETRICS,
    counters,
    host,
    line,
    observed,
    show,
    shown,
)


def at(time: float, *snapshots: Snapshot) -> Snapshot:
    """Put counters together into a snapshot whose durable ledger time is `time`."""
    return Snapshot(
        counters={key: value for one in snapshots for key, value in one.counters.items()}, time=time
    )


@pytest.mark.parametrize(
    ("time", "value"), [(99.0, "0.0"), (100.0, "0.0"), (159.999, "0.0"), (160.0, "3.0"), (1e6, "3.0")]
)
def test_a_newborn_series_is_zero_while_it_is_held(time: float, value: str) -> None:
    """A series is shown at 0 until a snapshot carries the time of its release."""
    assert line(shown(at(time, counters(host("a"), value=3.0, held_until=160.0))), A_FAIL) == value


def test_a_series_that_was_carried_over_is_held_at_what_it_had() -> None:
    """New labels make a new series: what it counts next is an increase on what it had."""
    carried = Snapshot(
        counters={host("a"): Sample(value=9.0, born=1.0, held_until=160.0, held_at=7.0)}, time=100.0
    )
    exposition = Exposition()
    exposition.show(carried)
    assert line(show(exposition), A_FAIL) == "7.0"
    exposition.show(at(160.0, carried))
    assert line(show(exposition), A_FAIL) == "9.0"


def test_two_observers_see_the_same_whoever_scrapes_more() -> None:
    """A hold ends by a new snapshot, so the frequency of scrapes makes no difference."""
    busy, idle = Exposition(), Exposition()
    for second in range(100, 175):
        for exposition in (busy, idle):
            exposition.show(at(float(second), counters(host("a"), held_until=160.0)))
        show(busy)
        if second % 25 == 0:
            assert show(busy) == show(idle)


def test_increments_during_the_hold_show_when_it_ends() -> None:
    """What is counted while a series is held is shown with it, not held again."""
    exposition = Exposition()
    exposition.show(at(100.0, counters(host("a"), value=1.0, held_until=160.0)))
    exposition.show(at(159.0, counters(host("a"), value=7.0, held_until=160.0)))
    assert line(show(exposition), A_FAIL) == "0.0"
    exposition.show(at(160.0, counters(host("a"), value=7.0, held_until=160.0)))
    assert line(show(exposition), A_FAIL) == "7.0"


def test_each_series_has_its_own_hold() -> None:
    """Series that were born one after the other are shown one after the other."""
    exposition = Exposition()
    older, younger = counters(host("a"), held_until=160.0), counters(host("b"), held_until=190.0)
    exposition.show(at(130.0, younger))
    exposition.show(at(170.0, younger, older))
    assert line(show(exposition), A_FAIL) == "1.0"
    assert line(show(exposition), A_FAIL.replace('"a"', '"b"')) == "0.0"
    exposition.show(at(190.0, younger, older))
    assert line(show(exposition), A_FAIL.replace('"a"', '"b"')) == "1.0"


def test_series_of_the_process_are_never_held() -> None:
    """What the process counts itself is shown at its value at once."""
    assert line(shown(at(10.0, counters(host("a"), held_until=0.0))), A_FAIL) == "1.0"


def test_a_held_histogram_is_zero_as_a_whole() -> None:
    """All buckets, count and sum of a newborn histogram are 0 without exemplars, then all are shown."""
    exposition = Exposition()
    newborn = Snapshot(counters=observed(160.0, **{"5.0": 2, "sum": 8.0}))
    exposition.show(at(159.0, newborn))
    held = show(exposition, accept=OPENMETRICS)
    lines = [line.rsplit(" ", 1)[1] for line in held.splitlines() if line.startswith(DURATION)]
    assert lines == ["0.0"] * (len(BY_NAME[DURATION].buckets) + 3)
    exposition.show(at(160.0, newborn))
    free = show(exposition, accept=OPENMETRICS)
    assert line(free, DURATION + '_sum{result_status="fail"}') == "8.0"
    assert line(free, DURATION + '_count{result_status="fail"}') == "2.0"
    assert '# {record_id="r1"}' in free


def test_a_new_bucket_of_an_old_histogram_is_not_held() -> None:
    """A bucket was exposed at 0 with its histogram, so that its first observation shows at once."""
    exposition = Exposition()
    first = Snapshot(counters=observed(160.0, **{"5.0": 1, "sum": 4.0}))
    exposition.show(at(200.0, first))
    second = Snapshot(counters=observed(261.0, **{"10.0": 1}))
    exposition.show(at(202.0, first, second))
    assert line(show(exposition), DURATION + '_count{result_status="fail"}') == "2.0"


def test_a_value_once_shown_is_not_taken_back() -> None:
    """No later snapshot makes a counter fall to 0, which would count its value twice in a rate."""
    exposition = Exposition()
    for time in (161.0, 110.0):
        exposition.show(at(time, counters(host("a"), held_until=160.0)))
        assert line(show(exposition), A_FAIL) == "1.0"
