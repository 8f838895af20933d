"""Starts polls at a fixed interval by the monotonic clock, although APScheduler uses the wall clock.

Without this, APScheduler would pause for an hour if the wall clock is set back by an hour. If the clock is
set forward, as on a machine that boots in 1970 and then syncs, it would list all missed runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger


class Timer:
    """From `start` on, calls `act` at once and every `interval` seconds; calls never overlap."""

    def __init__(self, act: Callable[[], Awaitable[None]], *, interval: float) -> None:
        self._act, self._interval = act, interval
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start calling `act`."""
        job = self._scheduler.add_job(
            self._act,
            FixedIntervalTrigger(self._interval),
            next_run_time=datetime.now(UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        self._scheduler.start()
        self._watching = asyncio.create_task(self._watch(job))

    def stop(self) -> None:
        """Stop starting calls; a running call continues.

        Does not use `shutdown`: it cancels a call that is about to start and logs an error.
        """
        if self._watching is not None:
            self._watching.cancel()
            self._scheduler.pause()

    async def _watch(self, job: Job) -> None:
        """Check, by the clock of the event loop, whether the next call has moved too far into the future."""
        interval = timedelta(seconds=self._interval)
        while True:
            await asyncio.sleep(self._interval)
            now = datetime.now(UTC)
            if job.next_run_time > now + interval:
                job.modify(next_run_time=now)


class FixedIntervalTrigger(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Fires an interval after the last run, or after now if that is in the past; missed runs are skipped."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next run; after `now`, except for the first run."""
        if previous_fire_time is None:
            return now
        following = previous_fire_time + self._interval
        return following if following > now else now + self._interval
