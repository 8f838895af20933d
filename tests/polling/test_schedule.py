"""When polls begin, whatever the machine's clock does."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.schedule import FixedIntervalTrigger, Timer

MOMENTS = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(before=MOMENTS, now=MOMENTS, seconds=st.floats(0.1, 3600))
def test_the_next_time_is_never_one_that_has_passed(before: datetime, now: datetime, seconds: float) -> None:
    """Runs that time ran over are left out at once, not one by one; else they keep their pace."""
    following = FixedIntervalTrigger(seconds).get_next_fire_time(before, now)
    interval = timedelta(seconds=seconds)
    assert following > now
    assert following == (before + interval if before + interval > now else now + interval)
    assert FixedIntervalTrigger(seconds).get_next_fire_time(None, now) == now


@pytest.mark.parametrize("steps", range(8))
async def test_stopped_at_any_step_it_cancels_nothing_and_logs_nothing(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However near a call is to its begin, or to its end, it goes on to that; none comes after."""
    calls: list[str] = []

    async def action() -> None:
        calls.append("began")
        await asyncio.sleep(0)
        calls.append("ended")

    timer = Timer(action, interval=0.01)
    with caplog.at_level(logging.WARNING):
        timer.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        timer.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        settled = list(calls)
        await asyncio.sleep(0.05)
    assert calls == settled
    assert calls in ([], ["began", "ended"])
    assert not caplog.records
