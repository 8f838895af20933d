"""An audit of a window: what is wrong is found by name, what is right is not, and the platform is spared."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace as change

from exporter.audit.auditor import LISTED, Auditor, Tally
from exporter.audit.report import window_json
from exporter.audit.verdict import Kind
from exporter.discovery.order import Ends
from exporter.jobapi.errors import ApiError, ConnectError, DeadlineError, HttpError, TooLargeError
from exporter.ledger import tables
from exporter.ledger.reader import Inspection
from exporter.ledger.tables import Progress
from exporter.model import Series
from exporter.settings.time_range import Window
from exporter.simulator.dialect import Dialect
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.world import Order
from exporter.tracking.values import Outcome
from tests.harness.core import NOW, Asked, Life, life
from tests.harness.inprocess import PLATFORM

HOUR = 3_600.0
LATER = 40  # polls after which all that ended is settled, and nothing is fresh any more


@contextmanager
def auditor(
    of: Life, *, sleep: Callable[[float], Awaitable[None]] | None = None, page_size: int = 50, **more: Any
) -> Iterator[Auditor]:
    """Give an auditor of this life's platform and ledger, by its clock."""
    of.api.left = 10_000
    with closing(Inspection(of.daemon.url, platform=PLATFORM)) as ledger:
        yield Auditor(
            api=of.api,
            ledger=ledger,
            config=replace(of.daemon.config, page_size=page_size),
            wall=of.clock,
            monotonic=of.clock,
            sleep=sleep or of.clock.sleep,
            **more,
        )


def audit(
    of: Life, *, since: float = HOUR, until: float = 0.0, longest_run: float = HOUR, **more: Any
) -> Tally:
    """Audit what ended in the seconds before now."""
    with auditor(of, **more) as one:
        window = Window(begin=of.clock.now - since, end=of.clock.now - until)
        return asyncio.run(one.window(window, longest_run=longest_run))


def judged(tally: Tally) -> dict[Kind, int]:
    return {kind: number for kind, number in tally.judged.items() if number}


def found(tally: Tally) -> dict[str, Kind]:
    """The findings, by id."""
    return {one.id: one.verdict.kind for one in tally.findings}


def forget(of: Life, *ids: str) -> None:
    """Remove rows of the ledger behind its back."""
    with of.daemon.ledger._database.writing() as connection:
        for id_ in ids:
            gone = sa.text("DELETE FROM job_exporter_settled WHERE id = :id")
            assert connection.execute(gone, {"id": id_}).rowcount == 1


def live(of: Life, records: int = 60) -> list[str]:
    """Let records of all kinds run and be counted; their ids."""
    ids = []
    for number in range(records):
        result = ("success", "fail", "TIMEOUT", "cancel", "odd")[number % 5]
        record = of.add(hosts=1 + number % 5, start=of.clock.now - number % 3)
        of.end(record, result, report_hosts=number % 7 > 0)
        ids.append(record)
        if number % 10 == 0:
            of.poll()
    of.poll(LATER)
    return ids


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "observed": ObservedDialect,
    "rows": lambda: DocumentedDialect(items="rows"),
    "records": lambda: DocumentedDialect(items="records"),
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_each_fault_is_found_and_nothing_else(
    order: Order, dialect: Callable[[], Dialect], tmp_path: Path
) -> None:
    """Missing, changed and deleted records are found; all others have no finding."""
    with life(tmp_path, order=order, dialect=dialect(), past=30) as it:
        ids = live(it)
        still_open = it.add()
        it.poll(LATER)
        it.world.amend(ids[50], result="fail")  # the fault below must not be the only one that a page shows
        clean = audit(it)
        assert found(clean) == {ids[50]: Kind.CHANGED}
        assert judged(clean) == {Kind.SAME: len(ids) - 1, Kind.CHANGED: 1}
        forget(it, ids[3], ids[40])
        it.world.delete([ids[20]])
        planted = {
            ids[3]: Kind.MISSING,
            ids[40]: Kind.MISSING,
            ids[20]: Kind.GONE,
            ids[50]: Kind.CHANGED,
        }
        assert found(audit(it)) == planted
        assert still_open in it.daemon.ledger.state.followed


def test_a_ledger_on_postgresql_is_audited_the_same_way(tmp_path: Path, postgres_url: str) -> None:
    """A PostgreSQL ledger is audited in read-only transactions while its daemon runs."""
    with life(tmp_path, past=10, daemon={"url": postgres_url}) as it:
        ids = live(it)
        forget(it, ids[3])
        it.world.amend(ids[50], result="fail")
        it.world.delete([ids[20]])
        tally = audit(it)
        assert found(tally) == {ids[3]: Kind.MISSING, ids[50]: Kind.CHANGED, ids[20]: Kind.GONE}
        assert tally.judged[Kind.SAME] == len(ids) - 3


