"""The simulated life is deterministic, reaches every trap, and each scenario is what its name says."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.simulator.faults import CHANCE, Fault, Faults, FaultSettings
from exporter.simulator.jobs import TRAPS, Job, JobMaker
from exporter.simulator.scenarios import DAY, IDC_SIZES, LOCAL, SCENARIOS, Scenario, Sickness
from exporter.simulator.traffic import Traffic
from exporter.simulator.truth import RecordTruth, tally
from exporter.simulator.world import World

NOON = 20_000 * DAY + 4 * 3600.0  # 12:00 in UTC+8


def live(name: str, seconds: float, *, step: float = 60.0, seed: int = 1, rate: float | None = 2.0) -> World:
    """Let a scenario run for a while from noon."""
    world, traffic = World(seed=seed), Traffic(seed=seed, scenario=SCENARIOS[name], rate=rate)
    moment = 0.0
    while moment <= seconds:
        traffic.advance(world, NOON + moment)
        moment += step
    return world


def facts(world: World) -> dict[str, Any]:
    """Give all that can be told of a world."""
    return {
        **{record.id: (record.execute, record.result, tuple(record.rows()), record.end) for record in world},
        "truth": {name: asdict(fact) for name, fact in world.truth().items()},
    }


def test_the_same_seed_lives_the_same_life_in_any_steps() -> None:
    """How often the platform is looked at changes nothing; another seed changes it."""
    assert facts(live("traps", 60, step=0.25)) == facts(live("traps", 60, step=30))
    assert facts(live("traps", 60)) != facts(live("traps", 60, seed=2))


def test_draining_ends_what_can_end() -> None:
    """After a drain only records that never end are open, and nothing is under way."""
    world, traffic = World(), Traffic(seed=3, scenario=SCENARIOS["traps"])
    traffic.advance(world, NOON)
    traffic.advance(world, NOON + 120)
    assert traffic.pending() > 0
    traffic.stop(world, NOON + 120)
    traffic.advance(world, NOON + 121)
    running = world.open_ids()
    traffic.stop(world, NOON + 121, drain=True)
    assert traffic.pending() == 0
    assert world.open_ids() < running
    total = len(world)
    traffic.advance(world, NOON + 999)
    assert len(world) == total


def test_a_stopped_platform_comes_to_rest() -> None:
    """Without a drain the jobs end in their time, and no job arrives."""
    world, traffic = World(), Traffic(seed=3, scenario=SCENARIOS["calm"])
    traffic.advance(world, NOON)
    traffic.advance(world, NOON + 60)
    traffic.stop(world, NOON + 60)
    total = len(world)
    traffic.advance(world, NOON + 600)
    assert (len(world), traffic.pending(), world.open_ids()) == (total, 0, frozenset())


def test_without_a_rate_nothing_arrives() -> None:
    """Rate 0 is a platform on which nobody works."""
    assert len(live("calm", 600, rate=0)) == 0


def test_what_is_deleted_has_no_fate() -> None:
    """Retention deletes old records, also while they run, and traffic goes on."""
    world, traffic = World(retention=5), Traffic(seed=4, scenario=SCENARIOS["traps"])
    for second in range(90):
        traffic.advance(world, NOON + second)
    assert world.lost_ids()
    assert any(fact.deleted for fact in world.truth().values())
    assert all(record.start is None or record.start >= NOON + 84 for record in world)


def test_history_is_finished_and_old() -> None:
    """Records of the past are done, visible, in order and before the present."""
    world, traffic = World(), Traffic(seed=5, scenario=SCENARIOS["traps"])
    traffic.history(world, 200, NOON)
    assert len(world) == len(world.truth()) == 200
    assert all(fact.ever_visible for fact in world.truth().values())
    assert max(fact.finished for fact in world.truth().values()) < NOON - 50
    traffic.advance(world, NOON)
    assert len(world) == 200


def jobs(scenario: Scenario, count: int = 400, now: float = NOON) -> list[Job]:
    maker = JobMaker(seed=6, scenario=scenario)
    return [maker.draw(now) for _ in range(count)]


@pytest.mark.parametrize("name", TRAPS)
def test_every_trap_is_reached_and_survived(name: str) -> None:
    """A life of one trap only comes to rest with a truth of every record that ended."""
    scenario = replace(
        SCENARIOS["traps"], traps=1.0, only_traps=(name,), endless=0, cancel=0, silent=0, host_fail=0.5
    )
    assert {job.trap for job in jobs(scenario, 20)} == {name}
    world, traffic = World(), Traffic(seed=7, scenario=scenario)
    for tick in range(300):
        traffic.advance(world, NOON + tick / 10)
    traffic.stop(world, NOON + 30, drain=True)
    assert len(world) == len(world.truth()) > 50
    assert SIGNS[name](world)


def some(world: World, test: Any) -> bool:
    return any(test(fact) for fact in world.truth().values())


def missing(fact: RecordTruth) -> bool:
    return any(host.idc == "unknown" for host in fact.hosts)


SIGNS: dict[str, Any] = {
    "late-rows": lambda world: all(fact.ever_visible for fact in world.truth().values()),
    "never-rows": lambda world: not some(world, lambda fact: fact.ever_visible),
    "done-first": lambda world: not some(world, missing),
    "blink": lambda world: all(record.shown is None for record in world),
    "double": lambda world: any(len(record.rows()) > len(record.spec.hosts) for record in world),
    "odd-status": lambda world: some(world, lambda fact: fact.result == "unknown"),
    "cancelled-execute": lambda world: some(world, lambda fact: fact.result == "cancelled"),
    "early-end": lambda world: some(world, lambda fact: fact.duration is None),
    "no-end": lambda world: all(record.end is not None for record in world),
    "late-start": lambda world: some(world, lambda fact: (fact.duration or 0) > 2),
    "missing-rows": lambda world: some(world, missing),
    "no-host-list": lambda world: not some(world, missing),
    "odd-id": lambda world: all(" & 任务/?#" in record.id and len(record.id) <= 64 for record in world),
    "timeout-of-successes": lambda world: {fact.result for fact in world.truth().values()} == {"timeout"},
}


def test_records_tie_and_come_late_in_the_trap_scenario() -> None:
    """Several records share a second, and some are inserted before the tail."""
    world, traffic = World(), Traffic(seed=8, scenario=SCENARIOS["traps"])
    late = 0
    tail = 0
    for tick in range(600):
        before = {record.id for record in world}
        traffic.advance(world, NOON + tick / 10)
        for record in world:
            late += record.id not in before and (record.start or 0) < tail
        tail = max((record.start or 0 for record in world), default=0)
    seconds = [record.start for record in world]
    assert len(set(seconds)) < len(seconds)
    assert late > 0


def results(name: str, **changes: Any) -> dict[str, int]:
    world, traffic = World(), Traffic(seed=9, scenario=replace(SCENARIOS[name], rate=2, **changes))
    for second in range(300):
        traffic.advance(world, NOON + second)
    return tally(world.truth().values()).results


def test_calm_is_calm() -> None:
    """Few failures, no timeouts, nothing cancelled."""
    sums = results("calm")
    assert sums["success"] > 10 * sums.get("fail", 0)
    assert set(sums) <= {"success", "fail"}


def test_a_timeout_surge_ends_a_fifth_of_the_jobs_by_timeout() -> None:
    """Hosts stay silent until the record's own timeout."""
    sums = results("timeout-surge")
    assert 0.1 < sums["timeout"] / sum(sums.values()) < 0.35


