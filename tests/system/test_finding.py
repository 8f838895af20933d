"""Rules 2, 3, 13 and 14: which records are found, whatever totals, orders and times do."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.jobapi.client import PageCost
from exporter.model import LONG_AGO, Page
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, Life, MoodyApi, life

HOUR_OF_POLLS = 241


def spec(**changes: Any) -> RecordSpec:
    """A record of one host."""
    return RecordSpec(hosts=HOSTS[:1], **changes)


@dataclass
class Lying:
    """A platform whose next totals are false; of several, one for each answer. Their pages show nothing."""

    its: Life
    totals: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        api = self.its.api

        async def page(number: int, size: int, **how: Any) -> tuple[Page, PageCost]:
            if self.totals:
                api.asked["page"] += 1
                lie = Page(number=number, size=size, total=self.totals.popleft(), items=())
                return lie, PageCost(seconds=0.0, size=100)
            return await MoodyApi.page(api, number, size, **how)

        api.page = page  # type: ignore[method-assign]


def old(count: int) -> Callable[[World], None]:
    """So many records, each 20 s after the other, the last one an hour ago."""

    def prepare(world: World) -> None:
        for number in range(count):
            start = NOW - 3600 - 20 * (count - number)
            world.finish(world.add(spec(start=start), start), "success", start + 5)

    return prepare


def late(its: Life) -> float:
    return its.daemon.value("job_exporter_records_late_total")


# -- totals


def test_a_first_answer_of_no_records_makes_nothing_new(tmp_path: Path) -> None:
    """The 2,000 records of the next answer were there before: none is counted; later ones are."""
    with life(tmp_path, prepare=old(2000), polled=False) as its:
        Lying(its, deque([0]))
        its.poll(8)
        assert its.finished == 0
        ended = {its.ran() for _ in range(3)}
        its.poll(4)
        assert its.daemon.settled() == ended


@pytest.mark.parametrize("lie", [0, 3, 150])
def test_one_false_total_costs_nothing(lie: int, tmp_path: Path) -> None:
    """Then the truth again: no request more than without it."""
    with life(tmp_path, prepare=old(2000)) as its:
        lying = Lying(its)
        its.poll(21)
        its.api.asked.clear()
        lying.totals.append(lie)
        its.poll(4)
        assert dict(its.api.asked) == {"page": 4}
        assert its.finished == 0


def test_records_of_an_empty_platform_without_times_count(tmp_path: Path) -> None:
    """Those that come in the first minute, too: nothing tells that they are old."""
    with life(tmp_path, dialect=DocumentedDialect(items="records")) as its:
        for _ in range(8):
            record = its.add(no_start=True, null_end=True)
            its.end(record, end=None)
            its.poll()
        its.poll(3)
        assert its.finished == 8


# -- the first reading and its sweep


@pytest.mark.parametrize("items", ["rows", "records"])
def test_the_first_sweep_registers_what_was_there(items: Any, tmp_path: Path) -> None:
    """Nothing of it is counted, and next to nothing is looked up."""
    dialect = DocumentedDialect(items=items)
    with life(tmp_path, prepare=old(3000), dialect=dialect, daemon={"label_limit": 500}) as its:
        its.poll(12)
        assert its.finished == 0
        start = its.daemon.ledger.state.counting_start
        assert start is not None
        assert start.registered is not None
        assert start.registered == LONG_AGO  # all of it began within a day
        assert its.api.asked["record"] < 20
        assert late(its) == 0


def test_rows_of_a_record_that_ended_before_the_first_start_make_it_the_baseline(tmp_path: Path) -> None:
    """It stood among the records of the first reading, and its own end says when it ended."""

    def ended(world: Any) -> None:
        for _ in range(10):
            record = world.add(spec(start=NOW - 700, rows=False), NOW - 700)
            world.finish(record, "success", NOW - 600)
            hidden.append(record)

    hidden: list[str] = []
    with life(tmp_path, past=50, prepare=ended) as its:
        for record in hidden:
            its.world.give_rows(record)
        its.poll(10)
        assert its.finished == 0


def test_history_counts_what_began_before_its_window(tmp_path: Path) -> None:
    """An hour of it: what ended in the last hour counts, though it began 20 hours ago."""
    ids: list[str] = []

    def past(world: Any) -> None:
        for number in range(110):
            hours = 20 if number % 12 == 0 else 0
            start = NOW - 3000 - hours * 3600 + number
            record = world.add(spec(start=start), start)
            world.finish(record, "success", NOW - 1000)
            ids.append(record)
        for number in range(600):
            start = NOW - 60_000 + 60 * number
            world.finish(world.add(spec(start=start), start), "success", start + 5)

    with life(tmp_path, prepare=past, history=3600.0) as its:
        its.poll(10)
        assert its.daemon.settled() >= set(ids)


# -- what the gaps can't find


def test_records_far_from_the_tail_are_found_by_the_sweep(tmp_path: Path) -> None:
    """30 records without rows near the tail; 5 new ones land 800 positions below: a master's clock jumped."""
    with capture_logs() as lines, life(tmp_path, prepare=old(3000)) as its:
        its.poll(10)
        for _ in range(30):
            its.add(rows=False)
        its.poll(2)
        start = NOW - 3600 - 20 * 800
        far = {its.world.add(spec(start=start), its.clock.now) for _ in range(5)}
        for record in far:
            its.world.finish(record, "success", its.clock.now, end=start + 10)
        its.poll(70)
        given_up = [line for line in lines if "positions without a record" in line["event"]]
        assert given_up
        assert sum(line["positions"] for line in given_up) <= 35
        assert (its.daemon.gauge("job_records_hidden") or 0) >= 30
        its.poll(HOUR_OF_POLLS)
        assert its.daemon.settled() >= far
        assert late(its) <= 5
        assert its.daemon.gauge("job_records_hidden") == 30
        assert (its.daemon.gauge("job_exporter_last_sweep_timestamp_seconds") or 0) > NOW


