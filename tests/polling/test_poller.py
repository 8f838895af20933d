"""The poll: failures, pauses, clocks, the end; what it counts is in test_core_rules and test_traps."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    CredentialsError,
    HttpError,
    NotUnderstoodError,
    PlatformFailure,
)
from exporter.model import Page
from exporter.polling.fetch import LOST_AFTER
from exporter.polling.poller import Poller
from exporter.polling.status import MAX_BACKOFF
from tests.harness.core import Asked, Life, life, series
from tests.harness.inprocess import RULES


def always(error: ApiError) -> Any:
    return lambda _asked: error


def only(endpoint: str, error: ApiError, *, ids: frozenset[str] | None = None) -> Any:
    """Fail one endpoint, or for some records only."""

    def mood(asked: Asked) -> ApiError | None:
        return error if asked.endpoint == endpoint and (ids is None or asked.id in ids) else None

    return mood


def http(status: int = 500, **given: Any) -> HttpError:
    return HttpError(f"HTTP {status}", status=status, **given)


def up(its: Life) -> float | None:
    return its.daemon.gauge("job_exporter_platform_up")


def failures(its: Life) -> float:
    return its.daemon.value("job_exporter_poll_failures_total")


def has_begun(its: Life) -> bool:
    return its.daemon.ledger.state.counting_start is not None


# -- a platform that fails


def test_what_is_known_of_the_platform_disappears_while_it_is_away(tmp_path: Path) -> None:
    """Its gauges go, counters and the exporter's own metrics stay; when it is back, so are they."""
    with life(tmp_path, past=10) as its:
        its.ran("fail")
        its.poll(2)
        assert up(its) == 1
        its.api.mood = always(ConnectError("refused"))
        its.poll()
        assert up(its) == 0
        assert its.daemon.gauge("job_records", execute_status="done") is None
        assert its.daemon.gauge("job_records_overdue") is None
        assert its.finished == 1
        assert its.daemon.gauge("job_exporter_ledger_records") is not None
        assert its.daemon.poller.last_error == "refused: check api.base-url, the network and firewalls"
        its.api.mood = lambda _asked: None
        its.poll(5)
        assert up(its) == 1
        assert its.daemon.gauge("job_records", execute_status="done") == 11
        assert its.daemon.poller.last_error is None


def test_before_the_first_poll_it_is_not_ready(tmp_path: Path) -> None:
    """It says so; nothing is known of the platform, the ledger's counters are shown."""
    with life(tmp_path, past=10, polled=False) as its:
        assert its.daemon.poller.last_error == "the first poll has not ended yet"
        its.daemon.poller.publish()
        assert its.daemon.gauge("job_records_overdue") is None
        assert its.daemon.snapshot.counters[series("job_records_discovered_total")].value == 0
        assert its.daemon.snapshot.version == 1


def test_after_failures_polls_back_off_to_a_minute(tmp_path: Path) -> None:
    """Seconds at first, then a minute; the next good poll ends it, and the log says both."""
    with capture_logs() as lines, life(tmp_path, past=10) as its:
        its.api.mood = always(http())
        its.forget_requests()
        its.poll(40)
        asked = list(dict.fromkeys(request.at for request in its.api.requests))
        waits = [later - earlier for earlier, later in pairwise(asked)]
        assert waits[:3] == [15, 15, 15]
        assert set(waits[5:]) == {MAX_BACKOFF}
        assert failures(its) == len(asked)
        its.api.mood = lambda _asked: None
        its.poll(4)
        its.forget_requests()
        its.poll(3)
        assert len(its.api.requests) == 3
    assert any(line["event"] == "polls succeed again" and line["failed"] == len(asked) for line in lines)
    failed = [line for line in lines if line["event"] == "poll failed"]
    assert {(line["reason"], line["log_level"]) for line in failed} == {("http", "warning")}


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    """The platform asks to be left alone for 45 s: so it is."""
    with life(tmp_path, past=10) as its:
        its.api.mood = always(http(429, retry_after=45.0))
        its.forget_requests()
        its.poll(7)
        asked = list(dict.fromkeys(request.at for request in its.api.requests))
        assert [later - earlier for earlier, later in pairwise(asked)] == [45, 45]


@pytest.mark.parametrize("first", [http(), PlatformFailure("database down")])
def test_a_platform_that_is_away_at_the_start_is_waited_for(first: ApiError, tmp_path: Path) -> None:
    """Counting begins with the first poll that reaches it."""
    with life(tmp_path, past=10, polled=False) as its:
        its.api.mood = always(first)
        its.poll(5)
        assert not has_begun(its)
        its.api.mood = lambda _asked: None
        its.poll(5)
        assert has_begun(its)
        assert its.finished == 0


