"""Makes life on the platform: jobs arrive, run and end. PURE: the caller says what time it is.

Everything happens in the order of its own time, so that the same seed gives the same world however
large the steps of `advance` are.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from exporter.simulator.jobs import BLINK, Job, JobMaker
from exporter.simulator.scenarios import Scenario
from exporter.simulator.world import World

_Action = Callable[[World, float], None]
HISTORY_GAP = 60.0  # seconds between the end of the history and now: nothing of it looks new


@dataclass(order=True, slots=True)
class _Event:
    at: float
    order: int
    action: _Action = field(compare=False)
    record_id: str = field(compare=False, default="")


class Traffic:
    """The jobs of a scenario over time; `rate` (jobs per second) overrides the scenario's."""

    def __init__(self, *, seed: int, scenario: Scenario, rate: float | None = None) -> None:
        self._maker = JobMaker(seed=seed, scenario=scenario)
        self._rng = random.Random(f"traffic-{seed}")
        self._rate = rate
        self._events: list[_Event] = []
        self._count = 0
        self._started = self._stopped = False
        self.change(scenario)

    def change(self, scenario: Scenario) -> None:
        """Go on with another scenario; what runs ends as it was to end."""
        self._maker.scenario = scenario if self._rate is None else replace(scenario, rate=self._rate)

    def advance(self, world: World, now: float) -> None:
        """Let everything happen that is due by `now`."""
        if not self._started:
            self._started = True
            self._next_arrival(now)
        while self._events and self._events[0].at <= now:
            event = heapq.heappop(self._events)
            self._happen(world, event, event.at)
        world.expire(now)

    def stop(self, world: World, now: float, *, drain: bool = False) -> None:
        """Let no more jobs arrive; with `drain` everything under way ends now."""
        self._started = self._stopped = True
        while drain and self._events:
            self._happen(world, heapq.heappop(self._events), now)

    def pending(self) -> int:
        """Tell how many events are still to come (0: the world is still)."""
        return sum(1 for event in self._events if event.record_id) if self._stopped else len(self._events)

    def history(self, world: World, count: int, now: float) -> None:
        """Put `count` finished jobs into the past, as many in a second as arrive now."""
        scenario = self._maker.scenario
        gap = 1 / max(scenario.rate, 0.01)
        for index in range(count):
            start = now - HISTORY_GAP - scenario.timeout - (count - index) * gap
            job = self._maker.draw(start)
            spec = replace(job.spec, start=start, execute="doing", rows=True)
            ends = start + (job.ends or scenario.run)
            world.finish(world.add(spec, start), job.result, ends, statuses=job.statuses, execute=job.execute)

    def _happen(self, world: World, event: _Event, now: float) -> None:
        if not event.record_id or event.record_id in world:  # what was deleted has no fate
            event.action(world, now)

    def _schedule(self, at: float, action: _Action, record_id: str = "") -> None:
        self._count += 1
        heapq.heappush(self._events, _Event(at, self._count, action, record_id))

    def _next_arrival(self, now: float) -> None:
        rate = self._maker.scenario.rate_at(now)
        if rate > 0:
            self._schedule(now + self._rng.expovariate(rate), self._arrive)

    def _arrive(self, world: World, now: float) -> None:
        if self._stopped:
            return
        self._next_arrival(now)
        job = self._maker.draw(now)
        spec = job.spec if job.spec.start is None else replace(job.spec, start=now + job.spec.start)
        self._fate(job, world.add(spec, now), now)

    def _fate(self, job: Job, record_id: str, now: float) -> None:
        def at(delay: float, action: _Action) -> None:
            self._schedule(now + delay, action, record_id)

        if job.doubles:
            at(0, lambda world, _: world.double_rows(record_id, job.doubles))
        if not job.spec.rows and job.rows_after is not None:
            at(job.rows_after, lambda world, _: world.give_rows(record_id))
        if job.begins is not None:
            at(job.begins, lambda world, _: world.begin(record_id))
        if job.partial is not None:
            early = dict(list(job.statuses.items())[::3])
            at(job.partial, lambda world, _: world.report_hosts(record_id, early))
        if job.ends is not None:
            self._ending(job, record_id, now, job.ends)

    def _ending(self, job: Job, record_id: str, now: float, ends: float) -> None:
        said = None if job.said_end is None else now + job.said_end
        early = {} if job.hosts_after else job.statuses

        def finish(world: World, moment: float) -> None:
            world.finish(record_id, job.result, moment, statuses=early, execute=job.execute, end=said)

        def report(world: World, _: float) -> None:
            world.report_hosts(record_id, job.statuses)

        self._schedule(now + ends, finish, record_id)
        reports = now + ends + job.hosts_after
        if job.hosts_after:
            self._schedule(reports, report, record_id)
        if job.blink is not None:
            keep = job.blink
            self._schedule(reports, lambda world, _: world.blink(record_id, keep=keep), record_id)
            self._schedule(reports + BLINK, lambda world, _: world.unblink(record_id), record_id)
