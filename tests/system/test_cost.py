"""What the exporter costs the platform, counted in requests, positions and seconds of its pages."""

from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.jobapi.errors import DeadlineError, TooLargeError
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.world import Order
from exporter.tracking.finding import ADOPT_BYTES
from tests.harness.core import Asked, Life, life

ORDERS = pytest.mark.parametrize("order", ["asc", "desc"])


def positions(its: Life) -> int:
    """Tell how many positions the tail pages covered."""
    total = len(its.world)
    return sum(
        min(asked.number * asked.size, total) - (asked.number - 1) * asked.size
        for asked in its.api.tail_pages
    )


def count_of(its: Life, endpoint: str) -> int:
    return sum(asked.endpoint == endpoint for asked in its.api.requests)


@ORDERS
def test_idle_costs_one_request_a_poll(order: Order, tmp_path: Path) -> None:
    """Nothing open, nothing new: the total is asked for, and no tail page, but for the re-check."""
    with life(tmp_path, order=order, past=100, recheck_interval=1e6, sweep=0.0) as its:
        its.forget_requests()
        its.poll(100)
        assert len(its.api.requests) == 100
        assert all(asked.is_probe for asked in its.api.requests)


def test_rechecks_of_an_idle_platform_are_rare(tmp_path: Path) -> None:
    """The newest 50 each five minutes, and all of the day each hour."""
    with life(tmp_path, past=100) as its:
        its.forget_requests()
        its.poll(6 * 240)
        assert 70 <= len(its.api.tail_pages) <= 72 + 7
        assert positions(its) <= 72 * 50 + 7 * 100


@ORDERS
@pytest.mark.parametrize("count", [1, 2, 7, 30, 49, 120])
def test_new_records_cost_little_more_than_themselves(count: int, order: Order, tmp_path: Path) -> None:
    """Positions read, less than a page beside them; a look each and one for the results."""
    with life(tmp_path, order=order, past=300, sweep=0.0) as its:
        its.forget_requests()
        for _ in range(count):
            its.ran()
        its.poll(2)
        assert its.finished == count
        assert positions(its) <= count + min(2 * count + 3, 50)
        assert (count_of(its, "record"), count_of(its, "result")) == (count, count)


def test_a_steady_stream_costs_at_most_two_positions_a_record(tmp_path: Path) -> None:
    """Four new records a poll for half an hour: pages, look-ups and results stay within the aims."""
    with life(tmp_path, past=300, sweep=0.0) as its:
        its.forget_requests()
        before = its.api.page_records
        running: list[str] = []
        for number in range(120):
            running += [its.add() for _ in range(4)]
            its.poll()
            if number % 2:
                for record in running:
                    its.end(record)
                running.clear()
        its.poll(3)
        assert its.finished == 480
        probes = count_of(its, "page") - len(its.api.tail_pages)
        assert its.api.page_records - before - probes <= 2 * 480 + 6 * 50  # the re-check
        assert count_of(its, "record") <= 3 * 480
        assert count_of(its, "result") <= 1.2 * 480


def test_a_long_running_record_costs_a_look_a_minute(tmp_path: Path) -> None:
    """And no page, however long it takes."""
    with life(tmp_path, past=10, recheck_interval=1e6, sweep=0.0) as its:
        record = its.add(timeout=100_000)
        its.poll(60)
        its.forget_requests()
        its.poll(240)
        assert 55 <= len(its.api.lookups(record)) <= 62
        assert its.api.tail_pages == []


def test_the_first_reading_goes_no_further_than_to_adopt(tmp_path: Path) -> None:
    """The newest 200 of a thousand records, after the ends were compared."""
    with life(tmp_path, past=1000, sweep=0.0) as its:
        assert positions(its) <= 200 + 60


def test_the_first_reading_stops_where_records_are_heavy(tmp_path: Path) -> None:
    """Pages of 1.5 MB a record stay under 4 MB each, and 32 MB in all."""
    heavy = ObservedDialect(stdout_bytes=1_500_000)
    with life(tmp_path, past=60, dialect=heavy) as its:
        assert max(asked.size for asked in its.api.tail_pages) <= 2
        assert its.daemon.ledger.state.counting_start is not None
        assert its.daemon.ledger.state.counting_start.read <= ADOPT_BYTES + 4_000_000
        assert its.daemon.ledger.state.counting_start.floor is not None
        new = its.ran()
        its.poll(3)
        assert its.daemon.settled() == {new}


