"""What a round asks: all at once, no failure costs another question, and the duty of pages is kept."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from exporter.discovery.pages import PageRequest
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    CredentialsError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    PlatformFailure,
    RecordNotFound,
    TooLargeError,
)
from exporter.model import Clock, Page, Record, Results
from exporter.polling.fetch import LOST_AFTER, TRUSTED, Fetched, Fetcher
from exporter.polling.paging import Pages
from exporter.tracking.values import Stage, Tracked
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

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        self.now += self.page_seconds
        await self._meet("page")
        return page(number, size, 60, item("r")), PageCost(seconds=self.page_seconds, size=100)

    async def record(self, record_id: str) -> Record:
        await self._meet("record", record_id)
        return done(record_id)

    async def results(self, record_id: str) -> Results:
        await self._meet("result", record_id)
        return COMPLETE


def fetcher(api: Api) -> Fetcher:
    def clock() -> Clock:
        return Clock(now=NOW + api.now, wall=NOW, platform=NOW)

    pages = Pages(api, duty=0.1, monotonic=lambda: api.now)
    return Fetcher(api, pages=pages, clock=clock)


def followed(count: int = 1, **changes: Any) -> list[Tracked]:
    return [Tracked(id=f"r{number}", found=NOW, due=NOW, **changes) for number in range(count)]


def run(job: Coroutine[Any, Any, Fetched]) -> Fetched:
    return asyncio.run(job)


def always(error: ApiError, endpoint: str) -> Callable[[str, str], ApiError | None]:
    return lambda asked, _id: error if asked == endpoint else None


def test_a_page_and_looks_are_asked_together() -> None:
    """A record, its results once it is done, and the page; each look carries its record."""
    api = Api()
    fetched = run(fetcher(api).fetch(REQUEST, followed(2)))
    assert fetched.page is not None
    assert fetched.page[0].number == 3
    assert {look.id: (look.record, look.results) for look in fetched.lookups} == {
        "r0": (done("r0"), COMPLETE),
        "r1": (done("r1"), COMPLETE),
    }
    assert fetched.lost is None


def test_what_a_page_has_just_told_is_not_asked_again() -> None:
    """A record that was done on it: only its results are asked for."""
    api = Api()
    fetched = run(fetcher(api).fetch(None, followed(record=done("r0"))))
    assert api.asked == [("result", "r0")]
    assert fetched.lookups[0].record is None


def test_a_record_that_waits_for_its_hosts_is_asked_for_with_them() -> None:
    """What counts is the newest that is told of it."""
    api = Api()
    fetched = run(fetcher(api).fetch(None, followed(record=done("r0"), lookups=1, stage=Stage.DONE)))
    assert api.asked == [("record", "r0"), ("result", "r0")]
    assert fetched.lookups[0].record == done("r0")


def test_the_page_is_asked_for_first() -> None:
    """What it takes is then the platform's time, not that of our queue of look-ups."""
    run(fetcher(api := Api()).fetch(REQUEST, followed(100)))
    assert api.asked[0] == ("page", "")


def test_a_page_that_fails_costs_no_look() -> None:
    """The failure is brought back with what was answered."""
    error = HttpError("HTTP 500", status=500)
    fetched = run(fetcher(Api(fails=always(error, "page"))).fetch(REQUEST, followed()))
    assert (fetched.page, fetched.page_error) == (None, error)
    assert len(fetched.lookups) == 1


REFUSED = HttpError("HTTP 500", status=500, of_platform=True)
GONE = RecordNotFound("gone")
UNREACHABLE = ConnectError("refused")


def only(
    error: ApiError, *, of: Collection[str] = (), but: Collection[str] = ()
) -> Callable[[str, str], ApiError | None]:
    """Fail for these records, or for all but these."""
    return lambda _endpoint, id_: error if id_ in of or (but and id_ not in but) else None


def told(fetched: Fetched) -> dict[str, tuple[bool, bool]]:
    """Tell of each record that was looked up whether it was not found, and whether its own answer failed."""
    return {one.id: (one.not_found, one.failure is not None) for one in fetched.lookups}


def controlled(api: Api, *shown: str) -> Fetcher:
    """Give a fetcher to which the platform has shown these records."""
    asked = fetcher(api)
    asked.shown(page(1, 1, 60, *map(item, shown)))
    return asked


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        NotUnderstoodError("a list"),
        TooLargeError("64 MiB"),
        DeadlineError("10 s"),
        PlatformFailure("lock wait"),
    ],
)
def test_a_record_whose_own_answer_fails_costs_no_other(error: ApiError) -> None:
    """While any look-up is answered, a failure is its record's; and so is "not found"."""
    errors = {"r0": GONE, "r1": error}
    fetched = run(fetcher(Api(fails=lambda _endpoint, id_: errors.get(id_))).fetch(None, followed(3)))
    assert told(fetched) == {"r0": (True, False), "r1": (False, True), "r2": (False, False)}
    assert fetched.lost is None