def test_a_downtime_in_which_as_many_go_as_come_loses_nothing(tmp_path: Path) -> None:
    """Down for a day; 4,000 records come and 4,000 old ones are deleted; a page takes 1.5 s."""
    with life(tmp_path, prepare=old(6000)) as its:
        its.api.tail_page_seconds = 1.5
        its.poll(4)
        its.clock.now += 86_400
        its.daemon.restart()
        ended = {its.ran(start=its.clock.now - 43_200 + 10 * number) for number in range(4000)}
        its.world.delete_oldest(4000)
        its.daemon.budget = 20_000
        its.poll()
        while its.daemon.gauge("job_exporter_catching_up"):
            its.poll()
            assert its.clock.now < NOW + 86_400 + 3600
        its.poll(4)
        assert its.daemon.settled() == ended


def test_a_retention_shorter_than_a_reading_makes_nothing_the_baseline(tmp_path: Path) -> None:
    """Records wait to be read for longer than ids are kept; all are counted."""
    with life(tmp_path, past=100, retention=3600.0) as its:
        its.poll(4)
        its.api.tail_page_seconds = 60.0
        ended = {its.ran(start=its.clock.now - 50_000 + 10 * number) for number in range(5000)}
        its.daemon.budget = 20_000
        its.poll(900)
        assert its.daemon.settled() == ended
        assert its.is_true()


def test_a_sweep_goes_on_after_a_restart(tmp_path: Path) -> None:
    """It is kept in the ledger: where it stands, and when the last one ended."""
    with life(tmp_path, prepare=old(3000), page_size=20) as its:
        its.api.tail_page_seconds = 0.5  # one page a poll
        its.poll(12)
        before = its.daemon.ledger.state.tail.sweep
        assert before is not None
        its.daemon.restart()
        its.poll(2)
        after = its.daemon.ledger.state.tail.sweep
        assert after is not None
        assert after.began == before.began
        assert after.walk.at < before.walk.at


