"""Draws jobs: what a record is, and what will become of it. PURE; the same generator gives the same jobs.

A trap is a function from a job to the same job with something odd in it; `TRAPS` names them all.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.simulator.fleet import Host, make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.scenarios import Scenario

PROVIDERS = ("salt", "salt", "salt", "ssh", "puppet")
SCRIPT_TYPES = ("bash", "bash", "bash", "python", "bat", "url")
NAMES = ("发布 web", '重启 "nginx"', "clean\n/tmp", "备份 📦 'db'", "patch \\ kernel", "check disk")
BLINK = 0.1  # seconds: as long as rows were seen to be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A record to come and its fate; all times are seconds after its arrival, None is never."""

    spec: RecordSpec
    rows_after: float | None = 0.0
    begins: float | None = None  # from init to doing
    ends: float | None = None
    said_end: float | None = None  # what it says of its end, where that is not the truth
    execute: str = "done"
    result: str = "success"
    statuses: Mapping[str, str] = field(default_factory=dict)  # by host id, without the silent ones
    hosts_after: float = 0.0  # seconds from its end to the hosts' reports
    partial: float | None = None  # when some hosts report early
    blink: int | None = None  # rows left while reports are written; None: it does not blink
    doubles: Mapping[str, str] = field(default_factory=dict)
    trap: str = ""


