"""What the platform shows now, as gauges."""

from typing import Any

import pytest

from exporter.discovery.tail import Tail
from exporter.model import Clock, Series
from exporter.tracking.state import State, platform_gauges
from exporter.tracking.values import Rules, Stage, Tracked
from tests.harness.core import NOW, series

OLDEST = "job_record_oldest_open_start_timestamp_seconds"


def state(*followed: Tracked, **changes: Any) -> State:
    return State(followed={item.id: item for item in followed}, **changes)


def tracked(record_id: str, stage: Stage = Stage.DOING, **changes: Any) -> Tracked:
    return Tracked(id=record_id, found=NOW, due=NOW, stage=stage, **changes)


def gauges(given: State, *, total: int | None = 100, skew: float | None = 0.0) -> dict[Series, float]:
    clock = Clock(now=NOW, wall=NOW, platform=NOW + (skew or 0.0))
    return dict(platform_gauges(given, Tail(total=total), clock=clock, skew=skew, rules=Rules()))


def records(given: dict[Series, float]) -> dict[str, float]:
    return {
        status: given[series("job_records", execute_status=status)] for status in ("init", "doing", "done")
    }


def test_records_are_counted_by_where_they_are() -> None:
    """All that is not open is done; one not looked at yet runs, for all that is known."""
    given = state(tracked("a", Stage.INIT), tracked("b"), tracked("c", Stage.FOUND), tracked("d", Stage.DONE))
    assert records(gauges(given)) == {"init": 1, "doing": 2, "done": 97}


@pytest.mark.parametrize("total", [None, 0, 1])
def test_there_are_never_fewer_than_none_done(total: int | None) -> None:
    """Open records that were deleted are still followed for a minute."""
    given = state(tracked("a"), tracked("b"))
    assert records(gauges(given, total=total)) == {"init": 0, "doing": 2, "done": 0}


def test_a_doubtful_record_is_not_taken_for_open() -> None:
    """It was not looked at yet and is done, most likely: the baseline."""
    assert records(gauges(state(tracked("a", Stage.FOUND, baseline_end=NOW))))["doing"] == 0


def test_the_oldest_open_start_is_told_by_status() -> None:
    """Where there is one; a record without a start tells none, one that is done neither."""
    given = state(
        tracked("a", start=NOW - 5),
        tracked("b", start=NOW - 50),
        tracked("c", Stage.DONE, start=NOW - 500),
        tracked("d", Stage.INIT),
    )
    shown = gauges(given)
    assert shown[series(OLDEST, execute_status="doing")] == NOW - 50
    assert series(OLDEST, execute_status="init") not in shown


def test_overdue_records_are_counted_by_the_platforms_clock() -> None:
    """Past their own timeout and the grace; zero is shown too."""
    late = tracked("a", start=NOW - 100, timeout=75.0)
    assert gauges(state(late))[series("job_records_overdue")] == 0
    assert gauges(state(late), skew=6.0)[series("job_records_overdue")] == 1
    assert gauges(state())[series("job_records_overdue")] == 0


def test_the_skew_is_shown_where_it_is_known() -> None:
    """Not as zero where it is not."""
    skew = series("job_exporter_clock_skew_seconds")
    assert gauges(state(), skew=-2.5)[skew] == -2.5
    assert skew not in gauges(state(), skew=None)


def test_the_last_ends_are_shown() -> None:
    """As the ledger keeps them."""
    last = series("job_record_last_finished_timestamp_seconds", result_status="fail")
    assert gauges(state(latest={last: NOW}))[last] == NOW
