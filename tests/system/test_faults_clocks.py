"""Clocks that jump, ours and that of a zone with summer time: what is counted is the truth all the same."""

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.jobapi import decoder
from exporter.jobapi.client import PageCost
from exporter.ledger.state import KEPT_SETTLED
from exporter.metrics.exposition import Exposition
from exporter.model import MAX_AHEAD, Page, Record
from exporter.polling.config import PollConfig
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order, World
from tests.harness.core import HOSTS, Life, MoodyApi, life
from tests.harness.inprocess import RULES, Clock, Daemon

HOUR, DAY = 3600.0, 86_400.0
JUMPS = pytest.mark.parametrize(
    "jump", [-400 * DAY, -DAY, -HOUR, -30.0, 30.0, HOUR, DAY, 400 * DAY], ids=lambda jump: f"{jump:+.0f}s"
)


def set_clock(its: Life, ahead: float, *, told: bool = True) -> None:
    """Set our clock so far ahead of the platform's, which tells its time or not (`told`)."""
    its.clock.set_ahead = ahead
    its.api.clock_skew = -ahead if told else None


def counted_all(its: Life, new: set[str]) -> bool:
    assert its.daemon.settled() == new
    assert its.finished == its.daemon.value("job_records_discovered_total") == len(new)
    return its.is_true()


# -- ours


@JUMPS
@pytest.mark.parametrize("told", [True, False], ids=["Date", "no-Date"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_our_clock_jumps_and_back_again(jump: float, told: bool, restarted: bool, tmp_path: Path) -> None:
    """Amid records that run, end and wait for rows; also while the exporter is down."""
    with life(tmp_path, past=100) as its:
        its.clock.now += 5 * HOUR  # a jump back must not lead before the beginning, which is another fault
        new: set[str] = set()
        running = [its.add(timeout=9000) for _ in range(6)]
        hidden = its.add(rows=False)
        for ahead in (0.0, jump, 0.0):
            set_clock(its, ahead, told=told)
            if restarted:
                its.daemon.restart()
            for _ in range(5):
                new.add(its.ran("fail"))
                its.poll()
            for record in (running.pop(), running.pop()):
                its.end(record)
                new.add(record)
            its.poll(6)
            assert new <= its.daemon.settled()
        its.world.give_rows(hidden)
        its.end(hidden)
        its.poll(25)
        # Without a Date header our clock stands for the platform's: ends after it observe no duration.
        if told or jump > -MAX_AHEAD:
            assert counted_all(its, new | {hidden})
        assert its.daemon.settled() == new | {hidden}
        assert its.daemon.gauge("job_exporter_platform_up") == 1


@pytest.mark.parametrize("told", [True, False], ids=["Date", "no-Date"])
@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY], ids=["behind", "ahead"])
def test_pruning_while_our_clock_is_a_year_off(jump: float, told: bool, tmp_path: Path) -> None:
    """More ids than are kept in any case, settled or pruned by a wrong clock: each counts once."""
    with life(tmp_path, past=0) as its:
        new = {its.ran() for _ in range(60)}
        its.poll(3)
        set_clock(its, jump, told=told)
        for _ in range(8):
            new |= {its.ran() for _ in range(650)}
            its.clock.now += 60
            its.poll(2)
        its.clock.now += 2 * HOUR
        its.daemon.restart()
        its.poll(2)  # prunes by the wrong clock
        if told:  # the earlier of the two clocks decides: nothing is as old as that
            assert its.daemon.settled() == new
        set_clock(its, 0.0, told=told)
        new |= {its.ran() for _ in range(20)}
        its.clock.now += 2 * HOUR
        its.daemon.restart()
        its.poll(3)  # prunes by the right one
        assert len(new) > KEPT_SETTLED
        its.world.delete([record.id for record in its.world][40:])  # what is oldest is met again
        its.poll(40)
        late = its.ran()
        its.poll(3)
        assert its.finished == len(new) + 1
        assert late in its.daemon.settled()
        assert its.daemon.value("job_records_discovered_total") == len(new) + 1


