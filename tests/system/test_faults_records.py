"""Records that can't be read, and answers about them that can't be trusted: each counts once, truly."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from exporter.jobapi.errors import ApiError, HttpError, RecordNotFound
from exporter.simulator.dialect import Answer, Endpoint
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.world import World
from tests.harness.core import HOSTS, Asked, life

YEAR_9999 = "9999-12-31T23:59:59Z"
LAST_FINISHED = "job_record_last_finished_timestamp_seconds"


def refused(asked: Asked) -> ApiError:
    return HttpError("HTTP 500", status=500)


def unknown(asked: Asked) -> ApiError | None:
    """Answer as a gateway whose route is gone: 404 with JSON."""
    return None if asked.endpoint == "page" else RecordNotFound("HTTP 404")


@dataclass
class Bent(DocumentedDialect):
    """The documented dialect, of whose answers a test changes what it likes."""

    record: Callable[[dict[str, Any]], object] = lambda _record: None
    results: Callable[[list[dict[str, Any]]], object] = lambda _rows: None
    copy: World | None = None  # an older copy of the database that answers look-ups meanwhile

    def __post_init__(self) -> None:
        super().__init__(items="rows", zone_offset=0)

    def answer(self, world: World, endpoint: Endpoint, query: Any) -> Answer:
        """Answer, and bend it."""
        if endpoint == "page":
            return super().answer(world, endpoint, query)
        answer = super().answer(self.copy or world, endpoint, query)
        body = msgspec.json.decode(answer.body)
        if answer.status != 200:
            return answer
        if endpoint == "record":
            self.record(body)
        else:
            body = body if isinstance(body, list) else [body]
            self.results(body)
        return Answer(body=msgspec.json.encode(body), records=answer.records)


# -- records that can't be read


@pytest.mark.parametrize("endpoint", ["record", "result"])
def test_records_that_always_fail_cost_the_others_nothing(endpoint: str, tmp_path: Path) -> None:
    """Others count in the next poll, polls are good, also after a restart; in the end these count too."""
    with capture_logs() as lines, life(tmp_path, past=30, retention=600.0) as its:
        bad = {its.ran() for _ in range(20)}
        its.api.mood = lambda asked: (
            refused(asked) if (asked.id in bad and asked.endpoint == endpoint) else None
        )
        for number in range(80):
            if number == 40:
                its.daemon.restart()
            good = its.ran()
            its.poll()
            assert good in its.daemon.settled()
            assert its.daemon.gauge("job_exporter_platform_up") == 1
        assert its.daemon.value("job_exporter_poll_failures_total") == 0
        assert its.daemon.gauge("job_exporter_catching_up") == 0
        assert its.daemon.gauge("job_exporter_unreadable_records") == 20
        named = [line["record"] for line in lines if "record is unreadable" in line["event"]]
        assert sorted(named) == sorted(bad)
        assert all(len(its.api.lookups(record, endpoint)) < 15 for record in bad)
        its.api.mood = lambda _asked: None
        its.poll(150)
        assert bad <= its.daemon.settled()
        assert its.daemon.gauge("job_exporter_unreadable_records") == 0
        assert its.is_true()


def test_the_only_record_of_a_platform_can_fail(tmp_path: Path) -> None:
    """Nothing else can be asked: it is the record's failure, and the platform is up."""
    with life(tmp_path) as its:
        record = its.ran()
        its.api.mood = lambda asked: refused(asked) if asked.endpoint == "record" else None
        its.poll(20)
        assert its.daemon.gauge("job_exporter_platform_up") == 1
        assert its.daemon.gauge("job_exporter_unreadable_records") == 1
        its.api.mood = lambda _asked: None
        its.poll(30)
        assert its.daemon.settled() == {record}


def test_an_outage_of_all_look_ups_is_the_platforms(tmp_path: Path) -> None:
    """No record is blamed: all are asked for again as soon as it is over."""
    with life(tmp_path, past=10) as its:
        new = {its.ran() for _ in range(50)}
        its.api.mood = lambda asked: refused(asked) if asked.endpoint == "record" else None
        its.poll(100)
        assert its.daemon.gauge("job_exporter_platform_up") == 0
        assert its.daemon.gauge("job_exporter_unreadable_records") == 0
        its.api.mood = lambda _asked: None
        its.poll(5)
        assert its.daemon.settled() == new
        assert its.is_true()


# -- not found


