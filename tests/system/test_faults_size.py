"""More than anyone expected of one thing: open records, hosts, IDCs, characters; and all is counted."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from exporter.metrics.exposition import Exposition
from exporter.page.handlers import Landing
from exporter.polling.poller import ROUND
from exporter.settings import Settings
from exporter.simulator.fleet import make_fleet
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from exporter.tracking.lookups import MAX_LOOKUP_INTERVAL, due
from exporter.tracking.values import Changes, Stage, Tracked
from tests.harness.core import HOSTS, NOW, Life, life
from tests.harness.inprocess import RULES, truth_of

MANY = 100_000


def openmetrics(its: Life) -> dict[str, list[Any]]:
    """Scrape what is published, as a stranger's parser reads it; samples by name."""
    exposition = Exposition()
    exposition.show(its.daemon.snapshot)
    accept = "application/openmetrics-text; version=1.0.0"
    body = exposition.scrape(accept=accept, accept_encoding="").body.decode()
    samples: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(body):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


# -- 100,000 open records


def crowd(world: World, count: int) -> None:
    """Put records there that began two hours ago and run on."""
    start = int(NOW) - 7200
    for number in range(count):
        world.add(RecordSpec(hosts=HOSTS[:1], id=f"open-{number:06}", start=start, timeout=86_400), start)


def follow_all(its: Life) -> None:
    """Let the ledger follow all of them, as after a day on this platform."""
    state = its.daemon.ledger.state
    assert state.counting_start is not None
    now = its.daemon.ledger.time()
    found = tuple(
        Tracked(id=record.id, found=now, due=now, stage=Stage.DOING, start=NOW - 7200, timeout=86_400.0)
        for record in its.world
        if record.id not in state.followed
    )
    its.daemon.ledger.commit(
        Changes(tail=state.tail, counting_start=state.counting_start, found=found), now=its.clock()
    )
    its.daemon.restart()


def requests_take(its: Life, seconds: float) -> None:
    """Let the clock tell what requests cost."""
    its.api.watch = lambda: setattr(its.clock, "now", its.clock.now + seconds)


@pytest.mark.parametrize("count", [10_000, pytest.param(MANY, marks=pytest.mark.soak)])
def test_100_000_open_records(count: int, tmp_path: Path) -> None:
    """Each has its turn within the minute of rule 4; meanwhile new records are found and counted."""
    with life(tmp_path, prepare=lambda world: crowd(world, count)) as its:
        follow_all(its)
        its.daemon.budget = 3 * count
        requests_take(its, 25 / count)  # a turn of all of them takes 25 s
        its.forget_requests()
        new = {its.ran("fail") for _ in range(3)}
        ended = {f"open-{number:06}" for number in range(0, count, 500)}
        for record in ended:
            its.end(record)
        its.poll(2)
        lookups = Counter(asked.id for asked in its.api.requests if asked.endpoint == "record")
        assert len(lookups) == count + len(new)
        assert max(lookups[id_] for id_ in lookups if id_ not in ended) == 1
        assert max(asked.at for asked in its.api.requests) - NOW <= MAX_LOOKUP_INTERVAL + 20
        assert its.daemon.settled() == new | ended
        assert its.is_true()
        assert its.daemon.gauge("job_records", execute_status="doing") == count - len(ended)
        its.daemon.restart()
        assert len(its.daemon.ledger.state.followed) == count - len(ended)


def test_more_records_are_due_than_can_be_asked_for(tmp_path: Path) -> None:
    """Look-ups never end: the total is asked for all the same, new records are found, each has its turn."""
    count = 3_000
    with life(tmp_path, prepare=lambda world: crowd(world, count), adopt=1) as its:
        follow_all(its)
        its.daemon.budget = 10 * count
        its.forget_requests()
        began, new = its.clock.now, set[str]()

        def watch() -> None:
            its.clock.now += 1 / 25  # a turn of all of them takes two minutes
            if its.clock.now > began + 600:
                its.daemon.poller.stop()
            elif its.clock.now > began + 60 * len(new):
                new.add(its.ran("fail"))

        its.api.watch = watch
        its.poll()  # goes on, as what is due is never done
        probes = [asked.at for asked in its.api.requests if asked.is_probe]
        assert max(later - earlier for earlier, later in pairwise(probes)) <= 2 * ROUND / 25
        lookups: dict[str, list[float]] = {}
        for asked in its.api.requests:
            if asked.id.startswith("open-"):
                lookups.setdefault(asked.id, []).append(asked.at)
        assert len(lookups) == count
        waits = (later - earlier for times in lookups.values() for earlier, later in pairwise(times))
        assert max(waits) <= 1.2 * count / 25  # none waits while others have their turn twice
        assert len(its.daemon.settled()) >= len(new) - 4
        assert its.daemon.value("job_exporter_polls_total") >= 10
        its.daemon.restart()
        requests_take(its, 0.0)
        its.poll(6)
        assert its.daemon.settled() == new
        assert its.is_true()