class JobMaker:
    """Draws jobs of a scenario; `scenario` may be changed on the way."""

    def __init__(self, *, seed: int, scenario: Scenario) -> None:
        self.scenario = scenario
        self._seed = seed
        self._rng = random.Random(f"jobs-{seed}")
        self._fleets: dict[tuple[tuple[str, int], ...], dict[str, tuple[Host, ...]]] = {}

    def draw(self, now: float) -> Job:
        """Draw the job that arrives at `now`."""
        rng, scenario = self._rng, self.scenario
        hosts = self._hosts()
        spec = RecordSpec(
            hosts=hosts,
            provider=rng.choice(PROVIDERS),
            script_type=rng.choice(SCRIPT_TYPES),
            timeout=scenario.timeout,
            name=rng.choice(NAMES),
        )
        statuses = self._statuses(hosts, spec.script_type, now)
        job = self._fate(Job(spec=spec, statuses=statuses))
        if rng.random() < scenario.traps:
            name = rng.choice(scenario.only_traps or tuple(TRAPS))
            job = replace(TRAPS[name](job, rng), trap=name)
        return job

    def _hosts(self) -> tuple[Host, ...]:
        rng, scenario = self._rng, self.scenario
        key = tuple(scenario.idcs.items())
        if key not in self._fleets:
            self._fleets[key] = make_fleet(scenario.idcs, seed=self._seed)
        fleet = self._fleets[key]
        least, most = scenario.hosts
        count = least + int((most - least + 1) * rng.random() ** 3)  # the cube: small jobs are frequent
        names = rng.sample(tuple(fleet), k=min(rng.choice((1, 1, 2, 3)), len(fleet)))
        if rng.random() < scenario.huge:
            count, names = scenario.huge_hosts, list(fleet)
        pool = [host for name in names for host in fleet[name]]
        return tuple(rng.sample(pool, k=min(count, len(pool))))

    def _statuses(self, hosts: Sequence[Host], script_type: str, now: float) -> dict[str, str]:
        rng, scenario = self._rng, self.scenario
        sickness = scenario.sickness
        sick = sickness.sick_idc(now, tuple(scenario.idcs)) if sickness else None
        statuses: dict[str, str] = {}
        for host in hosts:
            risk, silent = scenario.host_fail, 0.0
            if sickness and host.idc == sick:
                risk, silent = sickness.hosts, sickness.silent
            if script_type == scenario.bad_script:
                risk = 1.0
            if rng.random() >= risk:
                statuses[host.id] = "success"
            elif rng.random() >= silent:
                statuses[host.id] = "fail"
        return statuses

    def _fate(self, job: Job) -> Job:
        rng, scenario = self._rng, self.scenario
        run = min(scenario.run * rng.lognormvariate(0, 0.6), scenario.timeout * 0.9)
        partial = run * 0.5 if len(job.spec.hosts) > 3 else None
        result = "fail" if "fail" in job.statuses.values() else "success"
        job = replace(job, ends=run, partial=partial, result=result)
        if rng.random() < scenario.init:
            job = replace(job, spec=replace(job.spec, execute="init"), begins=run * 0.3)
        draw = rng.random()
        if draw < scenario.cancel:
            return replace(job, result="cancelled", statuses=dict.fromkeys(job.statuses, "cancelled"))
        if draw < scenario.cancel + scenario.silent:
            job = replace(job, statuses=dict(list(job.statuses.items())[: len(job.statuses) // 2]))
        if len(job.statuses) < len(job.spec.hosts):  # the platform waits for the silent ones
            return replace(job, result="timeout", ends=float(scenario.timeout))
        draw = rng.random()
        if draw < scenario.endless:
            return replace(job, ends=None)
        if draw < scenario.endless + scenario.init_stuck:
            return replace(job, spec=replace(job.spec, execute="init"), begins=None, ends=None, partial=None)
        return job


def _late_rows(job: Job, rng: random.Random) -> Job:
    return replace(job, spec=replace(job.spec, rows=False), rows_after=rng.uniform(0.5, 3), partial=None)


def _never_rows(job: Job, rng: random.Random) -> Job:  # noqa: ARG001 - all traps are called alike
    return replace(job, spec=replace(job.spec, rows=False), rows_after=None, partial=None)


def _done_first(job: Job, rng: random.Random) -> Job:
    return replace(job, hosts_after=rng.uniform(0.2, 3))  # 1.7 s was seen


def _blink(job: Job, rng: random.Random) -> Job:
    return replace(job, blink=rng.choice((0, len(job.spec.hosts) // 2)))


def _double(job: Job, rng: random.Random) -> Job:
    some = rng.sample([host.id for host in job.spec.hosts], k=(len(job.spec.hosts) + 1) // 2)
    return replace(job, doubles={name: rng.choice(("success", "fail")) for name in some})


def _odd_status(job: Job, rng: random.Random) -> Job:
    odd = rng.choice(("CANCELLED", "cancel", "Canceled", "error", "SUCCESS", "Failed", "weird", ""))
    statuses = {name: rng.choice((status, odd or "skipped")) for name, status in job.statuses.items()}
    return replace(job, result=odd, statuses=statuses, execute=rng.choice(("done", "DONE")))


def _cancelled_execute(job: Job, rng: random.Random) -> Job:
    return replace(job, execute="cancelled", result=rng.choice(("", "cancelled", "fail")))


def _early_end(job: Job, rng: random.Random) -> Job:
    return replace(job, said_end=-rng.uniform(2, 30))


def _no_times(job: Job, rng: random.Random) -> Job:  # noqa: ARG001
    return replace(job, spec=replace(job.spec, null_end=True))


def _late_start(job: Job, rng: random.Random) -> Job:
    return replace(job, spec=replace(job.spec, start=-rng.uniform(1, 5)))  # made absolute by the traffic


def _missing_rows(job: Job, rng: random.Random) -> Job:
    hosts = [host.id for host in job.spec.hosts]
    lost = frozenset(rng.sample(hosts, k=len(hosts) // 2))
    return replace(job, spec=replace(job.spec, rowless=lost))


def _no_host_list(job: Job, rng: random.Random) -> Job:  # noqa: ARG001
    return replace(job, spec=replace(job.spec, hosts_listed=False))


def _long_id(job: Job, rng: random.Random) -> Job:
    return replace(job, spec=replace(job.spec, id=f"job {rng.getrandbits(64):x} & 任务/?#" + "+" * 8))


def _silent_success(job: Job, rng: random.Random) -> Job:  # noqa: ARG001
    return replace(job, result="timeout", statuses=dict.fromkeys(job.statuses, "success"))


TRAPS: Mapping[str, Callable[[Job, random.Random], Job]] = {
    "late-rows": _late_rows,
    "never-rows": _never_rows,
    "done-first": _done_first,
    "blink": _blink,
    "double": _double,
    "odd-status": _odd_status,
    "cancelled-execute": _cancelled_execute,
    "early-end": _early_end,
    "no-end": _no_times,
    "late-start": _late_start,
    "missing-rows": _missing_rows,
    "no-host-list": _no_host_list,
    "odd-id": _long_id,
    "timeout-of-successes": _silent_success,
}
