"""Faults of the platform: it fails, lies or forgets; once it is over all is counted, each record once."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from exporter.discovery.gaps import HOLD
from exporter.jobapi.client import JobApi, PageCost
from exporter.jobapi.errors import ApiError, ConnectError, DeadlineError, NotUnderstoodError
from exporter.metrics.process import ProcessMetrics
from exporter.model import Page, Record, Results
from exporter.settings import ApiSettings
from exporter.simulator.dialect import Dialect
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order, World
from tests.harness.core import HOSTS, NOW, Asked, Life, life
from tests.harness.inprocess import truth_of

ORDERS = pytest.mark.parametrize("order", ["asc", "desc"])


def new(its: Life) -> set[str]:
    """The records that ended after the exporter first saw the platform."""
    return {fact.id for fact in its.world.truth().values() if fact.finished >= NOW}


def all_is_counted(its: Life) -> bool:
    """Each of them once, truly, and nothing is left to do."""
    assert its.daemon.settled() == new(its)
    assert its.finished == its.daemon.value("job_records_discovered_total") == len(new(its))
    assert its.daemon.gauge("job_exporter_catching_up") == 0
    assert its.daemon.gauge("job_exporter_pending_results") == 0
    return its.is_true()


# -- down


@ORDERS
def test_down_for_an_hour_and_back_with_10_000_finished(order: Order, tmp_path: Path) -> None:
    """All are counted, and nothing twice; meanwhile it says that it is catching up, and keeps to its duty."""
    with life(tmp_path, order=order, past=100) as its:
        running = [its.add(timeout=7200) for _ in range(20)]
        its.poll(2)
        its.api.mood = lambda _asked: ConnectError("refused")
        its.forget_requests()
        rng = random.Random("down")
        for _ in range(240):
            for _ in range(42):
                its.ran(rng.choice(("success", "fail", "timeout")), start=its.clock.now - rng.randrange(60))
            its.poll()
        assert len(its.api.requests) <= 70  # one a minute
        assert its.daemon.gauge("job_exporter_platform_up") == 0
        for record in running:
            its.end(record)
        its.api.mood = lambda _asked: None
        its.api.tail_page_seconds = 2.8
        its.daemon.budget = 30_000  # while credit lasts, pages follow each other
        its.forget_requests()
        began = its.clock.now
        its.poll(5)  # the first ones still back off
        while its.daemon.gauge("job_exporter_catching_up"):
            its.poll()
            assert its.clock.now < began + 3600
        its.poll(5)
        assert len(new(its)) > 10_000
        assert all_is_counted(its)
        pages = [asked for asked in its.api.tail_pages if asked.size > 1]
        assert 2.8 * len(pages) <= 60 + 60 + 0.12 * (
            its.clock.now - began
        )  # what had added up, for the sweep too


# -- restored from a backup


@dataclass(frozen=True, kw_only=True)
class Backup:
    """The records of a platform as they were at one moment."""

    records: tuple[tuple[RecordSpec, float | None, str], ...]  # how made, when ended, as what

    @classmethod
    def of(cls, world: World) -> "Backup":
        """Keep what is there now."""
        return cls(
            records=tuple(
                (_again(record.id, record.spec, record.start), record.finished, record.result)
                for record in world
            )
        )

    def restore(self, its: Life) -> None:
        """Replace the platform's records by those of the backup; the truth keeps what ended since."""
        truth = its.world.truth()
        its.world = its.api.world = World(order=its.world.order, seed=1)
        its.world._gone = truth
        for spec, ended, result in self.records:
            its.world._gone.pop(str(spec.id), None)
            its.world.add(spec, NOW)
            if ended is not None:
                its.world.finish(str(spec.id), result, ended)


def _again(record_id: str, spec: RecordSpec, start: int | None) -> RecordSpec:
    return RecordSpec(hosts=spec.hosts, id=record_id, start=start, timeout=spec.timeout)


