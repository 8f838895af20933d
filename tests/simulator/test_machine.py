"""Whatever happens on the simulated platform, what it shows and what it calls true agree."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from exporter.simulator.dialect import Dialect, Endpoint
from exporter.simulator.documented import DocumentedDialect
from exporter.simulator.fleet import make_fleet
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.truth import RecordTruth
from exporter.simulator.world import Order, World

NOW = 1_790_000_000.0
POOL = make_fleet({"杭州": 4, "guangzhou-01": 4})
HOSTS = POOL["杭州"] + POOL["guangzhou-01"]
STATUSES = st.sampled_from(["success", "fail", "timeout", "cancelled", ""])


class PlatformMachine(RuleBasedStateMachine):
    """Acts on a world by its operations, and reads it back through both dialects."""

    records = Bundle("records")

    @initialize(order=st.sampled_from(["asc", "desc"]))
    def start(self, order: Order) -> None:
        self.world = World(order=order)
        self.now = NOW
        self.settled: dict[str, RecordTruth] = {}

    @rule(
        target=records,
        count=st.integers(0, 8),
        ago=st.integers(0, 5),
        rows=st.booleans(),
        execute=st.sampled_from(["init", "doing"]),
    )
    def add(self, count: int, ago: int, rows: bool, execute: str) -> str:
        spec = RecordSpec(hosts=HOSTS[:count], start=self.now - ago, rows=rows, execute=execute)
        return self.world.add(spec, self.now)

    @rule(seconds=st.floats(0.01, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(record=records)
    def give_rows(self, record: str) -> None:
        self.world.give_rows(record)

    @rule(record=records, keep=st.integers(0, 3))
    def blink(self, record: str, keep: int) -> None:
        self.world.blink(record, keep=keep)

    @rule(record=records)
    def unblink(self, record: str) -> None:
        self.world.unblink(record)

    @rule(record=records, result=STATUSES, report=st.booleans(), late=st.integers(-5, 0))
    def finish(self, record: str, result: str, report: bool, late: int) -> None:
        if record in self.world.open_ids():
            self.world.finish(record, result, self.now, report_hosts=report, end=self.now + late)

    @rule(record=records, host=st.sampled_from(HOSTS), status=STATUSES)
    def report(self, record: str, host: Any, status: str) -> None:
        self.world.report_host(record, host.id, status)

    @rule(record=records, host=st.sampled_from(HOSTS), status=STATUSES)
    def double(self, record: str, host: Any, status: str) -> None:
        self.world.double_rows(record, {host.id: status})

    @rule(record=records, ago=st.integers(0, 9))
    def move(self, record: str, ago: int) -> None:
        if record in self.world.open_ids():
            self.world.move(record, self.now - ago)

    @rule(record=consumes(records))
    def delete(self, record: str) -> None:
        self.world.delete([record])

    def ask(self, dialect: Dialect, endpoint: Endpoint, **query: Any) -> Any:
        texts = {name: str(value) for name, value in query.items()}
        answer = dialect.answer(self.world, endpoint, texts)
        assert answer.status == 200
        return json.loads(answer.body)

    @invariant()
    def pages_show_the_visible_records_once(self) -> None:
        """All pages together are the records that have rows, in both dialects."""
        shown = sorted(record.id for record in self.world if record.rows())
        for dialect, key in ((ObservedDialect(), "List"), (DocumentedDialect(items="rows"), "list")):
            found: list[str] = []
            for number in range(1, len(self.world) // 3 + 2):
                page = self.ask(dialect, "page", pageNo=number, pageSize=3)
                rows = page.get("content", page)[key] or []
                found += sorted({row["recordId"] for row in rows})
            assert sorted(found) == shown

    @invariant()
    def results_are_the_hosts_of_the_truth(self) -> None:
        """A finished record's rows tell the same hosts, but for what blinks or has no row."""
        truth = self.world.truth()
        for record in self.world:
            rows = self.ask(ObservedDialect(), "result", id=record.id)["content"]
            assert len(rows) == len(record.rows())
            if record.done:
                told = {host.host_id for host in truth[record.id].hosts}
                assert {row["hostId"] for row in rows} <= told == {host.id for host in record.spec.hosts}

    @invariant()
    def what_finished_stays_true(self) -> None:
        """Result and times of a finished record never change, also when it is deleted."""
        truth = self.world.truth()
        for name, fact in self.settled.items():
            now = truth[name]
            assert (now.result, now.duration, now.finished) == (fact.result, fact.duration, fact.finished)
        self.settled = truth
        assert len(truth) + len(self.world.open_ids()) == len(self.world) + sum(
            f.deleted for f in truth.values()
        )


TestPlatform = PlatformMachine.TestCase
TestPlatform.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