@pytest.mark.parametrize("name", ["stuck", "init-stuck"])
def test_stuck_records_stay_open(name: str) -> None:
    """They are open long after their timeout, doing or still init."""
    world, traffic = World(), Traffic(seed=10, scenario=SCENARIOS[name], rate=2)
    traffic.advance(world, NOON)
    traffic.advance(world, NOON + 100)
    traffic.stop(world, NOON + 100)
    traffic.advance(world, NOON + 1000)
    states = {world.record(name).execute for name in world.open_ids()}
    assert states == ({"init"} if name == "init-stuck" else {"doing", "init"} & states)
    assert len(world.open_ids()) > 20


def test_a_bad_script_fails_everywhere() -> None:
    """All hosts of one script type fail, those of others do not."""
    scenario = SCENARIOS["bad-script"]
    drawn = jobs(scenario)
    bad = [job for job in drawn if job.spec.script_type == scenario.bad_script]
    assert len(bad) > len(drawn) / 3
    assert all(set(job.statuses.values()) == {"fail"} for job in bad)
    assert sum(job.result == "fail" for job in drawn) < len(bad) + 40


def test_an_idc_that_is_down_fails_wholly() -> None:
    """All of its hosts fail, and those of other IDCs do not."""
    by_idc: dict[str, set[str]] = {}
    for job in jobs(replace(SCENARIOS["idc-down"], host_fail=0)):
        for host in job.spec.hosts:
            by_idc.setdefault(host.idc, set()).add(job.statuses[host.id])
    assert by_idc.pop("杭州") == {"fail"}
    assert set(by_idc) == set(IDC_SIZES) - {"杭州"}
    assert all(statuses == {"success"} for statuses in by_idc.values())


