"""The simulated platform keeps its records as job-api.md tells, and knows the truth of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.truth import HostTruth, idc_outcomes, normal_host, normal_result, record_truth, tally
from exporter.simulator.world import Order, World

FLEET = make_fleet({"杭州": 3, "shanghai-02": 3})
HOSTS = FLEET["杭州"][:2] + FLEET["shanghai-02"][:1]
NOW = 1_790_000_000.0


def spec(**changes: Any) -> RecordSpec:
    return RecordSpec(**{"hosts": HOSTS, **changes})


def ids(world: World, number: int, size: int) -> list[str]:
    return [record.id for record in world.page(number, size).records]


def test_the_same_seed_gives_the_same_fleet_and_ids() -> None:
    """Hosts and record ids are drawn from the seed only."""
    assert make_fleet({"a": 5}, seed=3) == make_fleet({"a": 5}, seed=3)
    assert make_fleet({"a": 5}, seed=3) != make_fleet({"a": 5}, seed=4)
    assert World(seed=1).add(spec(), NOW) == World(seed=1).add(spec(), NOW)
    assert World(seed=1).add(spec(), NOW) != World(seed=2).add(spec(), NOW)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_newest_lies_at_the_end_or_at_the_beginning(order: Order) -> None:
    """Pages follow the start time, up or down, and the pages together are all of it."""
    world = World(order=order)
    for number in range(5):
        world.add(spec(id=f"r{number}", start=NOW + number), NOW)
    expected = [f"r{number}" for number in range(5)]
    if order == "desc":
        expected.reverse()
    assert ids(world, 1, 2) + ids(world, 2, 2) + ids(world, 3, 2) == expected
    assert ids(world, 4, 2) == []
    assert ids(world, -1, 2) == []
    assert ids(world, 1, -1) == expected


def test_a_tie_can_land_before_the_tail() -> None:
    """Records of one second are sorted by id, not by when they came."""
    world = World()
    world.add(spec(id="m"), NOW + 0.1)
    world.add(spec(id="b"), NOW + 0.9)
    assert ids(world, 1, 10) == ["b", "m"]


def test_a_late_record_lands_before_the_tail() -> None:
    """A record whose start is in the past is inserted there."""
    world = World()
    world.add(spec(id="a"), NOW)
    world.add(spec(id="b", start=NOW - 5), NOW + 1)
    world.add(spec(id="c", no_start=True), NOW + 2)
    assert ids(world, 1, 10) == ["c", "b", "a"]


def test_a_record_without_rows_takes_a_position_that_no_page_shows() -> None:
    """It is counted in the total, and appears where it stands once it has rows."""
    world = World()
    for name in "abc":
        world.add(spec(id=name, rows=name != "b"), NOW)
    assert world.page(1, 10).total == len(world) == 3
    assert ids(world, 1, 10) == ["a", "c"]
    assert ids(world, 2, 1) == []
    world.give_rows("b")
    assert ids(world, 2, 1) == ["b"]


def test_rows_that_never_come_keep_a_record_invisible() -> None:
    """A record all of whose hosts are rowless is in no page; without hosts too."""
    world = World()
    world.add(spec(id="a", rowless=frozenset(h.id for h in HOSTS)), NOW)
    world.add(spec(id="b", hosts=()), NOW)
    assert ids(world, 1, 10) == []
    assert world.record("a").rows() == []


def test_a_world_of_records_shows_them_without_rows() -> None:
    """Where pages list records themselves nothing is invisible."""
    world = World(rows_decide=False)
    world.add(spec(id="a", rows=False), NOW)
    assert ids(world, 1, 10) == ["a"]


def test_rows_blink() -> None:
    """Rows go, wholly or in part, and come back as they were; the truth does not blink."""
    world = World()
    world.add(spec(id="a"), NOW)
    world.finish("a", "success", NOW + 3)
    before = world.truth()
    world.blink("a")
    assert world.record("a").rows() == []
    assert ids(world, 1, 10) == []
    assert world.truth()["a"].hosts == before["a"].hosts
    world.blink("a", keep=1)
    assert len(world.record("a").rows()) == 1
    assert ids(world, 1, 10) == ["a"]
    world.unblink("a")
    assert len(world.record("a").rows()) == 3
    assert world.truth() == before


def test_a_record_goes_from_init_to_doing_to_done() -> None:
    """Its end repeats the start until it is done."""
    world = World()
    world.add(spec(id="a", execute="init"), NOW)
    world.begin("a")
    record = world.record("a")
    assert (record.execute, record.end, record.done) == ("doing", int(NOW), False)
    world.finish("a", "fail", NOW + 7.9)
    assert (record.execute, record.end, record.done) == ("done", int(NOW) + 7, True)
    assert world.truth()["a"].duration == 7
    assert world.truth()["a"].finished == NOW + 7.9


def test_done_before_its_hosts() -> None:
    """Hosts that report after the end are in the truth with what they said last."""
    world = World()
    world.add(spec(id="a"), NOW)
    world.finish("a", "timeout", NOW + 3, report_hosts=False)
    assert {host.status for host in world.truth()["a"].hosts} == {"unreported"}
    world.report_host("a", HOSTS[0].id, "success")
    assert world.truth()["a"].hosts[0] == HostTruth(host_id=HOSTS[0].id, idc="杭州", status="success")
    world.report_hosts("a", {host.id: "ERROR" for host in HOSTS[1:]})
    assert [host.status for host in world.truth()["a"].hosts] == ["success", "fail", "fail"]


def test_a_double_counts_once_with_its_worst_status() -> None:
    """Two rows of one host are one host in the truth, whichever comes first."""
    world = World()
    world.add(spec(id="a"), NOW)
    world.double_rows("a", {HOSTS[0].id: "fail", HOSTS[1].id: "success"})
    world.finish("a", "fail", NOW, statuses={HOSTS[0].id: "success", HOSTS[1].id: "timeout"})
    assert len(world.record("a").rows()) == 5
    assert [host.status for host in world.truth()["a"].hosts] == ["fail", "timeout", "unreported"]


def test_hosts_without_rows_are_unreported_of_an_unknown_idc() -> None:
    """Expected hosts count, unless the record does not say which it expects."""
    world = World()
    rowless = frozenset({HOSTS[0].id})
    world.add(spec(id="a", rowless=rowless), NOW)
    world.add(spec(id="b", rowless=rowless, hosts_listed=False), NOW)
    for name in "ab":
        world.finish(name, "success", NOW)
    missing = HostTruth(host_id=HOSTS[0].id, idc="unknown", status="unreported")
    assert missing in world.truth()["a"].hosts
    assert len(world.truth()["a"].hosts) == 3
    assert len(world.truth()["b"].hosts) == 2


@pytest.mark.parametrize(
    ("execute", "result", "expected"),
    [
        ("done", "SUCCESS", "success"),
        ("done", "cancel", "cancelled"),
        ("done", "Canceled", "cancelled"),
        ("done", "error", "fail"),
        ("done", "failed", "fail"),
        ("done", "skipped", "unknown"),
        ("done", "", "unknown"),
        ("cancelled", "", "cancelled"),
        ("CANCEL", "timeout", "timeout"),
    ],
)
def test_results_are_normalised(execute: str, result: str, expected: str) -> None:
    """The truth knows the spellings that were seen, and calls the rest unknown."""
    assert normal_result(execute, result) == expected


def test_host_statuses_are_normalised() -> None:
    """An empty host status is unreported, one that no one knows is unknown."""
    assert [normal_host(status) for status in ("", "cancel", "SUCCESS", "skipped")] == [
        "unreported",
        "cancelled",
        "success",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("changes", "end"), [({}, NOW - 9), ({"no_start": True}, NOW)], ids=["end-before-start", "no-start"]
)
def test_bad_times_have_no_duration(changes: dict[str, Any], end: float) -> None:
    """Without two times in order there is no duration."""
    world = World()
    world.add(spec(id="a", **changes), NOW)
    world.finish("a", "success", NOW, end=end)
    assert world.truth()["a"].duration is None


def test_what_is_changed_after_the_end_does_not_change_the_truth() -> None:
    """A late change is shown by the platform; what is counted is what it said first."""
    world = World()
    world.add(spec(id="a"), NOW)
    world.finish("a", "timeout", NOW + 5)
    before = world.truth()
    world.amend("a", result="success", end=NOW + 50)
    world.amend("a")
    assert world.truth() == before
    assert world.record("a").result == "success"
    assert world.record("a").end == int(NOW) + 50


def test_a_moved_record_lies_elsewhere() -> None:
    """Correcting the start of an open record changes its position; a missing end stays missing."""
    world = World()
    for number, name in enumerate("abc"):
        world.add(spec(id=name, start=NOW + number, null_end=name == "a"), NOW)
    world.move("a", NOW + 9)
    world.move("b", NOW + 8)
    assert ids(world, 1, 10) == ["c", "b", "a"]
    assert world.record("a").end is None
    assert world.record("b").end == int(NOW) + 8


@pytest.mark.parametrize("count", [2, 40])
def test_deletion_shifts_positions_and_keeps_the_truth(count: int) -> None:
    """What finished stays in the truth as deleted; what was open is lost."""
    world = World()
    names = [f"r{number:02}" for number in range(50)]
    for name in names:
        world.add(spec(id=name), NOW)
    for name in names[1:]:
        world.finish(name, "success", NOW)
    world.delete(names[:count])
    assert ids(world, 1, 1) == [names[count]]
    assert world.lost_ids() == {"r00"}
    assert world.truth()["r01"].deleted
    assert world.truth()["r01"].ever_visible
    assert not world.truth()["r01"].visible
    assert not world.truth()[names[-1]].deleted
    assert len(world.truth()) == 49
    assert "r00" not in world


def test_the_oldest_expire() -> None:
    """Only with a retention, and only what started before it."""
    world = World(retention=60)
    for number in range(5):
        world.add(spec(id=f"r{number}", start=NOW + number * 30), NOW)
    world.expire(NOW + 120)
    assert ids(world, 1, 10) == ["r2", "r3", "r4"]
    world.delete_oldest(1)
    assert [record.id for record in world] == ["r3", "r4"]
    assert world.open_ids() == {"r3", "r4"}
    unlimited = World()
    unlimited.add(spec(), 0)
    unlimited.expire(NOW)
    assert len(unlimited) == 1


def test_what_cannot_be_is_refused() -> None:
    """Records end once, ids are used once, and unknown ids are errors."""
    world = World()
    world.add(spec(id="a"), NOW)
    with pytest.raises(ValueError, match="not done"):
        world.amend("a", result="fail")
    with pytest.raises(ValueError, match="not finished"):
        record_truth(world.record("a"), visible=True)
    world.finish("a", "success", NOW)
    for action in (
        lambda: world.finish("a", "fail", NOW),
        lambda: world.begin("a"),
        lambda: world.move("a", NOW),
        lambda: world.add(spec(id="a"), NOW),
    ):
        with pytest.raises(ValueError, match="record a"):
            action()
    with pytest.raises(KeyError):
        world.record("b")


def test_the_tally_adds_up() -> None:
    """Counters by result, kind, host and IDC, as an exporter that saw it all would show them."""
    world = World()
    world.add(spec(id="a", provider="", script_type="python"), NOW)
    world.add(spec(id="b"), NOW)
    world.finish("a", "success", NOW + 4)
    world.finish("b", "fail", NOW - 4, statuses={HOSTS[0].id: "success", HOSTS[1].id: "fail"})
    sums = tally(world.truth().values())
    assert sums.results == {"success": 1, "fail": 1}
    assert sums.kinds == {("success", "unknown", "python"): 1, ("fail", "salt", "bash"): 1}
    assert sums.hosts == {
        ("杭州", "success"): 3,
        ("杭州", "fail"): 1,
        ("shanghai-02", "success"): 1,
        ("shanghai-02", "unreported"): 1,
    }
    assert sums.outcomes == {
        ("杭州", "clean"): 1,
        ("杭州", "degraded"): 1,
        ("shanghai-02", "clean"): 1,
        ("shanghai-02", "failed"): 1,
    }
    assert sums.durations == {"success": (1, 4)}
    assert idc_outcomes(()) == {}


@given(
    starts=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
    size=st.integers(1, 7),
    deleted=st.sets(st.integers(0, 29)),
)
def test_pages_of_any_size_are_the_same_records_in_both_orders(
    starts: list[tuple[int, bool]], size: int, deleted: set[int]
) -> None:
    """Whatever lies there, pages cover every position once, and one order is the other reversed."""
    shown: dict[Order, list[str]] = {}
    for order in ("asc", "desc"):
        world = World(seed=5, order=order)
        names = [world.add(spec(start=start, rows=rows), NOW) for start, rows in starts]
        world.delete({names[index] for index in deleted if index < len(names)})
        pages = range(1, -(-len(world) // size) + 1)
        shown[order] = [name for number in pages for name in ids(world, number, size)]
        assert sorted(shown[order]) == sorted(r.id for r in world if r.visible())
    assert shown["asc"] == shown["desc"][::-1]