def test_not_found_for_all_records_makes_none_vanish(tmp_path: Path) -> None:
    """A gateway answers so for a while: the records that the pages show are not found either."""
    with life(tmp_path, past=10) as its:
        running = {its.add() for _ in range(10)}
        its.poll()
        its.api.mood = unknown
        its.poll(20)
        assert its.daemon.gauge("job_exporter_platform_up") == 0
        its.api.mood = lambda _asked: None
        for record in running:
            its.end(record)
        its.poll(8)
        assert its.daemon.settled() == running
        assert its.incomplete("vanished") == 0
        assert its.is_true()


@pytest.mark.parametrize("others", [0, 3])
def test_a_deleted_record_vanishes(others: int, tmp_path: Path) -> None:
    """While other records are answered, or where the platform is empty."""
    with life(tmp_path, past=0) as its:
        running = [its.add() for _ in range(1 + others)]
        its.poll()
        its.world.delete(running[:1])
        its.poll(8)
        assert its.incomplete("vanished") == 1
        assert its.daemon.gauge("job_exporter_platform_up") == 1
        assert len(its.daemon.ledger.state.followed) == others


# -- older answers


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_seen_done_stays_done(restarted: bool, tmp_path: Path) -> None:
    """Within the grace a copy 30 s behind answers, where all of it still runs."""
    dialect = Bent()
    with life(tmp_path, dialect=dialect, past=10) as its:
        records = [its.add(hosts=2, timeout=900) for _ in range(40)]
        its.poll(3)
        older = copy.deepcopy(its.world)
        for record in records:
            its.end(record, "fail", report_hosts=False)
        its.poll()
        assert its.daemon.gauge("job_exporter_pending_results") == 40
        if restarted:
            its.daemon.restart()
        dialect.copy = older
        for record in records:
            its.world.report_hosts(record, {host.id: "fail" for host in HOSTS[:2]})
        its.poll(2)
        dialect.copy = None
        its.poll(8)
        assert its.daemon.settled() == set(records)
        assert its.is_true()
        assert its.daemon.value("job_records_finished_total", result_status="fail") == 40


def test_the_newest_result_before_settling_counts(tmp_path: Path) -> None:
    """It is written seconds after the record was done, its hosts later."""
    dialect, results = Bent(), dict[str, str]()
    dialect.record = lambda record: record.update(result_status=results.get(record["id"], ""))
    with life(tmp_path, dialect=dialect, past=10) as its:
        results.update({record.id: "success" for record in its.world})
        for number in range(20):
            record = its.add(hosts=2)
            its.end(record, "timeout", report_hosts=bool(number % 2))
            its.poll()
            results[record] = "timeout"
            its.world.report_hosts(record, {host.id: "success" for host in HOSTS[:2]})
            its.poll(3)
        assert its.finished == 20
        assert its.daemon.value("job_records_finished_total", result_status="unknown") == 0
        assert its.is_true()


@pytest.mark.parametrize("down", ["exporter", "platform"])
def test_only_time_of_asking_for_results_counts(down: str, tmp_path: Path) -> None:
    """Hosts are waited for; nobody asks for two hours; then results fail for 20 s."""
    with life(tmp_path, past=10) as its:
        record = its.add(hosts=3)
        its.poll()
        its.end(record, report_hosts=False)
        its.poll()
        its.api.mood = lambda asked: refused(asked) if asked.endpoint == "result" else None
        its.poll()
        if down == "exporter":
            its.clock.now += 7200
            its.daemon.restart()
        else:
            its.api.mood = refused
            its.poll(480)
            its.api.mood = lambda asked: refused(asked) if asked.endpoint == "result" else None
        its.clock.now += 60  # the polls back off
        its.poll(2)
        its.world.report_hosts(record, {host.id: "success" for host in HOSTS[:3]})
        its.api.mood = lambda _asked: None
        its.poll(8)
        assert its.incomplete("no_results") == 0
        assert its.is_true()
        assert its.finished == 1


# -- hosts


NAMES: dict[str, Callable[[Any], list[str]]] = {
    "ids": lambda host: [host.id],
    "addresses": lambda host: [host.ip],
    "entity ids": lambda host: [host.entity_id],
    "two addresses each": lambda host: [host.ip, f"10.0.0.{HOSTS.index(host)}"],
}