def test_a_clean_run_has_no_finding(tmp_path: Path) -> None:
    """Baseline records, open records and those that ended a moment ago are no findings."""
    with life(tmp_path, past=30) as it:
        ids = live(it)
        it.add()
        it.ran()
        it.poll()
        settling = it.add(hosts=2)
        it.end(settling, report_hosts=False)
        it.poll()
        it.ran()  # not found yet
        tally = audit(it, since=200_000, longest_run=200_000)
        assert not tally.wrong
        assert tally.judged[Kind.SAME] == len(ids) + 1
        assert tally.judged[Kind.WAITING] == 1


def test_what_is_audited_is_what_was_counted(tmp_path: Path) -> None:
    """The stored increments of all records add up to the counters."""
    with life(tmp_path, past=5, daemon={"label_limit": 1}) as it:
        live(it)
        gone, _ = it.add(), it.add()
        it.poll()
        it.world.delete([gone])
        it.poll(LATER)
        assert it.incomplete("vanished") == 1
        with closing(Inspection(it.daemon.url, platform=PLATFORM)) as ledger:
            everything = ledger.known([*it.daemon.ledger.known([record.id for record in it.world]), gone])
        sums = {Series("job_records_discovered_total"): 0.0}
        for known in everything.values():
            sums[Series("job_records_discovered_total")] += known.discovered
            for series, value in (known.moved or {}).items():
                sums[series] = sums.get(series, 0.0) + value
        counters = {series: sample.value for series, sample in it.daemon.ledger.state.counters.items()}
        assert sums.keys() <= counters.keys()
        assert {series: sums.get(series, 0.0) for series in counters} == pytest.approx(counters)


def test_only_what_ended_in_the_window_is_judged(tmp_path: Path) -> None:
    """Only faults of records that ended in the window are found."""
    with life(tmp_path) as it:
        early = it.ran()
        it.poll(LATER)
        it.clock.now += HOUR
        late = it.ran()
        it.poll(LATER)
        forget(it, early, late)
        assert found(audit(it, since=HOUR)) == {late: Kind.MISSING}
        assert found(audit(it, since=3 * HOUR, until=HOUR)) == {early: Kind.MISSING}
        assert found(audit(it, since=3 * HOUR)) == dict.fromkeys((early, late), Kind.MISSING)


def test_a_long_run_is_found_as_far_back_as_wanted(tmp_path: Path) -> None:
    """A missing record is found if it began at most `longest_run` before the window."""
    with life(tmp_path) as it:
        long = it.add()
        it.poll()
        for _ in range(20):  # what lies above it on the pages
            it.clock.now += HOUR / 4
            it.ran()
            it.poll()
        it.end(long)
        it.poll(LATER)
        forget(it, long)
        assert found(audit(it, longest_run=10 * HOUR)) == {long: Kind.MISSING}
        brief = audit(it, longest_run=60.0, page_size=5)
        assert brief.reached is not None
        assert brief.reached > NOW + HOUR


def test_rows_that_blink_are_no_finding(tmp_path: Path) -> None:
    """Host rows that disappear for a moment are no finding: the record is looked up again."""
    with life(tmp_path) as it:
        record = it.ran()
        it.poll(LATER)
        it.world.blink(record)

        async def sleep(seconds: float) -> None:
            it.clock.now += seconds
            if record in it.world:
                it.world.unblink(record)

        assert found(audit(it, sleep=sleep)) == {}


def test_what_is_counted_meanwhile_is_no_finding(tmp_path: Path) -> None:
    """A record that the daemon counts during the audit is no finding."""
    with life(tmp_path) as it:
        it.poll(6)  # the platform is empty: confirmed over a minute
        it.ran()
        it.clock.now += HOUR / 2  # the daemon was away
        assert found(audit(it, since=HOUR)) != {}

        async def sleep(seconds: float) -> None:
            await it.daemon.poller.poll()
            it.clock.now += seconds

        assert found(audit(it, since=HOUR, sleep=sleep)) == {}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("late", [0, 2])
def test_life_that_goes_on_hides_nothing(order: Order, late: int, tmp_path: Path) -> None:
    """Records that begin or are deleted between two pages hide no finding."""
    with life(tmp_path, order=order, past=200) as it:
        ids = live(it, 120)
        forget(it, *ids[::10])

        def go_on() -> None:
            if it.api.requests[-1].endpoint == "page":
                it.add(start=it.clock.now - late)
                it.world.delete_oldest(1)

        it.api.watch = go_on
        assert found(audit(it, page_size=7)) == dict.fromkeys(ids[::10], Kind.MISSING)