@ORDERS
@pytest.mark.parametrize("grown", [0, 20, 35, 60], ids=lambda count: f"{count}-new-at-once")
def test_restarted_from_a_backup_with_fewer_records(order: Order, grown: int, tmp_path: Path) -> None:
    """The total shrinks, or new ids hide that: nothing counts twice, what is gone is said."""
    with capture_logs() as lines, life(tmp_path, order=order, past=150) as its:
        kept = {its.ran() for _ in range(10)}
        open_then = its.add(timeout=9000)
        its.poll(3)
        backup = Backup.of(its.world)
        its.end(open_then)  # after the backup: it is running again once that is restored
        lost = {its.ran("fail") for _ in range(30)}
        vanishing = {its.add(timeout=9000) for _ in range(5)}
        its.poll(3)
        counted = its.daemon.tally()
        assert its.daemon.settled() == kept | lost | {open_then}
        its.clock.now += 300  # out of order meanwhile
        backup.restore(its)
        after = {its.ran() for _ in range(grown)}
        its.poll(4)
        after |= {its.ran("timeout") for _ in range(5)}
        its.poll(int(HOLD / 15) + 60)
        assert its.daemon.settled() == kept | lost | {open_then} | after
        assert its.incomplete("vanished") == len(vanishing)
        said = {line["record"] for line in lines if "vanished" in line["event"]}
        assert said == vanishing
        fewer = [line for line in lines if "far fewer" in line["event"]]
        assert [line["before"] for line in fewer] == ([196] if not grown else [])
        assert its.daemon.tally().results["fail"] == counted.results["fail"]
        assert its.daemon.tally().results["timeout"] == 5
        assert its.finished == len(its.daemon.settled())
        assert its.daemon.gauge("job_records", execute_status="doing") == 0


@ORDERS
def test_an_emptied_platform_is_told(order: Order, tmp_path: Path) -> None:
    """Once, when it is believed, though no page is asked for."""
    with capture_logs() as lines, life(tmp_path, order=order, past=50) as its:
        its.poll(2)
        its.world.delete([record.id for record in its.world])
        its.poll(12)
    assert [line["now"] for line in lines if "far fewer" in line["event"]] == [0]


# -- slow


@ORDERS
def test_slow_to_30_s_a_page_within_the_timeout(order: Order, tmp_path: Path) -> None:
    """`api.timeout` above it: tail pages keep to the duty, and all is counted."""
    with life(tmp_path, order=order, past=100) as its:
        running = [its.add(timeout=9000) for _ in range(10)]
        its.poll()
        its.api.page_seconds = 30.0
        its.forget_requests()
        for round_ in range(30):
            for _ in range(3):
                its.ran()
            if round_ == 20:
                for record in running:
                    its.end(record)
            its.poll()
        while its.daemon.gauge("job_exporter_catching_up") or its.finished < len(new(its)):
            its.poll()
            assert its.clock.now < NOW + 20_000
        took = 30.0 * len(its.api.tail_pages)
        assert took <= 60 + 60 + 0.11 * (its.clock.now - NOW)  # what may add up, of tail and sweep
        assert all_is_counted(its)


def test_slow_to_30_s_a_page_beyond_the_timeout(tmp_path: Path) -> None:
    """`api.timeout` below it: each poll fails and says what to raise; once it is faster all is counted."""
    with life(tmp_path, past=100) as its:
        running = its.add(timeout=9000)
        its.poll()

        def late(asked: Asked) -> ApiError | None:
            if asked.endpoint != "page":
                return None
            its.clock.now += 10.0
            return DeadlineError("no whole answer within 10 s: raise api.timeout?")

        its.api.mood = late
        for _ in range(80):
            its.ran()
            its.poll()
        assert its.daemon.gauge("job_exporter_platform_up") == 0
        assert "raise api.timeout?" in (its.daemon.poller.last_error or "")
        its.end(running)
        its.api.mood = lambda _asked: None
        its.poll(10)
        assert all_is_counted(its)


def test_slow_tail_pages_alone_are_asked_in_halves_and_open_records_followed(tmp_path: Path) -> None:
    """Only wide pages are too slow: look-ups go on meanwhile, and pages shrink to what comes in time."""
    with life(tmp_path, past=200) as its:
        running = its.add(timeout=9000)
        its.poll()

        def late(asked: Asked) -> ApiError | None:
            if asked.endpoint != "page" or asked.size <= 5:
                return None
            its.clock.now += 10.0
            return DeadlineError("no whole answer within 10 s: raise api.timeout?")

        its.api.mood = late
        for _ in range(60):
            its.ran()
        its.end(running, "fail")
        its.poll(5)
        assert running in its.daemon.settled()
        its.poll(400)
        assert all_is_counted(its)