def test_a_tail_page_that_fails_loses_nothing_of_the_round(tmp_path: Path) -> None:
    """Look-ups made beside it are committed; the poll counts as failed, the page is asked again."""
    with life(tmp_path, past=100) as its:
        running = its.add()
        its.poll()
        its.end(running)
        new = its.ran()
        error = http()
        its.api.mood = lambda asked: error if asked.endpoint == "page" and not asked.is_probe else None
        its.poll()
        assert its.daemon.settled() == {running}
        assert failures(its) == 1
        assert up(its) == 0
        its.api.mood = lambda _asked: None
        its.poll(4)
        assert its.daemon.settled() == {running, new}


@pytest.mark.parametrize("endpoint", ["record", "result"])
def test_one_record_that_always_fails_is_not_the_platform(endpoint: str, tmp_path: Path) -> None:
    """The others are counted, polls are good, the platform is up."""
    with life(tmp_path, past=10) as its:
        bad = its.ran()
        error = NotUnderstoodError("a list where a string was expected")
        its.api.mood = only(endpoint, error, ids=frozenset({bad}))
        good = {its.ran() for _ in range(5)}
        its.poll(6)
        assert its.daemon.settled() == good
        assert (failures(its), up(its), its.daemon.poller.last_error) == (0, 1, None)


def test_many_look_ups_that_fail_in_a_row_are_the_platform(tmp_path: Path) -> None:
    """The records that its pages show can't be had either: the rest of the round is not asked."""
    with life(tmp_path, past=10) as its:
        for _ in range(100):
            its.ran()
        its.api.mood = only("record", PlatformFailure("database down"))
        its.forget_requests()
        its.poll()
        asked = sum(asked.endpoint == "record" for asked in its.api.requests)
        assert LOST_AFTER < asked < LOST_AFTER + 5
        told = "database down: the platform failed: check its log"
        assert (failures(its), its.daemon.poller.last_error) == (1, told)
        its.api.mood = lambda _asked: None
        its.poll(4)
        assert its.finished == 100


@pytest.mark.parametrize("error", [ConnectError("refused"), CredentialsError("invalid user")])
def test_what_is_never_one_records_fault_fails_the_poll_at_once(error: ApiError, tmp_path: Path) -> None:
    """No connection, or credentials that may read pages only: the first look-up tells."""
    with life(tmp_path, past=10) as its:
        its.ran()
        its.api.mood = only("record", error)
        its.poll()
        assert (failures(its), its.daemon.poller.last_error) == (1, str(error))


def test_a_fault_of_the_exporter_is_survived_and_told(tmp_path: Path) -> None:
    """The one broad except of the program: logged with its traceback, counted, and polled on.

    What the exception quotes is for the log: everyone who may ask for readiness sees the last error.
    """
    with life(tmp_path, past=10) as its:
        its.ran()

        def broken(asked: Asked) -> None:
            if asked.endpoint == "record":
                raise ZeroDivisionError("canary")

        its.api.mood = broken
        with capture_logs() as lines:
            its.poll()
        fault = next(
            line for line in lines if line["event"] == "poll failed because of a bug in the exporter"
        )
        assert fault["exc_info"]
        assert its.daemon.poller.last_error == "ZeroDivisionError"
        assert failures(its) == 1
        its.api.mood = lambda _asked: None
        its.poll(4)
        assert its.finished == 1


# -- clocks


@pytest.mark.parametrize("jump", [-7200.0, -60.0, 60.0, 7200.0, 86_400.0])
def test_our_clock_jumps_and_nothing_stalls(jump: float, tmp_path: Path) -> None:
    """Back or forth, with the platform's clock standing still: a minute later all is counted."""
    with life(tmp_path, past=100) as its:
        running = {its.add(timeout=5000) for _ in range(3)}
        its.poll(40)
        late = its.add(rows=False)
        its.poll(3)
        its.clock.set_ahead += jump
        its.api.clock_skew = -jump
        for record in running:
            its.end(record)
        new = its.ran()
        its.poll(5)
        assert its.daemon.settled() == {*running, new}
        its.world.give_rows(late)
        its.end(late)
        its.poll(25)
        assert late in its.daemon.settled()
        assert its.is_true()
        assert up(its) == 1


@pytest.mark.parametrize("skew", [-7200.0, -3.0, 3.0, 7200.0])
def test_the_platforms_clock_is_off(skew: float, tmp_path: Path) -> None:
    """The baseline is told by its clock, the lag too; the skew is shown."""
    with life(tmp_path, past=10, polled=False) as its:
        its.api.clock_skew = skew
        world_now = its.clock.now + skew
        old = its.world.add(
            its.world.record(next(iter(its.world)).id).spec.__class__(start=world_now - 99), 0
        )
        its.world.finish(old, "success", world_now - 1)
        its.poll()
        its.clock.now += 2
        new = its.add(start=its.clock.now + skew)
        its.end(new, end=its.clock.now + skew)
        its.poll(4)
        assert its.daemon.settled() == {new}
        assert its.daemon.gauge("job_exporter_clock_skew_seconds") == skew
        assert 0 <= its.daemon.value("job_exporter_count_lag_seconds", "sum") <= 60


