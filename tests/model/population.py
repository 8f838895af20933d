"""Random records, and what an exporter must have counted of them."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.model.platform import FOREVER, Host, Job, Platform

RESULTS = {
    "success": "success", "SUCCESS": "success", "fail": "fail", "failed": "fail", "timeout": "timeout",
    "cancel": "cancelled", "CANCELLED": "cancelled", "": "unknown", "odd": "unknown",
}  # fmt: skip
HOST_STATUSES = {**RESULTS, "error": "fail", "": "unreported"}
IDCS = ("上海", "深圳", "gz-01")


@dataclass
class Habits:
    """What records of this platform are like; shares are probabilities."""

    times: tuple[str, ...] = ("zoned",)
    zone: float = 0.0  # share of records of a second master, in another zone
    hosts_as: tuple[str, ...] = ("ids",)
    hidden: float = 0.0
    late_rows: float = 0.0
    poison: float = 0.0
    late_hosts: float = 0.2
    edits: float = 0.0
    behind: float = 0.0  # share of records whose master's clock is behind
    heavy: float = 0.0


@dataclass
class Population:
    """Makes records; remembers what cannot be told for sure."""

    platform: Platform
    rng: random.Random
    habits: Habits
    number: int = 0
    doubtful: set[str] = field(default_factory=set)  # before or after the first reading: nobody can tell

    def add(self, born: float, *, lasts: float | None = None) -> Job:
        """Make a record that is born then."""
        rng, habits = self.rng, self.habits
        self.number += 1
        id_ = (
            str(10_000 + self.number)
            if self.platform.numeric_ids
            else f"{rng.getrandbits(48):012x}-{self.number}"
        )
        if lasts is None:
            lasts = rng.choice([0.0, 0.5, 3.0, 20.0, 90.0, 600.0]) * rng.uniform(0.8, 1.2)
        is_behind = rng.random() < habits.behind
        start = int(born + self.platform.ahead - (rng.choice([1, 20, 300, 3600]) if is_behind else 0))
        result = rng.choice(["success", "success", "success", *RESULTS])
        job = Job(
            id=id_, start=start, born=born, ends=born + lasts, seconds=int(lasts) if lasts < FOREVER else 0,
            result=result, hosts=self._hosts(), rows_from=born, provider=rng.choice(["salt", "ssh"]),
            script_type=rng.choice(["bash", "python", "bat"]), times=rng.choice(habits.times),
            hosts_as=rng.choice(habits.hosts_as), cancelled_as_status=RESULTS[result] == "cancelled",
        )  # fmt: skip
        if rng.random() < habits.zone:
            job.times, job.zone = "naive", rng.choice([-8, 8, 5])
            job.start = int(born + self.platform.ahead)
        self._misbehave(job)
        self.platform.jobs[id_] = job
        return job

    def _hosts(self) -> tuple[Host, ...]:
        chosen = self.rng.sample(range(20), self.rng.choice([1, 1, 2, 5]))
        return tuple(
            Host(
                id=f"host-{number}", address=f"10.0.0.{number}", entity=f"ENTITY-{number}",
                idc=IDCS[number % 3],
                status=self.rng.choice(["success"] * 6 + ["fail", "error", "timeout", "odd", None]),
                double="fail" if self.rng.random() < 0.05 else None,
            )
            for number in chosen
        )  # fmt: skip

    def _misbehave(self, job: Job) -> None:
        rng, habits = self.rng, self.habits
        if self.platform.dialect != "records":
            if rng.random() < habits.hidden:
                job.rows_from = FOREVER
            elif rng.random() < habits.late_rows:
                job.rows_from = job.born + rng.choice([0.3, 2.0, 40.0, 400.0])
        if rng.random() < habits.late_hosts:
            job.reports_after = rng.uniform(1, 8)
            job.result_after = rng.uniform(0, job.reports_after)
        if rng.random() < habits.edits:
            job.edited = job.ends + rng.uniform(5, 300)
        if rng.random() < habits.heavy:
            job.weight = rng.choice([100_000, 3_000_000, 30_000_000])
        if rng.random() < habits.poison:
            kind = rng.choice(["500", "error", "cut", "timeout", "too_large"])
            until = rng.choice([FOREVER, FOREVER, job.born + 300, job.born + 4000])
            endpoints = rng.choice([["page"], ["record"], ["result"], ["page", "record", "result"]])
            job.poison = dict.fromkeys(endpoints, (kind, until))

    # -- truth

    def baseline(self, first: float) -> set[str]:
        """Ids that had ended at the first reading."""
        return {job.id for job in self.platform.jobs.values() if job.born <= first and job.ends <= first}

    def must_count(self, at: float, first: float) -> set[str]:
        """Ids that any exporter must have counted after all has calmed down."""
        without = self.baseline(first) | self.doubtful
        return {
            job.id
            for job in self.platform.there(at)
            if job.id not in without
            and job.is_done(at - 60)
            and self.platform.is_shown(job, at)
            and not any(until > at for endpoint, (_, until) in job.poison.items() if endpoint != "result")
        }


LONGEST_BREAK = 330.0  # seconds: a failing request for results is retried every five minutes
GIVEN_UP = 3500.0  # seconds of these: then a record counts without hosts (rule 5)

Windows = Iterable[tuple[float, float]]


def is_near(job: Job, windows: Windows) -> bool:
    """Whether it ended in one of these windows, or shortly before."""
    return any(since < job.ends + 120 and until > job.ends - 60 for since, until in windows)


def joined_hours(windows: Windows) -> list[tuple[float, float]]:
    """Windows of an hour or more; a break between two in which no retry may come does not divide them."""
    joined: list[tuple[float, float]] = []
    for since, until in windows:
        is_next = joined and since < joined[-1][1] + LONGEST_BREAK
        joined.append((joined.pop()[0] if is_next else since, until))
    return [(since, until) for since, until in joined if until > since + GIVEN_UP]


def is_vague(job: Job, windows: Windows, at: float) -> bool:
    """Whether the result that is counted of it depends on when it was asked for."""
    if job.deleted < FOREVER or job.edited < FOREVER or not job.is_done(at):
        return True
    return job.result_after > 0 and (is_near(job, windows) or job.poison != {})


def has_vague_hosts(job: Job, windows: Windows, lags: Windows, at: float) -> bool:
    """Whether the hosts that are counted of it depend on when they were asked for."""
    if is_vague(job, windows, at) or job.poison or job.rows_from > job.ends + 5 or is_near(job, lags):
        return True
    statuses_missing = any(host.status in {None, ""} for host in job.hosts)
    doubles = any(host.double for host in job.hosts)
    is_slow = job.reports_after > 0 or statuses_missing or doubles or job.hosts_as in {"null", "absent"}
    blinks = [(since, until) for since, until, _ in job.blinks]
    return is_slow and is_near(job, [*windows, *blinks])


def truth(jobs: Iterable[Job]) -> dict[str, Counter[tuple[str, ...]]]:
    """What the counters show of these records."""
    kinds, hosts, idcs = Counter[tuple[str, ...]](), Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for job in jobs:
        result = RESULTS[job.result or ""]
        kinds[result, job.provider, job.script_type] += 1
        by_idc: dict[str, list[str]] = {}
        for host in job.hosts:
            status = "fail" if host.double else HOST_STATUSES[host.status or ""]
            by_idc.setdefault(host.idc, []).append(status)
            hosts[host.idc, status] += 1
        for idc, statuses in by_idc.items():
            good = statuses.count("success")
            idcs[idc, "failed" if not good else "clean" if good == len(statuses) else "degraded"] += 1
    return {"kinds": kinds, "hosts": hosts, "outcomes": idcs}