@JUMPS
def test_zero_first_while_our_clock_jumps(jump: float, tmp_path: Path) -> None:
    """A value that was shown is never taken back; a newborn series waits no longer than twice its time."""
    with life(tmp_path, past=10) as its:
        exposition = Exposition()
        shown = 0.0

        def scraped() -> float:
            exposition.show(its.daemon.snapshot)
            text = exposition.scrape(accept="text/plain", accept_encoding="").body.decode()
            lines = (line for line in text.splitlines() if line.startswith("job_records_finished_total{"))
            return sum(float(line.split()[-1]) for line in lines)

        for number, ahead in enumerate((0.0, jump, 0.0, jump)):
            set_clock(its, ahead)
            its.ran("fail", provider=f"provider {number}")
            for _ in range(14):
                its.poll()
                assert scraped() >= shown
                shown = scraped()
            assert shown == its.finished == number + 1


# -- that of a zone with summer time


BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()  # 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC).timestamp()  # 03:00 becomes 02:00


def text_of(moment: float) -> float:
    """Give what a platform in Berlin writes down, as seconds of a clock that knows no zone."""
    return datetime.fromtimestamp(moment, BERLIN).replace(tzinfo=UTC).timestamp()


class BerlinApi(MoodyApi):
    """A platform whose times are texts without an offset, read as those of Berlin."""

    zone: tzinfo = BERLIN

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        body, length = self._answer("page", pageNo=str(number), pageSize=str(size))
        page = decoder.decode_page(body, number=number, size=size, zone=self.zone)
        return page, PageCost(seconds=0.0, size=length)

    async def record(self, record_id: str) -> Record:
        body, _ = self._answer("record", id=record_id)
        return decoder.decode_record(body, zone=self.zone)


def told(start: float, end: float) -> float:
    """The duration that two texts of Berlin tell.

    From the second of the doubled hours to after it they tell an hour too much: nothing in them says which
    of the two the start lay in.
    """
    return end - start + (HOUR if AUTUMN <= start < AUTUMN + HOUR <= end else 0.0)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("change", [pytest.param(SPRING, id="spring"), pytest.param(AUTUMN, id="autumn")])
def test_summer_time_begins_or_ends_without_an_offset(order: Order, change: float, tmp_path: Path) -> None:
    """A record a minute from an hour before to two hours after: each counts once, with its duration."""
    clock, world = Clock(change - HOUR - 600), World(order=order)
    api = BerlinApi(world, dialect=DocumentedDialect(items="rows", zone_offset=0, time_format="plain"))
    for number in range(30):
        at = text_of(clock.now - DAY + 60 * number)
        world.finish(world.add(RecordSpec(hosts=HOSTS[:1], start=at), at), "success", at + 5)
    exporter = Daemon(api, tmp_path, clock, config=PollConfig(rules=RULES))
    exporter.poll()
    running: list[tuple[float, float, str]] = []
    durations: list[float] = []
    for number in range(190):
        spec = RecordSpec(hosts=HOSTS[:1], start=text_of(clock.now))
        end = clock.now + (1200 if number % 10 == 9 else 60)
        running.append((clock.now, end, world.add(spec, clock.now)))
        exporter.poll(times=4)
        for item in [item for item in running if item[1] <= clock.now]:
            running.remove(item)
            start, end, record = item
            world.finish(record, "success", end, end=text_of(end))
            durations.append(told(start, end))
    exporter.poll(times=60)
    assert exporter.value("job_records_finished_total") == len(exporter.settled()) == len(durations)
    assert exporter.value("job_records_discovered_total") == 190
    assert exporter.value("job_exporter_records_incomplete_total") == 0
    assert exporter.value("job_record_duration_seconds", "sum") == sum(durations)
    assert exporter.value("job_record_duration_seconds", "60.0") == durations.count(60.0) > 150
    exporter.close()
