"""When polls begin, whatever the machine's clock does."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from exporter.timer import Steadily

MOMENTS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(before=MOMENTS, now=MOMENTS, seconds=st.floats(0.1, 3600))
def test_the_next_time_is_never_one_that_has_passed(before: datetime, now: datetime, seconds: float) -> None:
    """Runs that time ran over are left out at once, not one by one; else they keep their pace."""
    following = Steadily(seconds).get_next_fire_time(before, now)
    interval = timedelta(seconds=seconds)
    assert following > now
    assert following == (before + interval if before + interval > now else now + interval)
    assert Steadily(seconds).get_next_fire_time(None, now) == now