def test_a_sick_idc_fails_in_part() -> None:
    """Most of its hosts fail, some succeed, some never report and let the record time out."""
    drawn = jobs(SCENARIOS["sick-idc"])
    statuses = [
        job.statuses.get(host.id, "") for job in drawn for host in job.spec.hosts if host.idc == "杭州"
    ]
    assert 0.6 < statuses.count("fail") / len(statuses) < 0.7
    assert 0.04 < statuses.count("") / len(statuses) < 0.1
    assert all(job.result == "timeout" for job in drawn if len(job.statuses) < len(job.spec.hosts))


def test_spells_of_sickness_come_and_go() -> None:
    """The next spell takes the next IDC; without IDCs there is none."""
    sickness = Sickness(every=100, lasts=10)
    assert [sickness.sick_idc(now, ("a", "b")) for now in (5, 15, 105, 205)] == ["a", None, "b", "a"]
    assert sickness.sick_idc(5, ()) is None


def test_huge_jobs_run_on_a_thousand_hosts() -> None:
    """Some jobs take hosts of every IDC."""
    sizes = {len(job.spec.hosts) for job in jobs(Scenario(huge=0.5), 20)}
    assert 1000 in sizes
    assert min(sizes) <= 50


def test_the_day_has_a_rhythm() -> None:
    """Most jobs arrive at 15:00 in UTC+8, fewest at 3:00, and on the average the rate."""
    scenario = SCENARIOS["demo"]
    rates = [scenario.rate_at(hour * 3600 - LOCAL) for hour in range(24)]
    assert (rates.index(max(rates)), rates.index(min(rates))) == (15, 3)
    assert sum(rates) / 24 == pytest.approx(scenario.rate)


def test_the_demo_shows_every_status_and_idc() -> None:
    """An hour of it has successes, failures, timeouts and all IDCs."""
    sums = tally(live("demo", 3600, rate=None).truth().values())
    assert set(sums.results) >= {"success", "fail", "timeout", "cancelled"}
    assert {idc for idc, _ in sums.hosts} >= set(IDC_SIZES)


def test_the_scenario_can_change_on_the_way() -> None:
    """From then on jobs are drawn from the new one."""
    world, traffic = World(), Traffic(seed=11, scenario=SCENARIOS["calm"])
    traffic.change(Scenario(rate=5, host_fail=1.0, init=0))
    for second in range(60):
        traffic.advance(world, NOON + second)
    assert set(tally(world.truth().values()).results) == {"fail"}


@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.95))
@settings(max_examples=25)
def test_faults_hit_the_share_that_was_asked_for(seed: int, share: float) -> None:
    """About the rate, the same ones for the same seed, of the kinds asked for."""
    kinds = (Fault.RESET, Fault.SLOW)
    one, two = (Faults(seed=seed, settings=FaultSettings(rate=share, kinds=kinds)) for _ in range(2))
    picked = [one.pick() for _ in range(2000)]
    assert picked == [two.pick() for _ in range(2000)]
    assert set(picked) <= {None, *kinds}
    assert abs(sum(fault is not None for fault in picked) / 2000 - share) < 0.06


def test_switches_hit_every_request() -> None:
    """Each switch has its fault, and healthy settings have none."""
    faults = Faults()
    assert faults.pick() is None
    switches: list[tuple[dict[str, object], Fault]] = [
        ({"database_down": True}, Fault.DATABASE_DOWN),
        ({"forbid": True}, Fault.FORBIDDEN),
        ({"reject_credentials": True}, Fault.UNAUTHORIZED),
        ({"retry_after": 7}, Fault.TOO_MANY),
        ({"down": True}, Fault.RESET),
    ]
    for change, fault in switches:
        faults.change(change)
        assert faults.pick() is fault
    faults.change({"rate": 1, "kinds": ["slow"]})
    assert faults.settings.kinds == (Fault.SLOW,)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 2},
        {"rate": "many"},
        {"kinds": ["no-such"]},
        {"kinds": []},
        {"kinds": ["too-many"]},
        {"slow_seconds": -1},
        {"colour": 1},
    ],
)
def test_bad_fault_settings_are_refused(change: dict[str, object]) -> None:
    """A value that cannot be is an error, and the settings stay."""
    faults = Faults()
    with pytest.raises(ValueError, match=r"\w"):
        faults.change(change)
    assert faults.settings == FaultSettings()
    assert faults.settings.kinds == CHANCE
