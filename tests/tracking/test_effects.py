"""What a record moved goes into a short text, and comes out of it as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from tests.harness.core import series

FINISHED = series("job_records_finished_total", result_status="fail")
HOSTS = series("job_record_hosts", part="sum")
NUMBERS = {FINISHED: 3, HOSTS: 18}

several = st.lists(
    st.tuples(
        st.integers(1, 30).map(lambda number: series("job_host_results_total", idc=str(number))),
        st.one_of(st.integers(0, 10**6).map(float), st.floats(0, 1e6)),
    )
)


def test_the_text_is_short() -> None:
    """A one needs no number, a whole number no point."""
    increments = [Increment(series=FINISHED), Increment(series=HOSTS, value=12.0)]
    assert effects.written(increments, NUMBERS) == "3,18:12"
    assert effects.written([Increment(series=HOSTS, value=3.217)], NUMBERS) == "18:3.217"
    assert effects.written([], NUMBERS) == ""


def test_what_moves_one_series_twice_adds_up() -> None:
    """As it does in the counters."""
    text = effects.written([Increment(series=FINISHED), Increment(series=FINISHED, value=2.0)], NUMBERS)
    assert effects.read(text, {3: FINISHED}) == {FINISHED: 3.0}


@given(several)
def test_what_was_written_is_read_as_it_was(given_: list[tuple[Series, float]]) -> None:
    """To the last bit, an increment by nothing too."""
    increments = [Increment(series=one, value=value) for one, value in given_]
    sums: dict[Series, float] = {}
    for one, value in given_:
        sums[one] = sums.get(one, 0.0) + value
    numbers = effects.unnumbered(increments, {})
    text = effects.written(increments, numbers)
    assert effects.read(text, {number: one for one, number in numbers.items()}) == sums


def test_a_number_is_never_given_twice() -> None:
    """Those of new series go on behind the highest; what has one keeps it."""
    first = effects.unnumbered([Increment(series=FINISHED), Increment(series=FINISHED)], {})
    assert first == {FINISHED: 1}
    assert effects.unnumbered([Increment(series=HOSTS), Increment(series=FINISHED)], first) == {HOSTS: 2}


@pytest.mark.parametrize("text", ["x", "3,", "99", "3:much"])
def test_what_was_never_written_is_an_error(text: str) -> None:
    """A damaged row is not taken for a proof."""
    with pytest.raises((ValueError, KeyError)):
        effects.read(text, {3: FINISHED})