def test_pages_take_a_tenth_of_the_time(tmp_path: Path) -> None:
    """After what had added up (`api.duty`); look-ups go on meanwhile."""
    with life(tmp_path, past=100, page_size=20) as its:
        running = its.add(timeout=9000)
        its.poll()
        for _ in range(600):
            its.ran()
        its.api.tail_page_seconds = 3.0
        its.forget_requests()
        began = its.clock.now
        while its.finished < 600:
            its.poll()
        pages = [asked.at for asked in its.api.tail_pages]
        assert len(pages) >= 30
        assert all(3.0 * number <= 33 + 0.11 * (at - began) for number, at in enumerate(pages))
        assert all(later - earlier <= 60 for earlier, later in pairwise(pages))
        assert len(its.api.lookups(running)) >= 10


def test_fast_pages_follow_each_other_within_the_poll(tmp_path: Path) -> None:
    """Pages of 0.1 s wait for nothing."""
    with life(tmp_path, past=100, page_size=50) as its:
        for _ in range(150):
            its.ran()
        its.api.tail_page_seconds = 0.1
        its.forget_requests()
        its.poll()
        assert len(its.api.tail_pages) >= 3
        its.poll(2)
        assert its.finished == 150


def test_a_finished_record_costs_two_look_ups(tmp_path: Path) -> None:
    """One of the record and one of its results; a page of whole records spares the first."""
    for dialect, lookups in ((ObservedDialect(), 1), (DocumentedDialect(items="records"), 0)):
        folder = tmp_path / type(dialect).__name__
        folder.mkdir()
        with life(folder, past=100, dialect=dialect) as its:
            ended = its.ran("fail")
            its.poll()
            assert its.daemon.settled() == {ended}
            assert its.is_true()
            assert len(its.api.lookups(ended)) == lookups
            assert len(its.api.lookups(ended, "result")) == 1


def test_the_total_is_told_just_before_a_page_that_had_to_wait(tmp_path: Path) -> None:
    """The page after the duty's pause shows what came in the pause too; look-ups need not wait for it."""
    with life(tmp_path, past=100, sweep=0.0) as its:
        running = its.add(timeout=9000)
        its.poll()
        pacer = its.daemon.poller._pages._pacer
        pacer.charge(pacer._credit + 2.0)  # what has added up, and 2 s more
        due = its.clock.now + its.daemon.poller._pages.wait()
        its.api.tail_page_seconds = 2.0
        its.ran()
        its.forget_requests()
        began = its.clock.now + 15
        its.poll()
        asked = [request for request in its.api.requests if request.endpoint == "page"]
        assert [request.is_probe for request in asked] == [True, False]
        assert all(request.at == pytest.approx(due) for request in asked)
        assert its.api.lookups(running)[0] == began < due
        assert its.finished == 1


@pytest.mark.parametrize("error", [TooLargeError, DeadlineError])
def test_a_page_that_is_too_large_is_asked_in_halves(
    error: type[TooLargeError | DeadlineError], tmp_path: Path
) -> None:
    """Refused by our limit or too slow: half of it is next, down to what comes."""
    with life(tmp_path, past=300) as its:
        its.api.mood = lambda asked: error("too much") if asked.size > 3 else None
        new = {its.ran() for _ in range(60)}
        its.forget_requests()
        its.poll(120)
        sizes = [asked.size for asked in its.api.tail_pages]
        first = sizes[: next(number for number, size in enumerate(sizes) if size <= 3) + 1]
        assert len(first) >= 4
        assert all(later <= earlier / 2 for earlier, later in pairwise(first))
        assert its.daemon.settled() == new


def test_a_record_too_large_for_any_page_is_passed_over(tmp_path: Path) -> None:
    """Its page alone exceeds the limit: the log says where, and the records around it are counted."""
    with life(tmp_path, past=100) as its:
        around = {its.ran(start=its.clock.now - 1) for _ in range(3)}
        its.ran(id="huge", start=its.clock.now)
        around |= {its.ran(start=its.clock.now + 1) for _ in range(3)}
        position = [record.id for record in its.world].index("huge")

        def too_large(asked: Asked) -> TooLargeError | None:
            covers = (asked.number - 1) * asked.size <= position < asked.number * asked.size
            return TooLargeError("9 MB") if asked.endpoint == "page" and covers else None

        its.api.mood = too_large
        with capture_logs() as lines:
            its.poll(60)
        assert its.daemon.settled() == around
        said = [line for line in lines if "position is unreadable" in line["event"]]
        assert {line["request"] for line in said} == {f"pageNo={position + 1}&pageSize=1"}
        for _ in range(60):  # from here on no re-check meets it
            around.add(its.ran())
        its.poll(100)
        assert its.daemon.settled() == around
        assert its.daemon.poller.last_error is None
