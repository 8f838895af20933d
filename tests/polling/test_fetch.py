"""What a round asks: all at once, no failure costs another question, and the duty of pages is kept."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from exporter.discovery.pages import PageRequest
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    RecordNotFound,
    TooLargeError,
)
from exporter.model import Ended, Page, Record, Results
from exporter.polling.fetch import LOST_AFTER, Gathered, Gatherer
from exporter.tracking.tracker import UNREADABLE_LOOKUPS, Clock, Tracked
from tests.harness.core import NOW, done, item, page, row, rows

REQUEST = PageRequest(number=3, size=20)
COMPLETE = rows(row("a"))


@dataclass
class Api:
    """A platform where everything has ended, but for what `fails` says of an endpoint and an id."""

    now: float = 0.0
    page_seconds: float = 0.0
    fails: Callable[[str, str], ApiError | None] = lambda _endpoint, _id: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: frozenset[str] = frozenset()  # endpoints that never answer

    def platform_now(self) -> float | None:
        return None

    async def _meet(self, endpoint: str, record_id: str = "") -> None:
        self.asked.append((endpoint, record_id))
        if endpoint in self.silent:
            await asyncio.Event().wait()
        if (error := self.fails(endpoint, record_id)) is not None:
            raise error

    async def page(self, number: int, size: int) -> tuple[Page, PageCost]:
        self.now += self.page_seconds
        await self._meet("page")
        return page(number, size, 60, item("r")), PageCost(seconds=self.page_seconds, size=100)

    async def record(self, record_id: str) -> Record:
        await self._meet("record", record_id)
        return done(record_id)

    async def results(self, record_id: str) -> Results:
        await self._meet("result", record_id)
        return COMPLETE


def gatherer(api: Api) -> Gatherer:
    return Gatherer(
        api, duty=0.1, clock=lambda: Clock(now=NOW, wall=NOW, platform=NOW), monotonic=lambda: api.now
    )


def followed(count: int = 1, **changes: Any) -> list[Tracked]:
    return [Tracked(id=f"r{number}", found=NOW, due=NOW, **changes) for number in range(count)]


def run(job: Coroutine[Any, Any, Gathered]) -> Gathered:
    return asyncio.run(job)


def always(error: ApiError, endpoint: str) -> Callable[[str, str], ApiError | None]:
    return lambda asked, _id: error if asked == endpoint else None


def test_a_page_and_looks_are_asked_together() -> None:
    """A record, its results once it is done, and the page; each look carries its record."""
    api = Api()
    gathered = run(gatherer(api).gather(REQUEST, followed(2)))
    assert gathered.page is not None
    assert gathered.page[0].number == 3
    assert {look.id: (look.record, look.results) for look in gathered.lookups} == {
        "r0": (done("r0"), COMPLETE),
        "r1": (done("r1"), COMPLETE),
    }
    assert (gathered.answers, gathered.is_lost, gathered.too_heavy) == (2, False, None)


def test_what_is_known_is_not_asked_again() -> None:
    """A record that was seen done, and results that its page has told."""
    api, ended = Api(), Ended(start=NOW - 10, end=NOW, results=COMPLETE)
    gathered = run(gatherer(api).gather(None, followed(ended=ended)))
    assert api.asked == [("record", "r0")]
    assert gathered.lookups[0].results is COMPLETE
    api.asked.clear()
    gathered = run(gatherer(api).gather(None, followed(record=done("r0"))))
    assert api.asked == [("result", "r0")]
    assert gathered.lookups[0].record is None


@pytest.mark.parametrize(
    ("error", "is_heavy", "fails"),
    [
        (TooLargeError("64 MiB", endpoint="page"), True, False),
        (DeadlineError("10 s", endpoint="page"), True, True),
        (HttpError("HTTP 500", endpoint="page", status=500), False, True),
    ],
)
def test_a_page_that_fails_costs_no_look(error: ApiError, is_heavy: bool, fails: bool) -> None:
    """What was too large, or too slow, is to be asked in halves; the first of these is no failure."""
    gathered = run(gatherer(Api(fails=always(error, "page"))).gather(REQUEST, followed()))
    assert gathered.page is None
    assert gathered.too_heavy == (REQUEST if is_heavy else None)
    assert gathered.page_error is (error if fails else None)
    assert len(gathered.lookups) == 1


def test_a_single_record_that_is_too_large_counts_as_an_empty_position() -> None:
    """Nothing smaller can be asked: it is looked at again as others are that show nothing."""
    api = Api(fails=always(TooLargeError("64 MiB", endpoint="page"), "page"))
    gathered = run(gatherer(api).gather(PageRequest(number=7, size=1), []))
    assert gathered.page is not None
    assert gathered.page[0] == page(7, 1, None)


def test_a_page_is_followed_by_a_pause() -> None:
    """It took 2 s: with a duty of a tenth the next one is due 20 s after it began, also when it failed."""
    for fails in (Api.fails, always(HttpError("HTTP 500", endpoint="page", status=500), "page")):
        asked = gatherer(Api(now=100.0, page_seconds=2.0, fails=fails))
        run(asked.gather(REQUEST, []))
        assert asked.page_due == pytest.approx(120.0)


def test_a_record_that_is_gone_or_cannot_be_read_is_said() -> None:
    """Both are answers; what can't be read fails, though not the platform."""
    odd = NotUnderstoodError("a list", endpoint="record")
    errors = {"r0": RecordNotFound("gone", endpoint="record"), "r1": odd}
    gathered = run(gatherer(Api(fails=lambda _endpoint, id_: errors.get(id_))).gather(None, followed(3)))
    told = {look.id: (look.not_found, look.unread) for look in gathered.lookups}
    assert told == {"r0": (True, False), "r1": (False, True), "r2": (False, False)}
    assert (gathered.is_lost, gathered.lost) == (False, odd)


