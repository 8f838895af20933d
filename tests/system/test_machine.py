"""The heart: whatever happens to the platform and to the process, each record counts once, and truly.

A state machine of coarse steps drives the real tail, tracker, poller and ledger against a world that
knows the truth: whole polls with life going on between them, crashes around any commit, records that tie,
come late, have no rows yet, blink, end before their hosts, double, are deleted; a platform that fails.
"""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exporter.discovery.gaps import HOLD
from exporter.model import Series
from exporter.polling.config import PollConfig
from exporter.simulator.dialect import Dialect
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.fleet import make_fleet
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import Order, World
from tests.harness.inprocess import RULES, Blow, Clock, Daemon, WorldApi, truth_of

FLEET = make_fleet({"杭州": 3, "北京": 2, 'id"\nc': 1})
HOSTS = tuple(host for hosts in FLEET.values() for host in hosts)
STATUSES = ("success", "fail", "TIMEOUT", "cancel", "error", "odd")
DISCOVERED = Series("job_records_discovered_total")
# These go by what pages show: no record moves them.
BY_PAGES = (
    DISCOVERED,
    Series("job_exporter_records_late_total"),
    Series("job_exporter_records_incomplete_total", (("reason", "hidden"),)),
)
SWEEP = 3600.0  # seconds from one sweep to the next
CALM_POLLS = 90  # longer than an empty position is looked at again, and a missing record is asked for