def test_pages_keep_to_the_duty(tmp_path: Path) -> None:
    """Pages take at most the duty, after the initial credit; look-ups do not wait for them."""
    with life(tmp_path) as it:
        ids = live(it, 240)
        forget(it, *ids)
        it.forget_requests()
        it.api.tail_page_seconds = 20.0
        assert len(found(audit(it))) == len(ids)
        pages = [asked.at for asked in it.api.tail_pages]
        assert len(pages) >= 3
        assert all(20.0 * number <= 50.0 + 0.1 * (at - pages[0]) for number, at in enumerate(pages))
        assert {asked.size for asked in it.api.tail_pages} <= set(range(1, 51))


def test_pages_far_below_the_window_are_not_read(tmp_path: Path) -> None:
    """Pages of records that are older than the window are not read."""
    with life(tmp_path, past=1_000) as it:
        live(it, 20)
        it.forget_requests()
        assert not audit(it).wrong
        assert len(it.api.tail_pages) <= 2
        assert audit(it).reached is not None
        assert audit(it, since=200_000).reached is None  # all of them


def test_a_page_that_is_too_large_is_asked_for_in_parts(tmp_path: Path) -> None:
    """A page that is too large is halved; a single record that is too large is skipped."""
    heavy = 23  # position

    def mood(asked: Asked) -> ApiError | None:
        shows_it = (asked.number - 1) * asked.size <= heavy < asked.number * asked.size
        if asked.endpoint == "page" and (asked.size > 6 or shows_it):
            return TooLargeError("a body of more than 1 bytes")
        return None

    with life(tmp_path) as it:
        ids = live(it, 30)
        forget(it, *ids)
        it.api.mood = mood
        lost = [record.id for record in it.world][heavy]
        tally = audit(it)
        assert set(found(tally)) == {*ids} - {lost}
        assert tally.hidden == 1


def test_a_page_that_takes_too_long_is_asked_for_in_parts(tmp_path: Path) -> None:
    """A page that is too slow is halved; a single record that is too slow ends the audit."""
    late, least = DeadlineError("no whole answer within 10 s"), 4

    def mood(asked: Asked) -> ApiError | None:
        return late if asked.endpoint == "page" and not asked.is_probe and asked.size >= least else None

    with life(tmp_path) as it:
        ids = live(it, 30)
        forget(it, *ids)
        it.api.mood = mood
        assert found(audit(it)).keys() == {*ids}
        least = 1
        with pytest.raises(ApiError, match="within 10 s"):
            audit(it)


@pytest.mark.parametrize("error", [DeadlineError, TooLargeError, ConnectError])
def test_a_platform_that_does_not_tell_its_total_ends_the_audit(
    error: type[ApiError], tmp_path: Path
) -> None:
    """A platform that does not tell its total ends the audit."""
    with life(tmp_path) as it:
        it.api.mood = lambda asked: error("so it is") if asked.is_probe else None
        with auditor(it) as one, pytest.raises(ApiError, match="so it is"):
            asyncio.run(one.now())


def test_while_the_order_of_pages_is_not_known_all_are_read(tmp_path: Path) -> None:
    """Without a known order of pages, all pages are read."""
    with life(tmp_path, order="desc", past=120) as it:
        ids = live(it, 30)
        forget(it, *ids)
        with it.daemon.ledger._database.writing() as connection:
            progress = tables.get(connection, "progress", Progress)
            assert progress is not None
            tables.put(connection, "progress", change(progress, tail=replace(progress.tail, ends=Ends())))
        assert found(audit(it)).keys() == {*ids}


def test_a_record_that_is_not_answered_for_is_a_finding(tmp_path: Path) -> None:
    """A record that cannot be read is a finding; the others are audited."""
    with life(tmp_path) as it:
        ids = live(it, 30)

        def mood(asked: Asked) -> ApiError | None:
            bad = asked.id == ids[4] and asked.endpoint == "result"
            return HttpError("HTTP 500", status=500) if bad else None

        it.api.mood = mood
        tally = audit(it)
        assert found(tally) == {ids[4]: Kind.UNANSWERED}
        assert tally.judged[Kind.SAME] == 29


def test_bad_answers_now_and_then_cost_only_time(tmp_path: Path) -> None:
    """Failed requests are tried again, and cause no finding."""
    with life(tmp_path, past=200) as it:
        ids = live(it, 40)
        forget(it, ids[7])
        asked = count()
        error = HttpError("HTTP 500", status=500)
        it.api.mood = lambda _asked: error if next(asked) % 7 == 0 else None
        assert found(audit(it)) == {ids[7]: Kind.MISSING}


