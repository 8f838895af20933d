"""What finding records costs the platform: requests of a poll, pages priced as measured on a large one."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.jobapi.client import PageCost
from exporter.model import Page
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, Life, MoodyApi, life

LAG = 30.0  # seconds by which one of two database copies is behind
DEEP = 2.0  # seconds that the database takes for a page of 300,000 records, however wide
EACH = 0.004  # and for each record on it


def old(count: int) -> Callable[[World], None]:
    """So many records, the last one an hour ago."""

    def prepare(world: World) -> None:
        for number in range(count):
            start = NOW - 3600 - 20 * (count - number)
            world.finish(world.add(RecordSpec(hosts=HOSTS[:1], start=start), start), "success", start + 5)

    return prepare


class TwoCopies:
    """A platform behind a balancer: each second request meets a copy that is 30 s behind."""

    def __init__(self, its: Life) -> None:
        self.its, self.requests = its, 0
        self.pending: deque[tuple[float, str]] = deque()  # when a record came, and which
        api = its.api

        async def page(number: int, size: int, **how: Any) -> tuple[Page, PageCost]:
            self.requests += 1
            if self.requests % 2:
                return await MoodyApi.page(api, number, size, **how)
            young = {id_ for at, id_ in self.pending if at > its.clock.now - LAG}
            view = its.world._sorted
            its.world._sorted = [record for record in view if record.id not in young]
            try:
                return await MoodyApi.page(api, number, size, **how)
            finally:
                its.world._sorted = view

        api.page = page  # type: ignore[method-assign]


def test_two_copies_of_which_one_lags_cost_few_requests(tmp_path: Path) -> None:
    """One record a minute: a poll takes three requests on average, look-ups included; all count."""
    with life(tmp_path, prepare=old(2000)) as its:
        copies = TwoCopies(its)
        its.poll(8)
        its.api.asked.clear()
        polls, ended = 240, set()
        for number in range(polls):
            if number % 4 == 0:
                record = its.ran()
                copies.pending.append((its.clock.now, record))
                ended.add(record)
            its.poll()
        requests = sum(its.api.asked.values())
        its.poll(8)
        assert its.daemon.settled() == ended
        assert requests / polls <= 3.0


class Busy:
    """Ten jobs a second on a platform with 300,000 records; pages are priced as measured there."""

    def __init__(self, its: Life) -> None:
        self.its, self.taken = its, 0.0
        self.ended: list[str] = []
        self._come_until = its.clock.now
        api = its.api

        async def page(number: int, size: int, **how: Any) -> tuple[Page, PageCost]:
            answer, cost = await MoodyApi.page(api, number, size, **how)
            if size == 1:
                return answer, cost
            seconds = DEEP + EACH * len(answer.items)
            self.taken += seconds
            its.clock.now += seconds
            self.come()
            return answer, PageCost(seconds=seconds, size=cost.size)

        async def sleep(seconds: float) -> None:
            its.clock.now += seconds
            self.come()

        api.page = page  # type: ignore[method-assign]
        its.daemon.poller._sleep = sleep
        its.daemon.budget = 100_000

    def come(self) -> None:
        """Records that came since the last time."""
        while self._come_until + 0.1 <= self.its.clock.now:
            self._come_until += 0.1
            record = self.its.world.add(RecordSpec(hosts=HOSTS[:1]), self._come_until)
            self.its.world.finish(record, "success", self._come_until + 1)
            self.ended.append(record)

    def poll(self) -> None:
        """Poll; the next poll is an interval later at the earliest."""
        next_at = self.its.clock.now + 15
        self.its.clock.now -= 15  # the daemon's polls begin an interval later
        self.its.poll()
        self.its.clock.now = max(self.its.clock.now, next_at)
        self.come()


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_ten_jobs_a_second_count_within_the_duty(order: Any, tmp_path: Path) -> None:
    """Pages of 2.0 s and 4 ms a record: all are counted, in a tenth of the time."""
    with life(tmp_path, prepare=old(3000), order=order) as its:
        busy = Busy(its)
        began, behind = its.clock.now, list[int]()
        while its.clock.now < began + 1500:
            busy.poll()
            behind.append(len(busy.ended) - len(its.daemon.settled()))
        assert max(behind) <= 10 * 150  # they count two minutes and a half after they began, at most
        sweep = 0.01
        assert busy.taken <= (0.1 + sweep) * (its.clock.now - began) + 60
