"""Platform → work file: the truth in every order and dialect, whatever happens meanwhile, and its cost."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    CredentialsError,
    DeadlineError,
    NotUnderstoodError,
    TooLargeError,
)
from exporter.jobapi.patient import FIRST_TRIES, PATIENCE, TRIES, PatientApi
from exporter.model import Page
from exporter.settings.time_range import Window
from exporter.simulator.dialect import Dialect
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.traffic import Traffic
from exporter.simulator.truth import RecordTruth, Tally, tally
from exporter.simulator.world import Order as WorldOrder
from exporter.simulator.world import World
from tests.harness.backfill import last_tally, read, samples, walk_of, written
from tests.harness.core import HOSTS
from tests.harness.inprocess import Clock, EndlessError, WorldApi

NOW = 1_800_000_000.0
HOUR = 3600.0
DIALECTS: dict[str, Dialect] = {
    "observed": ObservedDialect(),
    "records": DocumentedDialect(items="records"),
    "rows": DocumentedDialect(items="rows"),
}
ORDERS = pytest.mark.parametrize("order", ["asc", "desc"])


@dataclass
class BusyApi(WorldApi):
    """A job API on whose platform something happens at each request."""

    happens: Callable[[str], ApiError | None] = lambda _endpoint: None
    pages: list[tuple[float, int]] = field(default_factory=list)  # when each was asked, and its size
    ids: set[str] = field(default_factory=set)  # that were asked for

    def _answer(self, endpoint: str, **query: str) -> tuple[bytes, int]:
        if endpoint == "page":
            assert self.clock
            self.pages.append((self.clock.now, int(query["pageSize"])))
        self.ids.add(query.get("id", ""))
        if (error := self.happens(endpoint)) is not None:
            raise error
        return super()._answer(endpoint, **query)


def filled(
    count: int, *, scenario: str = "demo", order: WorldOrder = "asc", seed: int = 1, **changes: float
) -> World:
    """A platform on which so many jobs have come and nearly all gone, up to now."""
    world = World(order=order, seed=seed)
    life = replace(SCENARIOS[scenario], rate=1 / 60, **changes)  # type: ignore[arg-type]
    traffic = Traffic(seed=seed, scenario=life)
    for step in range(count + 1):
        traffic.advance(world, NOW - (count - step) * 60)
    return world


def expected(world: World, window: Window) -> Tally:
    """What must have been counted: what pages show, is done, and ended in the window."""

    def counts(fact: RecordTruth) -> bool:
        record = world.record(fact.id)
        times = [time for time in (record.start, record.end) if time is not None]
        return fact.visible and window.holds(max(times, default=None))

    return tally(fact for fact in world.truth().values() if not fact.deleted and counts(fact))


def api_of(world: World, **changes: Any) -> BusyApi:
    return BusyApi(world, clock=Clock(NOW), **changes)


def answered(api: BusyApi) -> None:
    assert api.clock
    api.left = 10
    asyncio.run(PatientApi(api, duty=1.0, monotonic=api.clock, sleep=api.clock.sleep).total())


def backfilled(world: World, window: Window, api: BusyApi | None = None, **config: Any) -> Tally:
    """Read and write; the last samples."""
    with TemporaryDirectory() as folder:
        read(Path(folder), api or api_of(world), window, **config)
        return last_tally(samples(written(Path(folder), window)))


# -- the truth


@ORDERS
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("hours", [(10, 0), (8, 3), (1, 0.5), (30, 20)])
def test_what_ended_in_the_window_is_counted(
    order: WorldOrder, dialect: str, hours: tuple[float, float]
) -> None:
    """Exactly the records that ended in the window are counted, wherever the window lies."""
    world = filled(900, order=order)
    world.rows_decide = dialect != "records"
    window = Window(begin=NOW - hours[0] * HOUR, end=NOW - hours[1] * HOUR)
    truth = expected(world, window)
    assert backfilled(world, window, api_of(world, dialect=DIALECTS[dialect]), longest_run=HOUR) == truth
    assert bool(truth.results) == (hours[1] < 15)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["asc", "desc"]), st.integers(0, 300))
def test_every_trap_is_read_truly(seed: int, order: WorldOrder, count: int) -> None:
    """Odd statuses, repeated rows, silent hosts, ends before starts and ties are counted correctly."""
    world = filled(count, scenario="traps", order=order, seed=seed)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    assert backfilled(world, window) == expected(world, window)


def test_a_long_run_that_began_before_the_window_is_found(tmp_path: Path) -> None:
    """A record that began at most `longest_run` before the window is counted; an older one is not."""
    world = World()
    for hours in (2, 7):
        id_ = world.add(RecordSpec(hosts=HOSTS[:1], start=NOW - hours * HOUR), NOW)
        world.finish(id_, "success", NOW - 60)
    for minute in range(400):
        at = NOW - 8 * HOUR + 60 * minute
        world.finish(world.add(RecordSpec(hosts=HOSTS[:1], start=at), at), "fail", at + 1)
    window = Window(begin=NOW - 600, end=NOW)
    assert backfilled(world, window, longest_run=3 * HOUR).results == {"success": 1}
    assert backfilled(world, window, longest_run=8 * HOUR).results == {"success": 2}


def test_what_live_counting_owns_is_left_out(tmp_path: Path) -> None:
    """Records that the daemon counts are neither looked up nor counted."""
    world = filled(100)
    window = Window(begin=NOW - HOUR, end=NOW)
    ids = sorted(world.truth())
    mine = set(ids[::2])

    def owns(asked: Collection[str]) -> set[str]:
        return mine & set(asked)

    api = api_of(world)
    read(tmp_path, api, window, owns=owns)
    facts = [fact for id_, fact in world.truth().items() if id_ not in mine]
    counted = last_tally(samples(written(tmp_path, window)))
    assert sum(counted.results.values()) == sum(window.holds(world.record(f.id).end) for f in facts)
    assert not api.ids & mine


def test_records_are_discovered_when_they_begin(tmp_path: Path) -> None:
    """A record counts as discovered at its start; open records are left to the daemon."""
    world = World()
    for start, end in ((-200, -100), (-200, -10), (-4000, -100), (-200, None), (-20, -10)):
        id_ = world.add(RecordSpec(hosts=HOSTS[:1], start=NOW + start), NOW)
        if end is not None:
            world.finish(id_, "success", NOW + end)
    window = Window(begin=NOW - 3600, end=NOW - 60)
    read(tmp_path, api_of(world), window)
    found = samples(written(tmp_path, window))
    assert found["job_records_discovered_total", ()][-1][1] == 2
    assert last_tally(found).results == {"success": 2}


# -- what happens meanwhile


@ORDERS
@pytest.mark.parametrize("happens", ["old ones go", "new ones come", "both"])
def test_a_platform_that_changes_meanwhile_loses_nothing(order: WorldOrder, happens: str) -> None:
    """Records that are added or deleted while pages are read cause no miscount."""
    world = filled(700, order=order)
    window = Window(begin=NOW - 5 * HOUR, end=NOW - HOUR)
    truth = expected(world, window)
    gone = 0

    def change(endpoint: str) -> None:
        nonlocal gone
        if endpoint == "page" and happens != "new ones come" and gone < 150:
            gone += 7
            world.delete_oldest(7)
        if endpoint == "page" and happens != "old ones go":
            for _ in range(7):
                world.finish(world.add(RecordSpec(hosts=HOSTS[:1]), NOW), "success", NOW)

    assert backfilled(world, window, api_of(world, happens=change), longest_run=0.0) == truth


@ORDERS
@settings(max_examples=12, deadline=None)
@given(stops=st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_an_interruption_anywhere_changes_no_byte(order: WorldOrder, stops: list[int]) -> None:
    """A reading that is interrupted at any request and continued writes the same output."""
    world = filled(250, order=order)
    window = Window(begin=NOW - 3 * HOUR, end=NOW - HOUR)
    with TemporaryDirectory() as whole, TemporaryDirectory() as broken:
        read(Path(whole), api_of(world), window)
        for stop in stops:
            left = iter(range(stop))

            def dies(_endpoint: str, left: object = left) -> None:
                if next(left, None) is None:  # type: ignore[call-overload]
                    raise EndlessError

            try:
                read(Path(broken), api_of(world, happens=dies), window)
            except EndlessError:
                continue
        read(Path(broken), api_of(world), window)
        assert written(Path(broken), window) == written(Path(whole), window)


@ORDERS
def test_a_busy_platform_is_read_to_its_end(order: WorldOrder, tmp_path: Path) -> None:
    """The reading ends although more records begin between two pages than a page has."""
    world = filled(100, order=order)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    truth = expected(world, window)
    clock, last = Clock(NOW), NOW

    def grow(endpoint: str) -> None:
        nonlocal last
        if endpoint == "page":
            for _ in range(int((clock.now - last) * 50)):  # 50 a second
                world.add(RecordSpec(hosts=HOSTS[:1]), clock.now)
            last = clock.now

    class Tariffed(BusyApi):
        async def page(
            self, number: int, size: int, *, patient: bool = True, retry: bool = True
        ) -> tuple[Page, PageCost]:
            self.page_seconds = 0.01 if size == 1 else 0.5
            return await super().page(number, size, patient=patient, retry=retry)

    read(tmp_path, Tariffed(world, clock=clock, happens=grow), window)
    assert last_tally(samples(written(tmp_path, window))) == truth


def test_what_was_read_is_not_asked_again(tmp_path: Path) -> None:
    """A second run after a complete reading sends no request."""
    world = filled(100)
    window = Window(begin=NOW - HOUR, end=NOW)
    read(tmp_path, api_of(world), window)
    again = api_of(world)
    read(tmp_path, again, window)
    assert not again.asked


# -- trouble


def failing(endpoint: str, error: ApiError, times: int) -> Callable[[str], ApiError | None]:
    """Let an endpoint fail so often."""
    left = Counter({endpoint: times})

    def fails(asked: str) -> ApiError | None:
        left[asked] -= 1
        return error if left[asked] >= 0 else None

    return fails


def test_a_platform_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    """If the platform comes back within ten minutes, everything is read."""
    world = filled(200)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    asked = Counter[str]()

    def away(endpoint: str) -> ApiError | None:
        asked[endpoint] += 1
        return ConnectError("gone") if 60 < sum(asked.values()) < 66 else None

    assert backfilled(world, window, api_of(world, happens=away)) == expected(world, window)


def test_a_platform_that_stays_away_ends_it_and_what_was_read_is_kept(tmp_path: Path) -> None:
    """After ten minutes without the platform the reading ends; a later run continues it."""
    world = filled(200)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    left = iter(range(100))

    def away(_endpoint: str) -> ApiError | None:
        return ConnectError("cannot reach it") if next(left, None) is None else None

    api = api_of(world, happens=away)
    with pytest.raises(ApiError, match="cannot reach it"):
        read(tmp_path, api, window)
    assert api.clock
    assert PATIENCE <= api.clock.now - NOW < PATIENCE + 400
    assert walk_of(tmp_path).records > 0
    read(tmp_path, api_of(world), window)
    assert last_tally(samples(written(tmp_path, window))) == expected(world, window)


@pytest.mark.parametrize("error", [ConnectError("nobody there"), CredentialsError("who?")])
def test_a_platform_that_never_answered_is_not_waited_for(error: ApiError, tmp_path: Path) -> None:
    """A platform that never answered, or rejects the credentials, ends the reading at once."""
    api = api_of(World(), happens=lambda _endpoint: error)
    with pytest.raises(ApiError, match=str(error).replace("?", r"\?")):
        read(tmp_path, api, Window(begin=0.0, end=NOW))
    assert api.clock
    assert api.clock.now == NOW


@pytest.mark.parametrize("bad", [FIRST_TRIES - 1, FIRST_TRIES])
def test_a_few_bad_answers_at_first_end_nothing(bad: int, tmp_path: Path) -> None:
    """Three bad answers at first are tolerated; after the fourth it is not a job platform."""
    world = filled(20)
    error = NotUnderstoodError("a web page")
    for job in (lambda api: read(tmp_path, api, Window(begin=NOW - HOUR, end=NOW)), answered):
        api = api_of(world, happens=failing("page", error, bad))
        if bad < FIRST_TRIES:
            job(api)
        else:
            with pytest.raises(ApiError, match="a web page"):
                job(api)


def test_half_broken_answers_cost_only_time(tmp_path: Path) -> None:
    """Failed look-ups are tried again, and nothing is counted without its hosts."""
    world = filled(150)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    asked = Counter[str]()

    def broken(endpoint: str) -> ApiError | None:
        asked[endpoint] += 1
        bad = endpoint != "page" and asked[endpoint] % 2
        return NotUnderstoodError("half") if bad else None

    assert backfilled(world, window, api_of(world, happens=broken)) == expected(world, window)


def test_results_that_never_come_leave_the_record_counted_without_hosts(tmp_path: Path) -> None:
    """A record whose results cannot be read is counted without hosts, and that is reported."""
    world = World()
    world.finish(world.add(RecordSpec(hosts=HOSTS[:2]), NOW - 50), "success", NOW - 30)
    window = Window(begin=NOW - HOUR, end=NOW)
    api = api_of(world, happens=failing("result", NotUnderstoodError("?"), TRIES))
    read(tmp_path, api, window)
    found = samples(written(tmp_path, window))
    assert last_tally(found).results == {"success": 1}
    assert found["job_exporter_records_incomplete_total", (("reason", "no_results"),)][-1][1] == 1
    assert walk_of(tmp_path).unread == 1


@pytest.mark.parametrize("error", [DeadlineError("slow"), TooLargeError("big")])
def test_a_page_that_is_too_heavy_is_asked_in_halves(error: ApiError, tmp_path: Path) -> None:
    """A page that is too large or too slow is halved until it comes; no record is skipped."""
    world = filled(200)
    window = Window(begin=NOW - 2 * HOUR, end=NOW)
    api = api_of(world)
    api.happens = lambda _: error if api.pages[-1][1] > 10 else None
    assert backfilled(world, window, api) == expected(world, window)


def test_a_record_that_is_too_large_to_be_shown_is_passed_and_told(tmp_path: Path) -> None:
    """A record that is too large is skipped and reported; its neighbours are read."""
    window = Window(begin=NOW - HOUR, end=NOW)
    orders: tuple[WorldOrder, ...] = ("asc", "desc")
    for order in orders:
        world = World(order=order)
        ids = []
        for second in range(20):
            ids.append(world.add(RecordSpec(hosts=HOSTS[:1]), NOW - 100 + second))
            world.finish(ids[-1], "success", NOW - 10)

        class Heavy(BusyApi):
            async def page(
                self, number: int, size: int, *, patient: bool = True, retry: bool = True
            ) -> tuple[Page, PageCost]:
                page, cost = await super().page(number, size, patient=patient, retry=retry)
                if any(item.id == ids[7] for item in page.items):  # noqa: B023
                    raise TooLargeError("big")
                return page, cost

        folder = tmp_path / order
        folder.mkdir()
        read(folder, Heavy(world, clock=Clock(NOW)), window)
        assert last_tally(samples(written(folder, window))).results == {"success": 19}
        assert walk_of(folder).unread == 1


def test_rows_that_blink_are_looked_at_again(tmp_path: Path) -> None:
    """Host rows of a fresh record that disappear for a moment are read again."""
    world = World()
    id_ = world.add(RecordSpec(hosts=HOSTS[:3]), NOW - 50)
    world.finish(id_, "success", NOW - 5)

    def blinks(endpoint: str) -> None:
        if endpoint == "record":
            world.blink(id_, keep=1)
        elif endpoint == "page":
            world.unblink(id_)

    api = api_of(world, happens=blinks)
    assert api.clock
    clock = api.clock

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        world.unblink(id_)

    clock.sleep = sleep  # type: ignore[method-assign]
    window = Window(begin=NOW - HOUR, end=NOW)
    read(tmp_path, api, window)
    assert sum(last_tally(samples(written(tmp_path, window))).hosts.values()) == 3


# -- what it costs


@ORDERS
def test_pages_keep_to_the_duty(order: WorldOrder, tmp_path: Path) -> None:
    """Pages take at most the duty, after the initial credit."""
    api = api_of(filled(300, order=order), page_seconds=20.0)
    read(tmp_path, api, Window(begin=NOW - 3 * HOUR, end=NOW - HOUR))
    times = [at for at, _ in api.pages]
    assert len(times) > 8
    assert all(20.0 * number <= 50.0 + 0.1 * (at - times[0]) for number, at in enumerate(times))


@ORDERS
def test_only_the_window_is_read(order: WorldOrder, tmp_path: Path) -> None:
    """The end of the window is found by a search; records far outside of it are not looked up."""
    world = filled(3000, order=order, traps=0.0)
    api = api_of(world)
    read(tmp_path, api, Window(begin=NOW - 21 * HOUR, end=NOW - 20 * HOUR), longest_run=0.0)
    in_window = sum(NOW - 21 * HOUR < (record.start or 0) <= NOW - 20 * HOUR for record in world)
    assert api.asked["record"] <= in_window + 100
    assert sum(size for _, size in api.pages) <= in_window + 200


def test_an_empty_platform_is_read_at_once(tmp_path: Path) -> None:
    """An empty platform is read without look-ups."""
    api = api_of(World())
    read(tmp_path, api, Window(begin=NOW - HOUR, end=NOW))
    assert api.asked == {"page": 1}
