"""The pages of a poll: their deadlines and retries, what they are charged, and who failed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from exporter.discovery.order import Ends
from exporter.discovery.pages import Order, PageRequest, Purpose
from exporter.discovery.tail import Tail
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, ConnectError, DeadlineError, HttpError
from exporter.jobapi.pacing import AT_START
from exporter.model import Clock, Page, Record, Results
from exporter.polling.paging import MOST_EMPTY, MOST_FAILED, QUICK, Pages
from tests.harness.core import NOW, item, page

TAIL = Tail(total=1000, last_total=1000, ends=Ends(order=Order.ASC))
ONE = PageRequest(number=951, size=1)
MANY = PageRequest(number=20, size=50)
BROKEN = HttpError("HTTP 500", status=500)


@dataclass
class Api:
    """A platform of 1,000 records; remembers how it was asked."""

    now: float = 0.0
    seconds: float = 1.0
    shows: bool = True
    fails: Callable[[int, int], ApiError | None] = lambda _number, _size: None
    asked: list[tuple[int, int, bool, bool]] = field(default_factory=list)

    def platform_now(self) -> float | None:
        return None

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        self.asked.append((number, size, patient, retry))
        self.now += self.seconds
        if (error := self.fails(number, size)) is not None:
            raise error
        items = (item("r"),) if self.shows else ()
        return page(number, size, 1000, *items), PageCost(seconds=self.seconds, size=100)

    async def record(self, record_id: str) -> Record:
        raise NotImplementedError

    async def results(self, record_id: str) -> Results:
        raise NotImplementedError


def pages(api: Api) -> Pages:
    made = Pages(api, duty=0.1, monotonic=lambda: api.now)
    made.begin()
    return made


def ask(given: Pages, request: PageRequest) -> ApiError | None:
    """The failure of a page, if it failed."""
    try:
        asyncio.run(given.ask(request))
    except ApiError as error:
        return error
    return None


def failed(given: Pages, request: PageRequest, error: ApiError) -> tuple[Tail, ApiError | None]:
    clock = Clock(now=NOW, wall=NOW, platform=NOW)
    return asyncio.run(given.failed(TAIL, request, error, clock=clock, interval=15.0))


def test_a_page_is_charged_what_the_platform_took() -> None:
    """The sweep has a bucket of its own."""
    api = Api(seconds=1.5 * AT_START)
    given = pages(api)
    ask(given, PageRequest(number=20, size=50, purpose=Purpose.SWEEP))
    assert given.wait() == 0.0
    ask(given, MANY)
    assert given.wait() > 0.0


def test_a_page_that_hangs_is_charged_as_one_that_does_not() -> None:
    """Nobody works on it: narrowing it down need not wait for its duty."""
    api = Api()
    given = pages(api)
    ask(given, MANY)
    api.seconds, api.fails = 60.0, lambda _number, _size: DeadlineError("60 s")
    for _ in range(10):
        ask(given, MANY)
    assert given.wait() == 0.0


def test_only_slow_pages_are_waited_for_long() -> None:
    """Where good pages take less than a quarter of the deadline, one that takes all of it hangs."""
    api = Api(seconds=QUICK / 2)
    given = pages(api)
    ask(given, MANY)
    ask(given, MANY)
    api.seconds = 2 * QUICK
    ask(given, MANY)
    ask(given, MANY)
    assert [patient for _, _, patient, _ in api.asked] == [True, False, False, True]


def test_what_is_tried_alone_is_not_retried_by_the_client() -> None:
    """It is asked again soon enough."""
    api = Api()
    given = pages(api)
    for purpose in Purpose:
        ask(given, PageRequest(number=1, size=2, purpose=purpose))
    retried = {purpose: retry for purpose, (_, _, _, retry) in zip(Purpose, api.asked, strict=True)}
    assert {purpose for purpose, retry in retried.items() if not retry} == {Purpose.NARROW, Purpose.RETRY}


def test_a_page_that_fails_is_narrowed() -> None:
    """No poll fails for it."""
    tail, error = failed(pages(Api()), MANY, BROKEN)
    assert error is None
    assert tail.narrowing is not None
    assert (tail.narrowing.lo, tail.narrowing.hi) == (950, 1000)


@pytest.mark.parametrize("error", [ConnectError("refused"), HttpError("503", status=503)])
def test_a_failure_that_is_no_records_fails_the_poll(error: ApiError) -> None:
    """Nothing is narrowed."""
    assert failed(pages(Api()), MANY, error) == (TAIL, error)


def test_a_single_position_fails_by_itself_if_others_can_be_read() -> None:
    """Here: the one below it, asked as a control."""
    api = Api()
    tail, error = failed(pages(api), ONE, BROKEN)
    assert error is None
    assert [one.position for one in tail.unreadable] == [950]
    assert [asked[:2] for asked in api.asked] == [(950, 1)]


def test_if_others_fail_too_it_is_the_platform() -> None:
    """Nothing is registered, nothing is narrowed any more."""
    api = Api(fails=lambda _number, _size: BROKEN)
    assert failed(pages(api), ONE, BROKEN) == (TAIL, BROKEN)
    assert [asked[:2] for asked in api.asked] == [(950, 1), (851, 1)]


def test_no_control_is_asked_where_a_page_of_the_poll_came() -> None:
    """It has shown that the platform answers."""
    api = Api()
    given = pages(api)
    ask(given, MANY)
    tail, error = failed(given, ONE, BROKEN)
    assert (error, len(tail.unreadable), len(api.asked)) == (None, 1, 1)


def probed(given: Pages) -> int | None:
    """The page by which the total was told."""
    try:
        tail, _, _ = asyncio.run(given.probe(TAIL))
    except ApiError:
        return None
    return tail.probe.number


def test_a_probe_goes_past_a_record_that_fails() -> None:
    """Two others are asked; while all fail, one a poll is enough."""
    api = Api(fails=lambda number, _size: BROKEN if number < 3 else None)
    assert probed(pages(api)) == 3
    api.fails = lambda _number, _size: BROKEN
    api.asked.clear()
    given = pages(api)
    assert [probed(given) for _ in range(4)] == [None] * 4
    assert [asked[0] for asked in api.asked] == [1, 2, 3, 2, 3, 1]


def test_pages_that_fail_are_charged() -> None:
    """A control that fails, too; the platform worked for them."""
    api = Api(fails=lambda _number, _size: BROKEN, seconds=AT_START / 2)
    given = pages(api)
    failed(given, ONE, BROKEN)
    ask(given, MANY)
    assert given.wait() > 0.0


@pytest.mark.parametrize(("seconds", "most"), [(0.1, MOST_FAILED), (10.0, 6), (60.0, 1)])
def test_failed_pages_are_bounded_in_a_poll(seconds: float, most: int) -> None:
    """In number and in time; the next poll goes on."""
    api = Api(fails=lambda _number, _size: DeadlineError("late"), seconds=seconds)
    given = pages(api)
    while not given.is_over:
        ask(given, MANY)
    assert len(api.asked) == most
    assert given.sweep_page(TAIL, limit=50) is None
    given.begin()
    assert not given.is_over


def test_empty_pages_are_bounded_in_a_poll() -> None:
    """While rows blink, each page may be empty."""
    api = Api(seconds=0.01, shows=False)
    given = pages(api)
    while not given.is_over:
        ask(given, MANY)
    assert len(api.asked) == MOST_EMPTY