def test_without_a_sweep_nothing_else_changes(tmp_path: Path) -> None:
    """`poll.sweep` 0: no page of it is read."""
    with life(tmp_path, past=500, sweep=0.0) as its:
        its.forget_requests()
        its.poll(19)
        assert its.api.tail_pages == []
        ended = {its.ran()}
        its.poll(4)
        assert its.daemon.settled() == ended


# -- times that tell nothing


def test_new_records_without_times_count(tmp_path: Path) -> None:
    """They came after the first reading: growth says so."""
    with life(tmp_path, prepare=old(50), dialect=DocumentedDialect(items="rows")) as its:
        its.poll(6)
        ended = set()
        for _ in range(12):
            record = its.add(no_start=True, null_end=True)
            its.end(record)
            ended.add(record)
        its.poll(8)
        assert its.daemon.settled() == ended


def test_records_of_a_master_in_another_time_zone_count(tmp_path: Path) -> None:
    """They look 8 hours old, and lie so far from the tail that only the sweep meets them."""
    with life(tmp_path, prepare=old(2000)) as its:
        its.poll(10)
        start = its.clock.now - 8 * 3600
        ended = {its.world.add(spec(start=start + number), its.clock.now) for number in range(8)}
        for record in ended:
            its.world.finish(record, "success", its.clock.now, end=start + 20)
        its.poll(HOUR_OF_POLLS)
        assert its.daemon.settled() == ended


def test_heavy_records_beside_an_empty_position_are_read_seldom(tmp_path: Path) -> None:
    """Each of them has 1 MB; one record without rows among them is looked for during half an hour."""
    heavy = ObservedDialect(stdout_bytes=1_000_000)
    with life(tmp_path, prepare=old(40), dialect=heavy, sweep=0.0) as its:
        its.poll(4)
        its.add(rows=False)
        its.ran()
        its.poll(2)
        before = its.api.page_records
        its.poll(31 * 4)
        assert its.api.page_records - before < 31 * 4 + 120  # a probe a poll, and 120 MB


# -- outages that are longer than the window of the sweep


def outlast(its: Life, kind: str, days: float) -> list[str]:
    """Nobody polls, or no poll succeeds; 97 records come, as many of the oldest go."""
    came = []
    if kind == "platform down":
        its.api.fails = lambda _endpoint: True
    for _ in range(97):
        its.clock.now += days * 86400 / 97
        came.append(its.ran())
        if kind == "platform down":
            its.poll()
    its.world.delete_oldest(97)
    its.api.fails = lambda _endpoint: False
    if kind == "exporter down":
        its.daemon.restart()
    return came


@pytest.mark.parametrize("kind", ["exporter down", "platform down"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_what_came_in_a_long_outage_counts(order: Any, kind: str, tmp_path: Path) -> None:
    """As many records went as came: totals tell nothing, so the sweep goes back to the last good poll."""
    with life(tmp_path, order=order, prepare=old(3000)) as its:
        its.poll(20)
        came = outlast(its, kind, days=3)
        its.poll(20)
        assert its.daemon.settled() >= set(came)
        assert its.daemon.ledger.state.tail.unswept is None
        its.api.asked.clear()
        its.poll(20)
        assert its.api.asked["page"] < 25


def test_a_sweep_after_an_outage_goes_on_after_a_restart(tmp_path: Path) -> None:
    """How far back it must go is kept in the ledger."""
    with life(tmp_path, prepare=old(3000), page_size=10) as its:
        its.poll(200)
        came = outlast(its, "exporter down", days=3)
        for _ in range(5):
            its.poll(2)
            its.daemon.restart()
        its.poll(20)
        assert its.daemon.settled() >= set(came)
