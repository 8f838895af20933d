"""How a platform moves (the traps of the job API), each met by the whole of poller, tracker and ledger."""

from pathlib import Path

import pytest

from exporter.discovery.gaps import HOLD
from exporter.simulator.dialect import Dialect
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.world import Order
from tests.harness.core import HOSTS, NOW, life

ORDERS = pytest.mark.parametrize("order", ["asc", "desc"])


@ORDERS
@pytest.mark.parametrize(
    "dialect",
    [ObservedDialect(), DocumentedDialect(items="records"), DocumentedDialect(items="rows")],
    ids=["observed", "records", "rows"],
)
def test_trap_1_a_record_of_the_same_second_lands_before_the_tail(
    order: Order, dialect: Dialect, tmp_path: Path
) -> None:
    """Ties are sorted by id: a new record can lie before one that was already read."""
    with life(tmp_path, order=order, dialect=dialect, past=30) as its:
        its.ran(id="ffff", start=NOW)
        its.poll(2)
        its.ran(id="0000", start=NOW)
        its.poll(3)
        assert its.daemon.settled() == {"ffff", "0000"}
        assert its.is_true()


@ORDERS
@pytest.mark.parametrize("behind", [1, 30, 3600, 90_000])
def test_trap_1_a_master_whose_clock_is_behind(order: Order, behind: float, tmp_path: Path) -> None:
    """Its records land anywhere before the tail; counting tells that one is missing."""
    with life(tmp_path, order=order, past=300) as its:
        late = its.add(start=its.clock.now - behind)
        its.poll(2)
        its.end(late, "fail")
        its.poll(5)
        assert its.daemon.settled() == {late}
        assert its.daemon.value("job_records_finished_total", result_status="fail") == 1


@ORDERS
def test_trap_1_the_order_of_pages_turns_round(order: Order, tmp_path: Path) -> None:
    """Another version of the platform sorts the other way: within the re-check all is found again."""
    with life(tmp_path, order=order, past=100) as its:
        its.world.order = "desc" if order == "asc" else "asc"
        new = {its.ran() for _ in range(5)}
        its.poll(40)
        assert its.daemon.settled() == new


def test_trap_2_a_record_is_invisible_until_it_has_rows(tmp_path: Path) -> None:
    """Its position is looked at again, though nothing else changes: it counts when its rows come."""
    with life(tmp_path, past=30) as its:
        hidden = its.add(rows=False)
        its.poll(4)
        assert its.finished == 0
        its.world.give_rows(hidden)
        its.end(hidden)
        its.poll(20)
        assert its.daemon.settled() == {hidden}


def test_trap_2_a_record_that_never_gets_rows_is_given_up(tmp_path: Path) -> None:
    """Records after it are counted; once the hold is over no page is read for it any more."""
    with life(tmp_path, past=30) as its:
        its.add(rows=False)
        its.poll(2)
        after = its.ran()
        its.poll(int(HOLD / 15) + 60)
        assert its.daemon.settled() == {after}
        assert its.daemon.gauge("job_exporter_catching_up") == 0
        its.forget_requests()
        its.poll(40)
        assert len(its.api.tail_pages) <= 2  # re-checks


def test_trap_2_records_that_never_get_rows_leave_few_gaps(tmp_path: Path) -> None:
    """Where others come all the time, too: what waits at the same place waits together, and not for long."""
    with life(tmp_path, past=30) as its:
        most = 0
        for number in range(120):
            if number % 10 == 0:
                its.add(rows=False)
            its.ran()
            its.poll()
            most = max(most, len(its.daemon.poller._tail.gaps))
        assert most <= 8
        its.poll(int(HOLD / 15) + 25)
        assert not its.daemon.poller._tail.gaps
        assert its.finished == 120


def test_trap_3_a_record_ends_far_from_the_tail(tmp_path: Path) -> None:
    """Status changes in place: hundreds of records later an old one ends, and is found by its id."""
    with life(tmp_path, past=10) as its:
        old = its.add()
        its.poll()
        for _ in range(3):
            for _ in range(100):
                its.ran()
            its.poll(3)
        its.end(old, "timeout")
        its.forget_requests()
        its.poll(5)
        assert old in its.daemon.settled()
        assert its.api.tail_pages == []
        assert its.is_true()


@pytest.mark.parametrize("keep", [0, 1])
def test_trap_4_rows_blink(keep: int, tmp_path: Path) -> None:
    """Rows that are gone for a moment are waited for: hosts are never counted as unreported for that."""
    with life(tmp_path, past=10) as its:
        record = its.add(hosts=3)
        its.poll()
        its.end(record)
        its.world.blink(record, keep=keep)
        its.poll()
        assert its.daemon.gauge("job_exporter_pending_results") == 1
        its.world.unblink(record)
        its.poll(4)
        assert its.daemon.value("job_host_results_total", status="success") == 3
        assert its.daemon.value("job_host_results_total", status="unreported") == 0


def test_trap_4_a_record_blinks_when_its_page_is_read(tmp_path: Path) -> None:
    """Its position is empty in that moment, and looked at again."""
    with life(tmp_path, past=10) as its:
        record = its.ran()
        its.world.blink(record)
        its.poll()
        its.world.unblink(record)
        its.poll(6)
        assert its.daemon.settled() == {record}