def test_who_is_due_is_chosen_without_sorting_all(tmp_path: Path) -> None:
    """Of 100,000 the first `ROUND`, those waiting longest first."""
    waiting = [
        Tracked(id=f"{number:06}", found=NOW, due=NOW - number % 977, stage=Stage.DOING)
        for number in range(MANY)
    ]
    chosen = due(waiting, now=NOW, rules=RULES, limit=ROUND)
    assert chosen == sorted(waiting, key=lambda item: (item.due, item.id))[:ROUND]


# -- a record with 100,000 hosts, and 10,000 IDCs


def test_a_record_with_100_000_hosts(tmp_path: Path) -> None:
    """Each host counts once; the records beside it are counted as ever."""
    fleet = make_fleet({"杭州": MANY // 2, "北京": MANY // 2})
    hosts = tuple(host for idc in fleet.values() for host in idc)
    with life(tmp_path, past=30, dialect=ObservedDialect()) as its:
        huge = its.world.add(RecordSpec(hosts=hosts, timeout=600), its.clock.now)
        small = its.ran()
        its.poll(3)
        assert its.daemon.settled() == {small}
        statuses = {host.id: "fail" if number % 10 == 0 else "success" for number, host in enumerate(hosts)}
        its.end(huge, "fail", statuses=statuses)
        its.poll(4)
        after = {its.ran() for _ in range(3)}
        its.poll(20)
        assert its.daemon.settled() == {small, huge, *after}
        assert its.daemon.value("job_host_results_total", status="fail") == MANY // 10
        assert its.daemon.value("job_record_hosts", "sum") == MANY + 4
        assert its.is_true()


def test_10_000_idc_names(tmp_path: Path) -> None:
    """Beyond the limit they are `other`: sums stay right, the overflow is counted, the page stays small."""
    names = [f"IDC {number} 机房" for number in range(10_000)]
    fleet = make_fleet(dict.fromkeys(names, 1))
    hosts = tuple(host for idc in fleet.values() for host in idc)
    with life(tmp_path, past=10) as its:
        for at in range(0, len(hosts), 250):
            some = hosts[at : at + 250]
            record = its.world.add(RecordSpec(hosts=some), its.clock.now)
            its.end(
                record, "fail", statuses={host.id: "success" if host.id < "8" else "fail" for host in some}
            )
        its.poll(6)
        samples = openmetrics(its)
        shown = {sample.labels["idc"] for sample in samples["job_host_results_total"]}
        assert len(shown) == 501
        assert "other" in shown
        assert its.finished == 40
        assert its.daemon.value("job_host_results_total") == 10_000
        truth = truth_of(its.world, its.daemon.settled())
        for status in ("success", "fail"):
            true = sum(count for (_, of), count in truth.hosts.items() if of == status)
            assert its.daemon.value("job_host_results_total", status=status) == true
        assert its.daemon.value("job_idc_records_total") == sum(truth.outcomes.values())
        assert its.daemon.value("job_exporter_label_overflow_total", label="idc") >= 9_500
        page = Landing(
            Settings(),
            state=lambda: its.daemon.ledger.state,
            error=lambda: None,
            clock=its.clock,
        )
        page.publish(its.daemon.snapshot)
        assert len(page.page()) < 1_000_000
        before = its.daemon.tally()
        its.daemon.restart()
        its.poll(3)
        assert its.daemon.tally() == before


# -- ids of 64 strange characters

STRANGE = [
    "'; DROP TABLE job_exporter_settled; --",
    '"quoted" \backslash\\ {braces="x"} \n',
    "line\nfeed\r\nreturn\ttab",
    "../../etc/passwd?id=1&id=2#fragment;x=%00",
    "%2e%2e%2f%%%zz%25+plus +plus",
    "\x1b[31mred\x1b[0m\x07\x08\x7f\x01\x85\u2028\u2029",
    "<script>alert(1)</script><!-- ]]> &amp; &#0;",
    "部署-🚀-é-e\u0301-\u202eRTL\u202c-\u200bzero-\ufeffbom",
    " leading and trailing ",
    "/",
    "null",
    "\ud7ff\uffff\U0010ffff",
]


def strange_ids() -> list[str]:
    """Each of them, and each filled up to 64 characters."""
    return [*STRANGE, *(f"{text}{'~' * (64 - len(text))}" for text in STRANGE)]


def test_ids_of_64_strange_characters(tmp_path: Path) -> None:
    """Asked for, counted, kept, logged on one line, shown as exemplar and on the page: as they are."""
    ids = strange_ids()
    with capture_logs() as lines, life(tmp_path, past=10) as its:
        vanishing = ids.pop()
        its.add(id=vanishing)
        for number, id_ in enumerate(ids):
            its.add(id=id_, hosts=2, provider=f"p{number}")
        its.poll(3)
        its.world.delete([vanishing])
        for id_ in ids:
            its.end(id_, "fail")
        its.poll(12)
        its.daemon.restart()
        its.poll(30)
        assert its.daemon.settled() == set(ids)
        assert its.is_true()
        assert [line["record"] for line in lines if "vanished" in line["event"]] == [vanishing]
        shown = {
            sample.exemplar.labels["record_id"]
            for sample in openmetrics(its)["job_records_finished_total"]
            if sample.exemplar
        }
        assert shown == set(ids)
        assert {failure.id for failure in its.daemon.ledger.state.failures} == set(ids)