class Platform(RuleBasedStateMachine):
    """The world and the exporter side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.clock = Clock()
        self.baseline: set[str] = set()
        self.awaited: set[str] = set()  # done before their hosts: these report within the grace
        self.blinking: set[str] = set()
        self.cut_short: set[str] = set()  # deleted unsettled: their hosts may not be known
        self.hidden: dict[str, float] = {}  # no rows yet, since when
        self.failing = False

    @initialize(
        order=st.sampled_from(["asc", "desc"]),
        dialect=st.sampled_from(["observed", "rows", "records"]),
        history=st.integers(0, 30),
        opened=st.integers(0, 4),
        adopt=st.sampled_from([5, 200]),
    )
    def begin(self, order: Order, dialect: str, history: int, opened: int, adopt: int) -> None:
        """A platform with a past, and an exporter that sees it for the first time."""
        self.world = World(order=order, rows_decide=dialect != "records")
        speak: Dialect = ObservedDialect()
        if dialect != "observed":
            speak = DocumentedDialect(items=dialect)  # type: ignore[arg-type]
        for number in range(history):
            at = self.clock.now - 10_000 + number // 3
            record = self.world.add(RecordSpec(hosts=HOSTS[: 1 + number % 3], start=at), at)
            self.world.finish(record, STATUSES[number % 3], at + 5)
        for _ in range(min(opened, adopt)):
            self.world.add(RecordSpec(hosts=HOSTS[:2], start=self.clock.now - 100), self.clock.now)
        self.baseline = set(self.world.truth())
        self.api = WorldApi(self.world, dialect=speak)
        self.api.fails = lambda _endpoint: self.failing
        config = PollConfig(rules=RULES, adopt=adopt, recheck_interval=150.0)
        self.daemon = self.exporter(config)
        self.daemon.poll()
        self.clock.now += 2  # what ended within the second of the beginning may be taken for the baseline

    def exporter(self, config: PollConfig) -> Daemon:
        """Start the exporter."""
        return Daemon(self.api, self.folder, self.clock, config=config)

    # -- life of the platform

    @rule(
        count=st.integers(1, 8),
        hosts=st.integers(1, 6),
        late=st.sampled_from([0, 0, 0, 1, 20, 200]),
        rows=st.booleans(),
        execute=st.sampled_from(["doing", "doing", "init"]),
    )
    def start_jobs(self, count: int, hosts: int, late: int, rows: bool, execute: str) -> None:
        """Records begin: in one second, or `late` seconds back because a master's clock is behind.

        What lands far below the newest page while a deletion hides the growth can't be told by counting.
        """
        if late > 20:
            self.poll(times=1)
        for _ in range(count):
            spec = RecordSpec(
                hosts=HOSTS[:hosts], start=self.clock.now - late, rows=rows, execute=execute, timeout=60
            )
            record = self.world.add(spec, self.clock.now)
            if not rows:
                self.hidden[record] = self.clock.now
        if late > 20:
            self.daemon.poll()

    @rule(count=st.integers(60, 130))
    def burst(self, count: int) -> None:
        """More records than a page holds begin and end between two polls."""
        for _ in range(count):
            record = self.world.add(RecordSpec(hosts=HOSTS[:1]), self.clock.now)
            self.world.finish(record, "success", self.clock.now)

    @rule(data=st.data())
    def give_rows(self, data: st.DataObject) -> None:
        """Invisible records get their rows."""
        self._reveal(self._some(data, set(self.hidden)))

    @rule(
        data=st.data(),
        result=st.sampled_from(STATUSES),
        reported=st.sampled_from(["all", "all", "later", "never", "double"]),
    )
    def end_jobs(self, data: st.DataObject, result: str, reported: str) -> None:
        """Records end, with all of their hosts, before them, or without some for ever."""
        for record in self._some(data, set(self.world.open_ids())):
            hosts = self.world.record(record).spec.hosts
            if record in self.hidden and not self.world.rows_decide:
                self._reveal([record])  # visible without rows, it would rightly count without their IDCs
            self.world.finish(record, result, self.clock.now, report_hosts=reported in {"all", "double"})
            if reported == "double":
                self.world.double_rows(record, {hosts[0].id: "fail"})
            elif reported == "later":
                self.awaited.add(record)

    @rule(data=st.data(), keep=st.integers(0, 1))
    def blink(self, data: st.DataObject, keep: int) -> None:
        """Rows are deleted and not inserted again yet."""
        for record in self._some(data, {record.id for record in self.world}):
            self.world.blink(record, keep=keep)
            self.blinking.add(record)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Records are deleted anywhere."""
        self._gone(self._some(data, {record.id for record in self.world}))

    @rule(count=st.integers(1, 10))
    def expire(self, count: int) -> None:
        """The oldest records are deleted."""
        self._gone([record.id for record in self.world][:count])

    # -- life of the exporter

    @rule(times=st.integers(1, 5))
    def poll(self, times: int) -> None:
        """Polls go by; what blinked is back, what was to report has reported, before they do."""
        self._settle_world()
        self.daemon.poll(times=times)

    @rule()
    def poll_amid_blinks(self) -> None:
        """A poll meets rows that are gone for a moment; the next look is within the grace."""
        self.daemon.poll()
        self._settle_world()

    @rule(blow=st.sampled_from(list(Blow)), blow_in=st.integers(0, 4))
    def crash(self, blow: Blow, blow_in: int) -> None:
        """The process dies around a commit, and another one goes on; or the commit is refused."""
        self._settle_world()
        self.daemon.poll(blow=blow, blow_in=blow_in)

    @rule(seconds=st.sampled_from([20.0, 600.0, 90_000.0]))
    def downtime(self, seconds: float) -> None:
        """The exporter is down for a while."""
        self._reveal(list(self.hidden))
        self._settle_world()
        self.clock.now += seconds
        self.daemon.restart()

    @rule()
    def fail(self) -> None:
        """The platform answers with errors for a poll."""
        self._settle_world()
        self.failing = True
        self.daemon.poll()
        self.failing = False

    # -- what must hold

    @invariant()
    def nothing_counts_twice(self) -> None:
        """At every moment the counters are the truth about exactly the records in the ledger."""
        if hasattr(self, "daemon") and not self.failing:
            state = self.daemon.ledger.state
            finished = sum(
                sample.value
                for series, sample in state.counters.items()
                if series.family == "job_records_finished_total"
            )
            assert finished == len(self.daemon.settled())
            assert not self.daemon.settled() & self.baseline
            counters = {series: sample.value for series, sample in state.counters.items()}
            vanished = counters[Series("job_exporter_records_incomplete_total", (("reason", "vanished"),))]
            followed = sum(item.baseline_end is None for item in state.followed.values())
            assert counters[DISCOVERED] == finished + vanished + followed

    def teardown(self) -> None:
        """After all has calmed down: everything that could be seen is counted, truly, and nothing else."""
        try:
            if hasattr(self, "daemon"):
                self._calm_down()
        finally:
            if hasattr(self, "daemon"):
                self.daemon.close()
            shutil.rmtree(self.folder)

    def _calm_down(self) -> None:
        self._reveal(list(self.hidden))
        self._settle_world()
        for record in self.world.open_ids():
            self.world.finish(record, "success", self.clock.now)
        self.daemon.poll(times=CALM_POLLS)
        self.clock.now += SWEEP  # what deletions hid, the next sweep finds
        self.daemon.poll(times=12)
        there = {fact.id for fact in self.world.truth().values() if not fact.deleted} - self.baseline
        settled = self.daemon.settled()
        assert there <= settled, f"not counted: {self._why(there - settled)}"
        assert settled <= set(self.world.truth()) - self.baseline
        whole = settled - self.cut_short
        counted, true = self.daemon.tally(without=self.cut_short), truth_of(self.world, whole)
        assert counted == true, f"{counted}\n{true}"
        counted, true = self.daemon.tally(), truth_of(self.world, settled)
        assert replace(counted, hosts={}, outcomes={}) == replace(true, hosts={}, outcomes={})
        counters = self.daemon.ledger.state.counters
        moved = self.daemon.moved() | {series: counters[series].value for series in BY_PAGES}
        assert moved.keys() <= counters.keys()
        for series, sample in counters.items():
            assert moved.get(series, 0.0) == pytest.approx(sample.value), series
        assert self.daemon.gauge("job_records_hidden") == 0
        assert self.daemon.gauge("job_exporter_pending_results") == 0
        assert self.daemon.gauge("job_exporter_catching_up") == 0
        total = sum(
            self.daemon.gauge("job_records", execute_status=status) or 0
            for status in ("init", "doing", "done")
        )
        assert total == len(self.world)

    def _why(self, ids: set[str]) -> str:
        tail = self.daemon.ledger.state.tail
        known = self.daemon.ledger.known(ids)
        positions = {record.id: number for number, record in enumerate(self.world)}
        return f"{[(id_, positions[id_], id_ in known) for id_ in ids]} {tail}"

    def _reveal(self, records: list[str]) -> None:
        for record in records:
            self.world.give_rows(record)
            del self.hidden[record]

    def _settle_world(self) -> None:
        # Rows come late by seconds on a real platform; here by less than positions are looked at again.
        self._reveal([record for record, since in self.hidden.items() if self.clock.now > since + HOLD / 3])
        for record in self.blinking:
            if record in self.world:
                self.world.unblink(record)
        self.blinking.clear()
        for record in self.awaited:
            if record in self.world:
                spec = self.world.record(record).spec
                self.world.report_hosts(record, {host.id: "success" for host in spec.hosts})
        self.awaited.clear()

    def _gone(self, records: list[str]) -> None:
        self.cut_short.update(set(records) - self.daemon.settled())
        self.world.delete(records)
        for record in records:
            self.hidden.pop(record, None)
        self.awaited.difference_update(records)
        self.blinking.difference_update(records)

    @staticmethod
    def _some(data: st.DataObject, ids: set[str]) -> list[str]:
        if not ids:
            return []
        return data.draw(st.lists(st.sampled_from(sorted(ids)), max_size=5, unique=True))


# Found is enough: to make a failing life short takes minutes. The same lives each time, but for soaking.
TestPlatform = Platform.TestCase
TestPlatform.settings = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "60")),
    stateful_step_count=20,
    derandomize="MACHINE_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