# -- broken


Breakage = Callable[[bytes, random.Random, httpx.Request], httpx.Response]


class Breaking(httpx.AsyncBaseTransport):
    """A platform behind HTTP that breaks a share of its answers, each in another way."""

    def __init__(self, its: Life, share: float) -> None:
        self.its, self.share = its, share
        self.rng = random.Random("breaking")
        self.broken = Counter[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        endpoint = {"page": "page", "result": "result"}.get(request.url.path.rpartition("/")[2], "record")
        answer = self.its.api.dialect.answer(self.its.world, endpoint, dict(request.url.params))  # type: ignore[arg-type]
        if self.rng.random() >= self.share:
            return httpx.Response(answer.status, content=answer.body)
        kind = self.rng.choice(sorted(BROKEN))
        self.broken[kind] += 1
        return BROKEN[kind](answer.body, self.rng, request)


def _reset(_body: bytes, _rng: random.Random, request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def _cut(body: bytes, rng: random.Random, _request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=body[: rng.randrange(len(body))])


def _noise(body: bytes, rng: random.Random, _request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=rng.randbytes(len(body)))


def _fixed(status: int, content: bytes) -> Breakage:
    return lambda _body, _rng, _request: httpx.Response(status, content=content)


# Not among them: `null` and an empty list are answers, which say that a record has no rows.
BROKEN: Mapping[str, Breakage] = {
    "reset": _reset,
    "cut": _cut,
    "noise": _noise,
    "empty": _fixed(200, b""),
    "html": _fixed(200, b"<html>bad gateway</html>"),
    "number": _fixed(200, b'{"status":"success","content":7}'),
    "other object": _fixed(200, b'{"status":"success","content":{"hello":"world"}}'),
    "text in a number": _fixed(200, b'{"status":"success","content":{"List":[],"TotalCount":"many"}}'),
    "negative": _fixed(200, b'{"status":"success","content":{"List":[],"TotalCount":-7}}'),
    "database down": _fixed(200, b'{"status":"error","message":"database down","content":null}'),
    "server error": _fixed(500, b"oops"),
    "bad gateway": _fixed(502, b"<html>"),
    "not HTTP's": _fixed(204, b""),
}


@dataclass
class OverHttp:
    """The real client over a transport, in the place of a life's API."""

    client: JobApi
    left: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def platform_now(self) -> float | None:
        return self.client.platform_now()

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        return await self.client.page(number, size)

    async def record(self, record_id: str) -> Record:
        return await self.client.record(record_id)

    async def results(self, record_id: str) -> Results:
        return await self.client.results(record_id)


def over_http(its: Life, transport: httpx.AsyncBaseTransport) -> None:
    """Let the daemon ask through the real client from now on."""
    config = ApiSettings(base_url="http://platform.test", retries=2)
    its.daemon.api = OverHttp(  # type: ignore[assignment]
        JobApi(
            config,
            ProcessMetrics(version="0", python="3"),
            transport=transport,
            sleep=its.clock.sleep,
            wall=its.clock,
            monotonic=its.clock,
        )
    )
    its.daemon.restart()


@ORDERS
@pytest.mark.parametrize(
    "dialect",
    [ObservedDialect(), DocumentedDialect(items="rows")],
    ids=["observed", "documented"],
)
def test_half_of_its_answers_are_broken(order: Order, dialect: Dialect, tmp_path: Path) -> None:
    """Cut, noise, HTML, wrong shapes, errors, resets: an hour of it, and all is counted, truly."""
    with life(tmp_path, order=order, dialect=dialect, past=60) as its:
        transport = Breaking(its, 0.5)
        over_http(its, transport)
        rng = random.Random("half")
        running: list[str] = []
        for _ in range(240):
            running += [its.add(hosts=rng.randrange(1, 5)) for _ in range(rng.randrange(3))]
            rng.shuffle(running)
            for _ in range(rng.randrange(3)):
                if running:
                    its.end(running.pop(), rng.choice(("success", "fail", "timeout", "cancel")))
            its.poll()
        for record in running:
            its.end(record)
        assert set(transport.broken) == set(BROKEN)
        transport.share = 0.0
        its.poll(90)
        assert all_is_counted(its)


def test_open_records_that_can_never_be_read(tmp_path: Path) -> None:
    """They stay open, are asked for ever more rarely, and it is said; others are counted, polls are good."""
    with capture_logs() as lines, life(tmp_path, past=10) as its:
        bad = {its.add() for _ in range(30)}
        odd = NotUnderstoodError("a list where a string was expected")
        its.api.mood = lambda asked: odd if asked.id in bad else None
        for _ in range(280):
            its.ran()
            its.poll()
        its.poll(4)
        assert its.daemon.settled() == new(its)
        assert its.daemon.value("job_exporter_poll_failures_total") == 0
        assert its.daemon.gauge("job_exporter_unreadable_records") == 30
        assert its.daemon.gauge("job_records", execute_status="doing") == 30
        lookups = its.api.lookups(min(bad))
        waits = [later - earlier for earlier, later in pairwise(lookups)]
        assert len(lookups) < 12
        assert all(later > 1.5 * earlier for earlier, later in pairwise(waits))
        said = Counter(line["record"] for line in lines if "record is unreadable" in line["event"])
        assert said == dict.fromkeys(bad, 1)
        its.api.mood = lambda _asked: None
        for record in bad:
            its.end(record)
        its.poll(250)
        assert its.daemon.gauge("job_exporter_unreadable_records") == 0
        assert all_is_counted(its)


# -- its clock


@pytest.mark.parametrize("hours", [-1.0, 1.0])
def test_its_clock_is_set_an_hour_and_back(hours: float, tmp_path: Path) -> None:
    """Starts and ends jump with it: new records land far before the tail, or all others do afterwards."""
    with life(tmp_path, past=300) as its:
        its.poll(4)
        shift = 0.0
        for number in range(120):
            if number == 20:
                shift = 3600 * hours
            if number == 80:
                shift = 0.0
            its.api.clock_skew = shift
            at = its.clock.now + shift
            record = its.world.add(RecordSpec(hosts=HOSTS[:2], start=at), at)
            its.world.finish(record, "fail", its.clock.now, end=at + 3)
            its.poll()
        its.poll(30)
        assert all_is_counted(its)


CHANGES: dict[str, tuple[Dialect, Dialect]] = {
    "+08:00 to Z": (ObservedDialect(zone_offset=8), ObservedDialect(zone_offset=0)),
    "Z to -05:00": (ObservedDialect(zone_offset=0), ObservedDialect(zone_offset=-5)),
    "Z to text without a zone": (
        DocumentedDialect(items="rows", zone_offset=0),
        DocumentedDialect(items="rows", zone_offset=0, time_format="plain"),
    ),
    "text of +08:00, read as UTC, to Z": (
        DocumentedDialect(items="rows", zone_offset=8, time_format="plain"),
        DocumentedDialect(items="rows", zone_offset=0),
    ),
    "Z to text of +08:00, read as UTC": (
        DocumentedDialect(items="rows", zone_offset=0),
        DocumentedDialect(items="rows", zone_offset=8, time_format="plain"),
    ),
}


@ORDERS
@pytest.mark.parametrize("change", CHANGES)
def test_its_times_change_zone(change: str, order: Order, tmp_path: Path) -> None:
    """All times move at once, also those of records that run: durations stay, nothing is lost or doubled.

    Times that are hours ahead of the platform's clock can't be true: no duration, and a warning.
    """
    before, after = CHANGES[change]
    ahead = "read as UTC" in change
    with capture_logs() as lines, life(tmp_path, order=order, dialect=before, past=300) as its:
        its.clock.now += 4000
        running = [its.add(timeout=9000) for _ in range(5)]
        for _ in range(10):
            its.ran()
            its.poll()
        its.api.dialect = after
        for record in running:
            its.end(record)
        for _ in range(40):
            its.ran("fail")
            its.poll()
        its.daemon.restart()
        its.poll(30)
        assert its.daemon.settled() == new(its)
        counted, true = its.daemon.tally(), truth_of(its.world, new(its))
        if ahead:
            counted, true = replace(counted, durations={}), replace(true, durations={})
        assert counted == true
        assert (its.incomplete("bad_times") > 0) is ahead
        assert any("api.timezone" in line["event"] for line in lines) is ahead
