"""Rule 2: a record that came after the first reading counts; one that was done before does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.model import LONG_AGO
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.record import NO_TIME, RecordSpec
from exporter.simulator.world import World
from tests.harness.core import HOSTS, NOW, Life, life
from tests.harness.inprocess import Blow
from tests.system.test_unreadable import Poisoned


def old(count: int, **spec: Any) -> Callable[[World], None]:
    """Add records that ended hours ago, 20 s apart."""

    def prepare(world: World) -> None:
        for number in range(count):
            at = NOW - 3600 - 20 * (count - number)
            record = world.add(RecordSpec(hosts=HOSTS[:1], **{"start": at, **spec}), at)
            world.finish(record, "success", at + 5, end=NO_TIME if spec.get("no_start") else at + 5)

    return prepare


def came(its: Life, *, behind: float, count: int = 1) -> set[str]:
    """Add finished records; the clock of their master is behind."""
    start = its.clock.now - behind
    ids = {its.add(start=start) for _ in range(count)}
    for record in ids:
        its.end(record, end=start + 1)
    return ids


# -- the first reading has read the whole platform


@pytest.mark.parametrize("items", ["rows", "records"])
def test_a_record_without_times_counts_when_it_comes_right_after_the_first_reading(
    items: Any, tmp_path: Path
) -> None:
    """The first reading read all 42 records, so an id that it did not see is new."""
    dialect = DocumentedDialect(items=items)
    with life(tmp_path, prepare=old(42, no_start=True, null_end=True), dialect=dialect, sweep=0.0) as its:
        record = its.add(no_start=True, null_end=True)
        its.end(record, end=NO_TIME)
        its.poll(3)
        assert its.daemon.settled() == {record}


def test_a_record_without_times_counts_when_its_rows_come_late(tmp_path: Path) -> None:
    """The rows appear minutes after the record; growth opened a gap for it."""
    dialect = DocumentedDialect(items="rows")
    with life(tmp_path, prepare=old(42, no_start=True, null_end=True), dialect=dialect, sweep=0.0) as its:
        record = its.add(no_start=True, null_end=True, rows=False)
        its.end(record, end=NO_TIME)
        its.poll(27)
        its.world.give_rows(record)
        its.poll(30)
        assert its.daemon.settled() == {record}


@pytest.mark.parametrize("behind", [30.0, 300.0, 9 * 3600.0])
@pytest.mark.parametrize("blow", [None, Blow.REFUSED, Blow.UNDONE, Blow.BEFORE])
def test_records_of_a_clock_that_is_behind_count(behind: float, blow: Blow | None, tmp_path: Path) -> None:
    """Their times say that they ended before counting began; commits fail and the process dies meanwhile."""
    with life(tmp_path, prepare=old(42)) as its:
        new = came(its, behind=behind, count=150)
        its.daemon.poll(blow=blow)
        new |= came(its, behind=behind)
        its.daemon.poll(blow=blow, blow_in=1)
        its.poll(8)
        assert its.daemon.settled() == new


def test_records_count_after_the_clock_of_the_platform_is_set_back(tmp_path: Path) -> None:
    """It was set back by 9 h, 15 s after the first poll."""
    with life(tmp_path, prepare=old(42)) as its:
        its.poll()
        its.api.clock_skew = -9 * 3600.0
        new = came(its, behind=9 * 3600.0, count=2)
        its.poll(8)  # a first record that is older is confirmed over a minute
        assert its.daemon.settled() == new


def test_positions_that_the_first_reading_could_not_see_are_remembered(tmp_path: Path) -> None:
    """Three old records have no rows: unknown records that began before the first start may be these."""

    def prepare(world: World) -> None:
        old(40)(world)
        for _ in range(3):
            hidden.append(world.add(RecordSpec(hosts=HOSTS[:1], start=NOW - 700, rows=False), NOW - 700))
            world.finish(hidden[-1], "success", NOW - 600)

    hidden: list[str] = []
    with life(tmp_path, prepare=prepare, sweep=0.0) as its:
        start = its.daemon.ledger.state.counting_start
        assert start is not None
        assert (start.registered, start.invisible) == (LONG_AGO, 3)
        its.poll(70)  # the gap of these positions is given up
        for record in hidden:
            its.world.give_rows(record)
        new = came(its, behind=0.0)
        its.poll(300)
        assert its.daemon.settled() == new


# -- what the first reading saw done


@pytest.mark.parametrize("items", ["rows", "records", None])
@pytest.mark.parametrize("ahead", [60.0, 5 * 3600.0, 8 * 3600.0])
def test_an_old_record_whose_end_is_in_the_future_is_the_baseline(
    items: Any, ahead: float, tmp_path: Path
) -> None:
    """Its times are of a zone ahead: it was done at the first look, so its end is wrong."""

    def prepare(world: World) -> None:
        old(42)(world)
        for number in range(8):
            record = world.add(RecordSpec(hosts=HOSTS[:1], start=NOW + ahead - 60 + number), NOW - 3600)
            world.finish(record, "success", NOW - 3500, end=NOW + ahead + number)

    dialect = None if items is None else DocumentedDialect(items=items)
    with life(tmp_path, prepare=prepare, dialect=dialect) as its:
        its.poll(4)
        assert its.finished == 0


def test_a_record_that_ends_between_the_first_page_and_its_look_up_counts(tmp_path: Path) -> None:
    """A page of whole records showed it running."""
    with life(tmp_path, prepare=old(5), polled=False, dialect=DocumentedDialect(items="records")) as its:
        record = its.add(start=NOW - 50)
        its.api.tail_page_seconds = 4.0
        its.poll()
        its.end(record, end=its.clock.now + 120)  # the clock of its master is ahead by minutes
        its.poll(4)
        assert its.daemon.settled() == {record}


# -- positions that the first reading could not read


@pytest.mark.parametrize("sweep", [0.0, 86400.0])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_old_record_whose_page_failed_at_first_is_dated_by_its_times(
    order: Any, sweep: float, tmp_path: Path
) -> None:
    """It ended ten minutes before the first start, and its page can be read an hour later."""
    bad: list[str] = []

    def prepare(world: World) -> None:
        old(42)(world)
        bad.append(world.add(RecordSpec(hosts=HOSTS[:1], start=NOW - 700), NOW - 700))
        world.finish(bad[0], "success", NOW - 600)
        for number in range(3):
            record = world.add(RecordSpec(hosts=HOSTS[:1], start=NOW - 500 + number), NOW - 500)
            world.finish(record, "success", NOW - 400)

    with life(tmp_path, prepare=prepare, order=order, sweep=sweep, polled=False) as its:
        poison = Poisoned(its, set(bad))
        poison.apply()
        its.poll()
        its.clock.now += 2
        new = came(its, behind=0.0)
        its.poll(60)
        poison.ids.clear()
        new |= came(its, behind=0.0)
        its.poll(250)
        assert poison.failed
        assert set(bad) <= its.daemon.ledger.known(bad)
        assert its.daemon.settled() == new
