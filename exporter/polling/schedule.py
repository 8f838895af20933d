"""When polls begin: an interval apart by the clock that nobody sets, though APScheduler goes by the other.

Left to itself, APScheduler does nothing for an hour when the clock is set back by one; when it is set ahead,
as where a machine starts in 1970 and then hears the time, it makes a list of all runs in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger


class Timer:
    """Calls `act` now and each `interval` seconds, from `start` on; not while an earlier call goes on."""

    def __init__(self, act: Callable[[], Awaitable[None]], *, interval: float) -> None:
        self._act, self._interval = act, interval
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
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
        """Call no more; what is going on goes on.

        Not `shutdown`: that cancels a call that was just about to begin, and logs an error for it.
        """
        if self._watching is not None:
            self._watching.cancel()
            self._scheduler.pause()

    async def _watch(self, job: Job) -> None:
        """Look, by the clock of the event loop, for a next call that has moved away."""
        interval = timedelta(seconds=self._interval)
        while True:
            await asyncio.sleep(self._interval)
            now = datetime.now(UTC)
            if job.next_run_time > now + interval:
                job.modify(next_run_time=now)


class FixedIntervalTrigger(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """An interval after the last time, or after now where that has passed: what time ran over is left out."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Give the next time, always after `now` but for the first."""
        if previous_fire_time is None:
            return now
        following = previous_fire_time + self._interval
        return following if following > now else now + self._interval