def test_trap_5_a_record_is_done_before_its_hosts(tmp_path: Path) -> None:
    """What reports within the grace counts as it reported, what stays empty for ever as unreported."""
    with life(tmp_path, past=10) as its:
        soon, never = its.add(hosts=2), its.add(hosts=2)
        for record in (soon, never):
            its.end(record, "fail", report_hosts=False)
        its.world.report_host(never, HOSTS[0].id, "success")
        its.poll()
        its.world.report_hosts(soon, {host.id: "fail" for host in HOSTS[:2]})
        its.poll(4)
        assert its.daemon.value("job_host_results_total", status="fail") == 2
        assert its.daemon.value("job_host_results_total", status="success") == 1
        assert its.daemon.value("job_host_results_total", status="unreported") == 1


def test_trap_5_a_record_ends_between_its_page_and_the_look(tmp_path: Path) -> None:
    """All its hosts had reported on the page, then one changed: what counts is asked for after the end.

    Though its master's clock is behind, so that the end seems to be before the page.
    """
    with life(tmp_path, past=10) as its:
        record = its.add(hosts=2, start=its.clock.now - 60)
        its.world.report_hosts(record, {host.id: "success" for host in HOSTS[:2]})

        def watch() -> None:
            if its.api.requests[-1].endpoint == "record" and not its.world.record(record).done:
                its.end(record, "fail", statuses={HOSTS[0].id: "fail"}, end=its.clock.now - 30)

        its.api.watch = watch
        its.poll()
        assert its.daemon.settled() == {record}
        assert its.is_true()
        assert its.daemon.value("job_host_results_total", status="fail") == 1


def test_trap_5_hosts_and_record_each_tell_their_own_truth(tmp_path: Path) -> None:
    """A timeout record can hold hosts that all succeeded."""
    with life(tmp_path, past=10) as its:
        record = its.add(hosts=3)
        its.end(record, "timeout", statuses={host.id: "success" for host in HOSTS[:3]})
        its.poll(3)
        assert its.daemon.value("job_records_finished_total", result_status="timeout") == 1
        assert its.daemon.value("job_host_results_total", status="success") == 3
        assert its.daemon.value("job_idc_records_total", outcome="clean") == 1


def test_trap_6_a_host_with_two_rows_counts_once(tmp_path: Path) -> None:
    """A file job doubles rows: the worst status counts, and it is one host."""
    with life(tmp_path, past=10) as its:
        record = its.ran(hosts=2)
        its.world.double_rows(record, {HOSTS[0].id: "fail"})
        its.poll(3)
        assert its.daemon.value("job_host_results_total") == 2
        assert its.daemon.value("job_host_results_total", status="fail") == 1
        assert its.daemon.value("job_record_hosts", "sum") == 2


def test_trap_7_a_record_that_never_ends_is_overdue(tmp_path: Path) -> None:
    """It is looked at once a minute for ever, and shown; it is counted if it does end."""
    with life(tmp_path, past=10) as its:
        record = its.add(timeout=60)
        its.poll(4)
        assert its.daemon.gauge("job_records_overdue") == 0
        its.poll(200)
        assert its.daemon.gauge("job_records_overdue") == 1
        assert its.daemon.gauge("job_records", execute_status="doing") == 1
        its.forget_requests()
        its.poll(40)
        assert len(its.api.lookups(record)) == 10
        its.end(record, "timeout")
        its.poll(6)
        assert its.daemon.settled() == {record}
        assert its.daemon.gauge("job_records_overdue") == 0


@ORDERS
def test_trap_8_old_records_are_deleted(order: Order, tmp_path: Path) -> None:
    """The total shrinks and positions shift: what comes in the same moment is found, nothing counts twice."""
    with life(tmp_path, order=order, past=150) as its:
        for number in range(6):
            its.world.delete_oldest(10 * number)
            for _ in range(number):
                its.ran()
            its.poll()
        its.poll(45)
        assert its.finished == 15
        assert its.is_true()


def test_trap_8_an_open_record_is_deleted(tmp_path: Path) -> None:
    """It is counted as vanished, and not as finished; if it comes back it is followed again."""
    with life(tmp_path, past=10) as its:
        record = its.add()
        its.poll()
        its.world.delete([record])
        its.poll(8)
        assert its.incomplete("vanished") == 1
        assert its.finished == 0
        assert its.daemon.ledger.state.followed == {}


def test_trap_8_the_platform_was_set_up_anew(tmp_path: Path) -> None:
    """All is gone: new records are counted as before."""
    with life(tmp_path, past=150) as its:
        its.world.delete_oldest(150)
        its.poll(6)  # confirmed over a minute
        assert its.daemon.gauge("job_records", execute_status="done") == 0
        new = {its.ran() for _ in range(3)}
        its.poll(3)
        assert its.daemon.settled() == new


def test_trap_9_what_is_counted_stays_counted(tmp_path: Path) -> None:
    """A late change of result or end does not count again, nor differently."""
    with life(tmp_path, past=10) as its:
        record = its.ran()
        its.poll(3)
        before = its.daemon.tally()
        its.world.amend(record, result="fail", end=its.clock.now + 500)
        its.poll(60)
        its.daemon.restart()
        its.poll(5)
        assert its.daemon.tally() == before