def test_without_a_date_the_skew_is_not_shown(tmp_path: Path) -> None:
    """Nothing is told that is not known; times are taken as they are."""
    with life(tmp_path, past=10) as its:
        its.api.clock_skew = None
        its.ran()
        its.poll(3)
        assert its.daemon.gauge("job_exporter_clock_skew_seconds") is None
        assert its.finished == 1


@pytest.mark.parametrize("interval", [1.0, 60.0, 300.0, 3600.0])
def test_any_interval_works(interval: float, tmp_path: Path) -> None:
    """Records are looked at once a poll, whatever `poll.interval` is: never again by the same one."""
    rules = RULES.__class__(interval=interval, buckets=RULES.buckets)
    with life(tmp_path, past=10, rules=rules) as its:
        record = its.add(timeout=int(3 * interval))
        its.poll()
        its.forget_requests()
        its.poll(6)
        lookups = its.api.lookups(record)
        assert len(lookups) == len(set(lookups))
        its.end(record)
        its.poll(70)
        assert its.finished == 1


# -- the end


class Held:
    """A platform whose look-ups wait until they are let go."""

    def __init__(self, its: Life) -> None:
        self.its, self.release, self.asked = its, asyncio.Event(), asyncio.Event()
        self.held = "record"

    def platform_now(self) -> float | None:
        return self.its.api.platform_now()

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, Any]:
        if self.held == "page":
            await self._wait()
        return await self.its.api.page(number, size, patient=patient, retry=retry)

    async def record(self, record_id: str) -> Any:
        if self.held == record_id:
            await self._wait()
        return await self.its.api.record(record_id)

    async def results(self, record_id: str) -> Any:
        return await self.its.api.results(record_id)

    async def _wait(self) -> None:
        self.asked.set()
        await self.release.wait()


def poller(its: Life, api: Held) -> Poller:
    return Poller(
        api=api,
        ledger=its.daemon.ledger,
        config=its.daemon.config,
        process=its.daemon.process,
        publish=its.daemon._take,
        wall=its.clock,
        monotonic=its.clock,
        sleep=its.clock.sleep,
    )


@pytest.fixture
def its(tmp_path: Path) -> Any:
    """Give a platform that was polled once."""
    with life(tmp_path, past=10) as given:
        given.api.left = 1000
        yield given


def test_a_stop_commits_what_is_in_hand(its: Life) -> None:
    """A record that was read is counted though another's answer is awaited; then nothing more is asked."""

    async def scenario() -> None:
        api = Held(its)
        polling = poller(its, api)
        api.held = slow
        its.clock.now += 15
        task = asyncio.create_task(polling.poll())
        await api.asked.wait()
        await asyncio.sleep(0)
        polling.stop()
        await polling.idle()
        await task
        requests = len(its.api.requests)
        await polling.poll()
        assert len(its.api.requests) == requests

    slow, quick = its.ran(), its.ran()
    its.daemon._loop.run_until_complete(scenario())
    assert its.daemon.settled() == {quick}
    its.poll(4)
    assert its.daemon.settled() == {quick, slow}


def test_a_stop_does_not_wait_for_a_page(its: Life) -> None:
    """The probe is given up; the poll ends without being counted."""

    async def scenario() -> None:
        api = Held(its)
        api.held = "page"
        polling = poller(its, api)
        task = asyncio.create_task(polling.poll())
        await api.asked.wait()
        polling.stop()
        await polling.idle()
        await task
        assert polling.last_error == "the first poll has not ended yet"

    its.daemon._loop.run_until_complete(scenario())


def test_a_poll_that_is_cancelled_by_others_says_so(its: Life) -> None:
    """Without a stop a cancellation is not swallowed."""

    async def scenario() -> None:
        api = Held(its)
        api.held = "page"
        polling = poller(its, api)
        task = asyncio.create_task(polling.poll())
        await api.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await polling.idle()

    its.daemon._loop.run_until_complete(scenario())


def test_an_idle_poller_stops_at_once(its: Life) -> None:
    """Nothing is in flight."""
    its.daemon.poller.stop()
    its.daemon._loop.run_until_complete(its.daemon.poller.idle())
    its.forget_requests()
    its.poll(3)
    assert its.api.requests == []


def test_a_stop_waits_for_a_release(its: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread asks the ledger what is to be released, the program does not end under it."""
    begun, may_end = threading.Event(), threading.Event()
    real = its.daemon.ledger.release

    def slow(*, now: float) -> bool:
        begun.set()
        assert may_end.wait(timeout=30)
        return real(now=now)

    async def scenario() -> None:
        polling = its.daemon.poller
        task = asyncio.create_task(polling.release())
        assert await asyncio.to_thread(begun.wait, 30)
        polling.stop()
        idle = asyncio.create_task(polling.idle())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not idle.done()
        may_end.set()
        await idle
        await task

    monkeypatch.setattr(its.daemon.ledger, "release", slow)
    its.daemon._loop.run_until_complete(scenario())
