"""Rule 12: a record whose pages fail costs no other its count."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import (
    ApiError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    PlatformFailure,
    TooLargeError,
)
from exporter.model import Page
from exporter.simulator.documented import DocumentedDialect
from tests.harness.core import Life, MoodyApi, life

FAILURES: dict[str, Callable[[], ApiError]] = {
    "HTTP 500": lambda: HttpError("HTTP 500", status=500),
    "an error envelope": lambda: PlatformFailure("database"),
    "cut JSON": lambda: NotUnderstoodError("cut"),
    "never": lambda: DeadlineError("no first byte"),
    "400 MB": lambda: TooLargeError("64 MiB"),
}


@dataclass
class Poisoned:
    """Pages that show certain records fail."""

    its: Life
    ids: set[str] = field(default_factory=set)
    error: Callable[[], ApiError] = FAILURES["HTTP 500"]
    failed: int = 0

    def apply(self) -> None:
        api = self.its.api

        async def page(
            number: int, size: int, *, patient: bool = True, retry: bool = True
        ) -> tuple[Page, PageCost]:
            shown = {record.id for record in self.its.world.page(number, size).records}
            if shown & self.ids:
                self.failed += 1
                self.its.api.asked["page"] += 1
                if isinstance(self.error(), DeadlineError):
                    self.its.clock.now += 60.0 if patient else 10.0
                raise self.error()
            return await MoodyApi.page(api, number, size, patient=patient, retry=retry)

        api.page = page  # type: ignore[method-assign]


def arrive(its: Life, count: int = 2) -> list[str]:
    """Records that come and end within a poll."""
    return [its.ran() for _ in range(count)]


def unreadable(its: Life) -> float | None:
    return its.daemon.gauge("job_exporter_unreadable_records")


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_record_whose_pages_fail_costs_no_other(order: Any, kind: str, tmp_path: Path) -> None:
    """All others count within a few polls; polls stay good; the log says it once; later it counts, too."""
    with capture_logs() as lines, life(tmp_path, past=300, order=order) as its:
        poison = Poisoned(its, error=FAILURES[kind])
        poison.apply()
        its.poll(2)
        others = arrive(its, 3)
        (bad,) = arrive(its, 1)
        poison.ids.add(bad)
        others += arrive(its, 3)
        its.poll(4)
        for _ in range(10):
            others += arrive(its)
            its.poll()
        its.poll(6)
        assert its.daemon.settled() >= set(others)
        assert bad not in its.daemon.settled()
        assert unreadable(its) == 1
        assert its.daemon.gauge("job_exporter_platform_up") == 1
        assert its.daemon.value("job_exporter_poll_failures_total") == 0
        assert len([line for line in lines if "position is unreadable" in line["event"]]) == 1
        before = poison.failed
        its.poll(60)
        assert poison.failed - before < 12  # at growing intervals
        poison.ids.clear()
        its.poll(4 * 60 + 5)
        assert bad in its.daemon.settled()
        assert unreadable(its) == 0
        assert its.is_true()
        assert its.daemon.poller._tail.missing == 0


def test_records_side_by_side_that_fail_cost_no_other(tmp_path: Path) -> None:
    """A batch of them, the newest of all, when nothing else came."""
    with life(tmp_path, past=300) as its:
        poison = Poisoned(its)
        poison.apply()
        its.poll(2)
        poison.ids.update(arrive(its, 5))
        its.poll(6)
        assert its.daemon.value("job_exporter_poll_failures_total") == 0
        others = arrive(its, 20)
        its.poll(6)
        assert its.daemon.settled() == set(others)
        assert unreadable(its) == 5
        poison.ids.clear()
        its.poll(250)
        assert len(its.daemon.settled()) == 25


def test_an_oldest_record_that_fails_stops_no_probe(tmp_path: Path) -> None:
    """The total is asked for with another record."""
    with life(tmp_path, past=300) as its:
        poison = Poisoned(its)
        poison.apply()
        its.poll(2)
        poison.ids.add(next(iter(its.world)).id)
        others = arrive(its, 5)
        its.poll(5)
        assert its.daemon.settled() == set(others)
        assert its.daemon.value("job_exporter_poll_failures_total") == 0


def test_where_all_pages_fail_it_is_the_platform(tmp_path: Path) -> None:
    """Then the poll fails, as ever, and no position is blamed."""
    with life(tmp_path, past=300) as its:
        poison = Poisoned(its)
        poison.apply()
        its.poll(2)
        arrive(its, 2)
        first = next(iter(its.world)).id
        poison.ids.update(record.id for record in its.world if record.id != first)
        its.poll(6)
        assert its.daemon.value("job_exporter_poll_failures_total") > 0
        assert unreadable(its) == 0
        assert its.daemon.gauge("job_exporter_platform_up") in {0, None}
        poison.ids.clear()
        its.poll(20)
        assert len(its.daemon.settled()) == 2


def test_a_first_reading_passes_a_record_that_fails(tmp_path: Path) -> None:
    """What is open around it is adopted."""
    with life(tmp_path, past=100, polled=False, dialect=DocumentedDialect(items="records")) as its:
        poison = Poisoned(its)
        poison.apply()
        opened = [its.add() for _ in range(2)]
        poison.ids.add(its.ran())
        opened += [its.add() for _ in range(2)]
        its.poll(5)
        for record in opened:
            its.end(record)
        its.poll(8)
        assert its.daemon.settled() == set(opened)
        assert unreadable(its) == 1


def test_records_that_hang_stop_no_poll_for_minutes(tmp_path: Path) -> None:
    """Their positions are searched for in several polls; look-ups go on, and all others count."""
    with life(tmp_path, past=300) as its:
        poison = Poisoned(its, error=FAILURES["never"])
        poison.apply()
        its.api.page_seconds = 4.0  # so slow that each page is waited for
        its.poll(8)
        others, took = [], []
        for _ in range(6):
            others += arrive(its, 8)
            poison.ids.update(arrive(its, 1))
        for _ in range(120):
            its.poll()
            took.append(its.daemon.gauge("job_exporter_poll_duration_seconds") or 0.0)
        assert max(took) < 130
        assert its.daemon.settled() == set(others)
        assert unreadable(its) == 6
        assert its.daemon.value("job_exporter_poll_failures_total") == 0


def test_an_unreadable_record_is_tried_once_a_poll(tmp_path: Path) -> None:
    """Also if others become readable in it."""
    with life(tmp_path, past=300) as its:
        poison = Poisoned(its)
        poison.apply()
        its.poll(2)
        bad = arrive(its, 8)
        poison.ids.update(bad)
        its.poll(4)
        for record_id in bad[:6]:
            poison.ids.discard(record_id)
        for _ in range(20):
            its.forget_requests()
            before = poison.failed
            its.poll()
            assert poison.failed - before <= 2