@pytest.mark.parametrize("error", [REFUSED, GONE])
def test_without_any_answer_a_control_tells_whose_failure_it_is(error: ApiError) -> None:
    """A record that a page shows: if it can be had, the platform answers look-ups."""
    fails = only(error, but={"c"})
    fetched = run(controlled(api := Api(fails=fails), "c").fetch(None, followed(3)))
    assert len(fetched.lookups) == 3
    assert fetched.lost is None
    assert [id_ for _, id_ in api.asked].count("c") == 1


@pytest.mark.parametrize("error", [REFUSED, GONE])
def test_if_the_control_fails_too_the_platform_is_lost(error: ApiError) -> None:
    """No record is blamed, and none is taken for gone."""
    fetched = run(controlled(Api(fails=always(error, "record")), "c").fetch(None, followed(3)))
    assert fetched.lookups == []
    assert fetched.lost is not None
    assert fetched.lost.reason == ("api" if error is GONE else "http")


def test_a_control_is_none_of_those_that_failed() -> None:
    """Of the records that were shown, the first may be the one that can't be read; any other will do."""
    fails = only(REFUSED, of={"r0"})
    asked = controlled(Api(fails=fails), "r0", "c")
    assert told(run(asked.fetch(None, followed(1)))) == {"r0": (False, True)}


def test_what_was_answered_before_is_a_control_too() -> None:
    """Where the first record of the platform can't be looked up for ever."""
    fails = only(REFUSED, of={"first", "r0"})
    asked = controlled(api := Api(fails=fails), "first")
    run(asked.fetch(None, followed(2)))
    api.now += TRUSTED
    fetched = run(asked.fetch(None, followed(1)))
    assert (told(fetched), fetched.lost) == ({"r0": (False, True)}, None)
    assert api.asked[-2:] == [("record", "first"), ("record", "r1")]


def test_a_good_look_up_spares_the_control_for_some_seconds() -> None:
    """A poll has many rounds; it asks for the control once."""
    asked = controlled(api := Api(fails=only(GONE, but={"c"})), "c")
    for _ in range(3):
        assert told(run(asked.fetch(None, followed(1)))) == {"r0": (True, False)}
    assert api.asked.count(("record", "c")) == 1
    api.now += TRUSTED
    run(asked.fetch(None, followed(1)))
    assert api.asked.count(("record", "c")) == 2


def test_where_the_platform_shows_nothing_its_answers_are_all_there_is() -> None:
    """Nothing can be asked as a control: an empty platform knows no record."""
    asked = controlled(Api(fails=always(GONE, "record")), "c")
    asked.shown(page(1, 1, 0))
    assert told(run(asked.fetch(None, followed(1)))) == {"r0": (True, False)}


def test_look_ups_end_when_the_platform_is_gone() -> None:
    """After so many failures in a row the control is asked, and the rest is not."""
    asked = controlled(api := Api(fails=always(REFUSED, "record")), "c")
    fetched = run(asked.fetch(None, followed(400)))
    assert len(api.asked) == LOST_AFTER + 1
    assert (fetched.lost, fetched.lookups) == (REFUSED, [])


def test_any_number_of_unreadable_records_is_not_the_platform() -> None:
    """While it shows that it answers look-ups."""
    fails = only(REFUSED, but={"c"})
    fetched = run(controlled(api := Api(fails=fails), "c").fetch(None, followed(100)))
    assert fetched.lost is None
    assert set(told(fetched).values()) == {(False, True)}
    assert len(api.asked) == 100 + 100 // LOST_AFTER


def test_results_that_fail_are_their_records() -> None:
    """The record was answered."""
    fetched = run(fetcher(Api(fails=always(REFUSED, "result"))).fetch(None, followed(2)))
    assert told(fetched) == {"r0": (False, True), "r1": (False, True)}
    assert fetched.lost is None


@pytest.mark.parametrize(
    "error",
    [
        UNREACHABLE,
        CredentialsError("403"),
        HttpError("HTTP 503", status=503),
        HttpError("HTTP 404", status=404, of_platform=False),
    ],
)
def test_what_is_no_records_fault_is_the_platforms(error: ApiError) -> None:
    """It is lost at once, unless something was answered in the same round: then nothing was learnt."""
    fetched = run(controlled(api := Api(fails=always(error, "record")), "c").fetch(None, followed(3)))
    assert fetched.lost is error
    assert ("record", "c") not in api.asked
    once = Api(fails=lambda _endpoint, id_: error if id_ == "r0" else None)
    fetched = run(controlled(once, "c").fetch(None, followed(2)))
    assert fetched.lost is None
    assert told(fetched) == {"r0": (False, False), "r1": (False, False)}


def test_a_cancelled_round_brings_back_what_was_answered() -> None:
    """The page never comes; the look that did is not lost."""

    async def cut_short() -> Fetched:
        asked = fetcher(Api(silent=frozenset({"page"})))
        task = asyncio.create_task(asked.fetch(REQUEST, followed()))
        for _ in range(10):
            await asyncio.sleep(0)
        asked.cancel()
        return await task

    fetched = run(cut_short())
    assert (fetched.page, fetched.page_error, len(fetched.lookups)) == (None, None, 1)


def test_a_wait_can_be_cut_short() -> None:
    """As a pause before a page, when the program is to end."""

    async def cut_short() -> None:
        asked = fetcher(Api())
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
        run(fetcher(BrokenApi()).fetch(REQUEST, followed()))