@pytest.mark.parametrize("endpoint", ["page", "record"])
def test_a_platform_that_is_gone_ends_the_audit(endpoint: str, tmp_path: Path) -> None:
    """A platform that cannot be reached ends the audit."""
    with life(tmp_path) as it:
        live(it, 20)
        gone = ConnectError("cannot reach http://platform.test")
        it.api.mood = lambda asked: gone if asked.endpoint == endpoint else None
        with pytest.raises(ApiError, match="cannot reach"):
            audit(it)


@pytest.mark.parametrize("endpoint", ["page", "record"])
def test_a_restart_of_the_platform_costs_only_time(endpoint: str, tmp_path: Path) -> None:
    """A platform that is away for minutes does not end the audit, and causes no finding."""
    with life(tmp_path, past=200) as it:
        ids = live(it, 40)
        forget(it, ids[7])
        gone, back, asked = ConnectError("cannot reach http://platform.test"), 0.0, count()

        def mood(one: Asked) -> ApiError | None:
            nonlocal back
            if one.endpoint == endpoint and not back and next(asked) >= 1:
                back = it.clock.now + 300
            return gone if it.clock.now < back else None

        it.api.mood = mood
        assert found(audit(it)) == {ids[7]: Kind.MISSING}
        assert it.clock.now >= back > 0


def test_a_platform_that_answers_nothing_ends_the_audit(tmp_path: Path) -> None:
    """Twenty failed look-ups in a row end the audit."""
    with life(tmp_path) as it:
        live(it, 30)
        broken = HttpError("HTTP 500", status=500)
        it.api.mood = lambda asked: broken if asked.endpoint == "record" else None
        with pytest.raises(ApiError, match="HTTP 500"):
            audit(it)


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    """Progress goes from no page to all pages, with the number of records."""
    with life(tmp_path) as it:
        ids = live(it, 120)
        told: list[tuple[float, int]] = []
        audit(it, tell=lambda share, records: told.append((share, records)))
        assert told == sorted(told)
        assert told[0] == (0.0, len(ids))
        assert told[-1][1] == len(ids)


def test_findings_are_listed_up_to_a_limit(tmp_path: Path) -> None:
    """All findings are counted, and a limited number is kept."""
    with life(tmp_path) as it:
        ids = [it.ran() for _ in range(LISTED + 30)]
        it.poll(LATER)
        forget(it, *ids)
        tally = audit(it)
        assert (len(tally.findings), tally.wrong) == (LISTED, len(ids))
        assert window_json(tally)["unlisted_findings"] == 30


# -- one record


def told(of: Life, record_id: str) -> Any:
    with auditor(of) as one:
        return asyncio.run(one.record(record_id))


def test_a_record_is_told_with_its_way(tmp_path: Path) -> None:
    """The audit of a record has the times of its way through the ledger, and its increments."""
    with life(tmp_path) as it:
        record = it.add(hosts=2)
        it.poll()
        began = it.clock.now
        it.poll(4)
        it.end(record, "fail", statuses={})
        it.poll(LATER)
        known = told(it, record).known
        assert known.found == began
        assert began < known.done <= known.settled
        assert known.lookups >= 3
        assert known.result == "fail"
        assert known.moved[Series("job_record_hosts", (), "sum")] == 2


@pytest.mark.parametrize("kind", ["baseline", "open", "vanished", "invisible", "nowhere"])
def test_why_a_record_is_not_counted(kind: str, tmp_path: Path) -> None:
    """The verdict says why a record is not counted; only an id that nobody knows is a finding."""
    with life(tmp_path, past=3) as it:
        open_, gone, hidden = it.add(), it.add(), it.add(rows=False)
        it.poll()
        it.world.delete([gone])
        it.end(hidden)
        it.poll(LATER)
        baseline = next(record.id for record in it.world)
        ids = {"baseline": baseline, "open": open_, "vanished": gone, "invisible": hidden, "nowhere": "x"}
        audited = told(it, ids[kind])
        says = {
            "baseline": "before counting began",
            "open": "looked up every",
            "vanished": "does not know it",
            "invisible": "no host rows",
            "nowhere": "neither",
        }
        assert says[kind] in audited.verdict.why
        assert audited.verdict.is_finding == (kind == "nowhere")
        assert (audited.known is None) == (kind in {"invisible", "nowhere"})
        if kind == "vanished":
            rows = it.daemon.ledger._database.reading()
            with rows as connection:
                outcome = connection.scalar(
                    sa.text("SELECT outcome FROM job_exporter_settled WHERE id = :id"), {"id": gone}
                )
            assert outcome == Outcome.VANISHED
