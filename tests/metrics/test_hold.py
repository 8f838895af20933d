"""Zero first: a newborn label set is shown at 0 for a while, by the clock."""

import pytest

from exporter.metrics.exposition import Exposition
from exporter.model import Snapshot
from tests.harness.metrics import (
    A_FAIL,
    BY_NAME,
    DURATION,
    HOLD,
    OPENMETRICS,
    counters,
    host,
    line,
    observed,
    show,
    shown,
)


@pytest.mark.parametrize(
    ("now", "value"), [(99.0, "0.0"), (100.0, "0.0"), (159.999, "0.0"), (160.0, "3.0"), (1e6, "3.0")]
)
def test_a_newborn_series_is_zero_for_the_hold(now: float, value: str) -> None:
    """A series is shown at 0 until zero-hold after its birth, then at its value."""
    assert line(shown(counters(host("a"), value=3.0, born=100.0), now=now), A_FAIL) == value


def test_two_observers_see_the_same_whoever_scrapes_more() -> None:
    """The hold goes by the clock: an observer that scraped every second sees what one sees that never did."""
    busy, idle = Exposition(zero_hold=HOLD), Exposition(zero_hold=HOLD)
    snapshot = counters(host("a"), born=100.0)
    for exposition in (busy, idle):
        exposition.publish(snapshot)
    for second in range(100, 175):
        show(busy, now=float(second))
        if second % 25 == 0:
            assert show(busy, now=float(second)) == show(idle, now=float(second))


def test_increments_during_the_hold_show_when_it_ends() -> None:
    """What is counted while a series is held is shown with it, not held again."""
    exposition = Exposition(zero_hold=HOLD)
    exposition.publish(counters(host("a"), value=1.0, born=100.0))
    exposition.publish(counters(host("a"), value=7.0, born=100.0))
    assert line(show(exposition, now=159.0), A_FAIL) == "0.0"
    assert line(show(exposition, now=160.0), A_FAIL) == "7.0"


def test_each_series_has_its_own_hold() -> None:
    """Series that were born one after the other are shown one after the other."""
    exposition = Exposition(zero_hold=HOLD)
    exposition.publish(counters(host("b"), born=130.0))
    older = counters(host("a"), born=100.0).counters
    exposition.publish(Snapshot(counters={**counters(host("b"), born=130.0).counters, **older}))
    text = show(exposition, now=170.0)
    assert line(text, A_FAIL) == "1.0"
    assert line(text, A_FAIL.replace('"a"', '"b"')) == "0.0"
    assert line(show(exposition, now=190.0), A_FAIL.replace('"a"', '"b"')) == "1.0"


def test_series_without_a_birth_are_never_held() -> None:
    """What the process counts itself (born 0) is shown at its value at once, whatever the clock says."""
    assert line(shown(counters(host("a"), born=0.0), now=10.0), A_FAIL) == "1.0"


def test_a_held_histogram_is_zero_as_a_whole() -> None:
    """All buckets, count and sum of a newborn histogram are 0 without exemplars, then all are shown."""
    exposition = Exposition(zero_hold=HOLD)
    exposition.publish(Snapshot(counters=observed(100.0, **{"5.0": 2, "sum": 8.0})))
    held = show(exposition, accept=OPENMETRICS, now=159.0)
    lines = [line.rsplit(" ", 1)[1] for line in held.splitlines() if line.startswith(DURATION)]
    assert lines == ["0.0"] * (len(BY_NAME[DURATION].buckets) + 3)
    free = show(exposition, accept=OPENMETRICS, now=160.0)
    assert line(free, DURATION + '_sum{result_status="fail"}') == "8.0"
    assert line(free, DURATION + '_count{result_status="fail"}') == "2.0"
    assert '# {record_id="r1"}' in free


def test_a_new_bucket_of_an_old_histogram_is_not_held() -> None:
    """A bucket was exposed at 0 with its histogram, so that its first observation shows at once."""
    exposition = Exposition(zero_hold=HOLD)
    first = observed(100.0, **{"5.0": 1, "sum": 4.0})
    exposition.publish(Snapshot(counters=first))
    show(exposition, now=200.0)
    exposition.publish(Snapshot(counters={**first, **observed(201.0, **{"10.0": 1})}))
    assert line(show(exposition, now=202.0), DURATION + '_count{result_status="fail"}') == "2.0"


def test_a_value_once_shown_is_not_taken_back_with_the_clock() -> None:
    """A clock that is set back makes no counter fall to 0, which would count its value twice in a rate."""
    exposition = Exposition(zero_hold=HOLD)
    exposition.publish(counters(host("a"), born=100.0))
    assert line(show(exposition, now=161.0), A_FAIL) == "1.0"
    assert line(show(exposition, now=110.0), A_FAIL) == "1.0"


def test_a_birth_far_ahead_of_the_clock_is_not_held_for_hours() -> None:
    """A series that was born while the clock was an hour ahead is shown, not held until that hour comes."""
    assert line(shown(counters(host("a"), born=3700.0), now=100.0), A_FAIL) == "1.0"