@pytest.mark.parametrize("names", NAMES)
def test_hosts_are_listed_by_any_of_their_names(names: str, tmp_path: Path) -> None:
    """None is counted twice, and none is taken for missing."""
    name = NAMES[names]
    addresses = {host.id: ",".join({host.ip, *name(host)}) for host in HOSTS}
    dialect = Bent()
    dialect.record = lambda record: record.update(
        hosts=[listed for host in HOSTS if host.id in record["hosts"] for listed in name(host)]
    )
    dialect.results = lambda rows: [row.update(hostIp=addresses[row["hostId"]]) for row in rows]
    with life(tmp_path, dialect=dialect, past=10) as its:
        for _ in range(20):
            its.ran(hosts=3)
        its.poll(3)
        assert its.finished == 20
        assert its.daemon.value("job_host_results_total") == 60
        assert its.daemon.value("job_host_results_total", status="unreported") == 0
        assert its.incomplete("missing_rows") == 0


def test_without_a_list_of_hosts_some_rows_are_not_taken_for_all(tmp_path: Path) -> None:
    """They are written again, one after the other, while they are asked for."""
    dialect = Bent()
    with life(tmp_path, dialect=dialect, past=10) as its:
        records = [its.ran(hosts=4, hosts_listed=False) for _ in range(10)]
        dialect.results = lambda rows: rows.__delitem__(slice(1, None))
        its.poll()
        dialect.results = lambda _rows: None
        assert its.finished == 0
        its.poll(3)
        assert its.daemon.settled() == set(records)
        assert its.daemon.value("job_host_results_total") == 40
        assert its.is_true()


# -- times


@pytest.mark.parametrize(
    "times",
    [
        {"end_time": YEAR_9999},
        {"start_time": YEAR_9999, "end_time": YEAR_9999},
        {"start_time": "", "end_time": ""},
    ],
)
def test_times_that_cannot_be_true_move_no_sum_and_no_gauge(times: dict[str, str], tmp_path: Path) -> None:
    """Bad times are counted, and the record is."""
    dialect = Bent()
    with life(tmp_path, dialect=dialect, past=10) as its:
        dialect.record = lambda record: record.update(times)
        its.ran("fail")
        its.poll(3)
        assert (its.finished, its.incomplete("bad_times")) == (1, 1)
        assert its.daemon.value("job_record_duration_seconds", "sum") == 0
        assert its.daemon.value("job_exporter_count_lag_seconds", "sum") == 0
        assert its.daemon.gauge(LAST_FINISHED, result_status="fail") is None
        assert all(failed.finished is None for failed in its.daemon.ledger.state.failures)


def test_the_oldest_start_is_none_of_the_future(tmp_path: Path) -> None:
    """A record that is to start in an hour has none."""
    with life(tmp_path, past=10) as its:
        its.add(start=its.clock.now + 3600)
        its.poll(3)
        name = "job_record_oldest_open_start_timestamp_seconds"
        assert its.daemon.gauge(name, execute_status="doing") is None


@pytest.mark.parametrize("zone_offset", [-8.0, 8.0])
def test_times_of_another_zone_are_warned_of_once(zone_offset: float, tmp_path: Path) -> None:
    """They look hours old, or lie in the future; advice says what to set."""
    dialect = DocumentedDialect(items="rows", zone_offset=zone_offset, time_format="plain")
    with capture_logs() as lines, life(tmp_path, dialect=dialect, past=10) as its:
        records = [its.add() for _ in range(6)]
        its.poll(4)
        for record in records[:2]:
            its.end(record)
        its.poll(4)
        for record in records[2:]:
            its.end(record)
        its.poll(4)
        assert sum("api.timezone" in line["event"] for line in lines) == 1
        assert its.finished == 6


def test_no_record_is_looked_up_twice_in_a_poll(tmp_path: Path) -> None:
    """Results failed for 40 minutes; when they can be read again, two thirds of the records are deleted."""
    with life(tmp_path) as its:
        ids = [its.ran() for _ in range(60)]
        its.api.mood = lambda asked: HttpError("HTTP 500", status=500) if asked.endpoint == "result" else None
        its.poll(160)
        its.api.mood = lambda _asked: None
        its.world.delete(ids[:42])
        for _ in range(60):
            its.forget_requests()
            its.poll()
            asked = Counter(asked.id for asked in its.api.requests if asked.endpoint == "record")
            assert set(asked.values()) <= {1}
        assert its.finished == 60