def test_look_ups_end_when_the_platform_is_gone() -> None:
    """After so many failures in a row; of records that could not be read for long none counts."""
    error = HttpError("HTTP 500", endpoint="record", status=500)
    gathered = run(gatherer(api := Api(fails=always(error, "record"))).gather(None, followed(100)))
    assert len(api.asked) == LOST_AFTER
    assert gathered.is_lost
    odd = followed(100, unread=UNREADABLE_LOOKUPS)
    gathered = run(gatherer(api := Api(fails=always(error, "record"))).gather(None, odd))
    assert len(api.asked) == 100
    assert not gathered.is_lost


def test_a_refused_connection_is_the_platform_at_once() -> None:
    """Unless something was answered in the same round."""
    refused = ConnectError("refused", endpoint="record")
    assert Gathered(lost=refused).is_lost
    assert not Gathered(lost=refused, answers=1).is_lost


def test_a_cancelled_round_brings_back_what_was_answered() -> None:
    """The page never comes; the look that did is not lost."""

    async def cut_short() -> Gathered:
        asked = gatherer(Api(silent=frozenset({"page"})))
        task = asyncio.create_task(asked.gather(REQUEST, followed()))
        for _ in range(10):
            await asyncio.sleep(0)
        asked.cancel()
        return await task

    gathered = run(cut_short())
    assert (gathered.page, gathered.page_error, len(gathered.lookups)) == (None, None, 1)


def test_a_wait_can_be_cut_short() -> None:
    """As a pause before a page, when the program is to end."""

    async def cut_short() -> None:
        asked = gatherer(Api())
        task = asyncio.create_task(asked.waited(asyncio.Event().wait()))
        await asyncio.sleep(0)
        asked.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_short())


def test_a_fault_of_the_exporter_is_raised() -> None:
    """It is no answer of the platform: the poll ends with it."""

    class BrokenApi(Api):
        async def record(self, record_id: str) -> Record:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(gatherer(BrokenApi()).gather(REQUEST, followed()))
