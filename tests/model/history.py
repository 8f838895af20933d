"""One random history of a platform and of an exporter that polls it, and the judgement at its end."""

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporter.polling.config import PollConfig
from tests.harness.inprocess import RULES, Blow, Clock, Daemon, EndlessError
from tests.model.client import ModelApi, Weather
from tests.model.platform import Dialect, Job, Platform
from tests.model.population import Habits, Population, has_vague_hosts, is_near, is_vague, joined_hours, truth

INTERVAL = 15.0
REQUESTS = 20_000  # of one poll: it asks for ever
PAGES = 200  # of one poll, at most, beside one for each unsettled record, which may be heavy
LOOK_UPS = 5  # of one poll and unsettled record, at most
GAPS = 60  # open at once, at most, beside those of records without rows
MOST_NEW = 100  # records in one stretch of time, but for bursts
DAY = 86400.0
CONFIRM = 90.0  # seconds: a first answer of an empty platform is confirmed over a minute (rule 13)


class WrongError(AssertionError):
    """The exporter broke a rule; says the seed and what happened."""


class History:
    """A platform, an exporter and the clock of both, driven by one seed."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        troubles: Sequence[Callable[["History"], None]],
        *,
        everything: bool = False,
    ) -> None:
        """Begin a history; of the `troubles` some may happen, or all of them (`everything`)."""
        self.seed, self.folder = seed, folder / str(seed)
        self.folder.mkdir()
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.began = self.clock.now
        self.story: list[str] = []
        self.windows: list[tuple[float, float]] = []  # without answers, or with such as can't be trusted
        self.lags: list[tuple[float, float]] = []  # with answers of a copy that was behind
        self.failing: list[tuple[float, float]] = []  # in which requests for results failed
        self.has_lied = False  # a false total lasted until it was confirmed
        self.most_requests = 0
        rng = self.rng
        dialect: Dialect = rng.choice(["observed", "observed", "rows", "records"])
        self.platform = Platform(dialect, newest_first=rng.random() < 0.3, numeric_ids=rng.random() < 0.15)
        self.habits = self._habits(everything=everything)
        self.people = Population(self.platform, rng, self.habits)
        self.rate = rng.choice([0.005, 0.02, 0.05])  # records a second
        self.troubles = troubles if everything else rng.sample(troubles, rng.choice([1, 2, 3, 5]))
        self.tell(f"{dialect}, newest_first={self.platform.newest_first}, {self.platform.numeric_ids=}")
        self.tell(f"{self.habits}, {self.rate} records/s")
        self._past()
        self.api = ModelApi(self.platform, self.clock, random.Random(seed + 1))
        self.daemon: Daemon = Daemon(
            self.api,  # type: ignore[arg-type]
            self.folder,
            self.clock,
            config=PollConfig(rules=RULES, recheck_interval=rng.choice([150.0, 300.0])),
        )
        self.daemon.budget = REQUESTS
        self.first = self.clock.now + INTERVAL
        self.last = self.first + 3  # what ends within seconds of the first reading may be the baseline
        self._mark_doubtful()
        self.baseline = self.people.baseline(self.first) - self.people.doubtful
        self.was_empty = not self.platform.there(self.first)
        self.poll()

    def close(self) -> None:
        """Let go of everything."""
        self.daemon.close()
        shutil.rmtree(self.folder)

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.clock.now - self.began:+.0f}s {what}")

    # -- what the platform is like

    def _habits(self, *, everything: bool) -> Habits:
        rng, habits = self.rng, Habits()
        odd_times = [("naive",), ("slashes",), ("absent",), ("zero",), ("zoned", "absent", "slashes")]
        odd_hosts = [("addresses",), ("ids", "addresses", "absent"), ("null", "ids"), ("absent",)]
        changes: list[tuple[str, Any]] = [
            ("times", rng.choice(odd_times)), ("zone", 0.3), ("hosts_as", rng.choice(odd_hosts)),
            ("hidden", 0.1), ("late_rows", 0.3), ("poison", 0.05), ("late_hosts", 0.6), ("edits", 0.1),
            ("behind", 0.3), ("heavy", 0.2),
        ]  # fmt: skip
        for name, value in changes if everything else rng.sample(changes, rng.choice([0, 1, 2, 3])):
            setattr(habits, name, value)
        return habits

    def _past(self) -> None:
        for _ in range(self.rng.choice([0, 1, 5, 30, 80])):
            self.people.add(self.clock.now - self.rng.uniform(700, 50_000), lasts=self.rng.uniform(1, 500))
        for _ in range(self.rng.choice([0, 2, 8])):
            self.people.add(self.clock.now - self.rng.uniform(0, 400), lasts=self.rng.uniform(440, 900))

    def _mark_doubtful(self) -> None:
        for job in self.platform.jobs.values():
            is_dated = job.times in {"zoned", "naive"} and not job.zone
            if not is_dated and (job.rows_from > self.first or job.poison):
                self.people.doubtful.add(job.id)
            if job.weight:  # the first reading may stop at heavy pages
                self.people.doubtful.add(job.id)

    def _unseen_at_first(self) -> set[str]:
        """Records that may have been there before the first reading, and that no page can show to it."""
        until = self.first + (CONFIRM if self.was_empty else 0.0)
        return {
            job.id
            for job in self.platform.jobs.values()
            if job.born <= until
            and (not self.platform.is_shown(job, until) or job.poison.get("page", ("", 0.0))[1] > self.first)
        }

    # -- time

    def poll(
        self, times: int = 1, *, gap: float = INTERVAL, blow: Blow | None = None, blow_in: int = 0
    ) -> None:
        """Let records come, poll, and look at what must always hold."""
        for _ in range(times):
            self.clock.now += gap - INTERVAL
            self.grow(self.clock.now + INTERVAL)
            before, started = self.api.asked.copy(), self.clock.now
            unsettled = len(self.platform.jobs) - len(self.daemon.settled())
            try:
                self.daemon.poll(blow=blow, blow_in=blow_in)
            except EndlessError:
                self._hold(False, f"a poll without an end: {self.api.asked - before}")
            asked = self.api.asked - before
            self.most_requests = max(self.most_requests, asked.total())
            few = (
                asked["page"] <= PAGES + unsettled
                and asked.total() - asked["page"] <= 50 + LOOK_UPS * unsettled
            )
            took = self.clock.now - started
            what = f"a poll of {took:.0f} s asked for {asked}, with {unsettled} unsettled records (cost)"
            self._hold(few, f"{what}; {self.api.weather}")
            self._check_always()

    def grow(self, now: float) -> None:
        """Let records come since the last time, at random moments."""
        if now <= self.last:
            return
        expected = min(MOST_NEW, self.rate * (now - self.last))
        count = int(expected) + (self.rng.random() < expected % 1)
        for _ in range(count):
            self.people.add(self.rng.uniform(self.last, now))
        self.last = now

    def under(self, what: str, seconds: float, **weather: Any) -> None:
        """Poll in this weather for a while."""
        self.tell(f"{what} for {seconds:.0f} s: {weather}")
        self.api.weather = Weather(**weather)
        since, rate = self.clock.now, self.rate
        self.rate = min(rate, MOST_NEW / seconds)
        while self.clock.now < since + seconds:
            self.poll(gap=INTERVAL if seconds < 1500 else seconds / 100)
        self.rate, was = rate, self.api.weather
        self.api.weather = Weather()
        self.windows.append((since - 30, self.clock.now + 30))
        if was.lagging:
            self.lags.append((since - 60, self.clock.now + 60))
        if was.results or was.lookups or was.drops:
            self.failing.append((since, self.clock.now))
        self.has_lied = self.has_lied or (was.total != "" and seconds > 60)

    def run(self, steps: int) -> None:
        """Live through so many steps of random things, then calm down and judge."""
        self.run_steps(steps)
        self.judge()

    def run_steps(self, steps: int) -> None:
        """Let random things happen, a few polls between them."""
        for _ in range(steps):
            self.poll(self.rng.choice([1, 2, 3, 8]))
            self.rng.choice(self.troubles)(self)

    # -- judgement

    def _check_always(self) -> None:
        state = self.daemon.ledger.state
        settled = self.daemon.settled()
        finished = sum(
            s.value for key, s in state.counters.items() if key.family == "job_records_finished_total"
        )
        self._hold(
            finished == len(settled), f"{finished} are counted, {len(settled)} are in the ledger (rule 1)"
        )
        # A total that lies for minutes and then is true again is growth: it explains any unknown record.
        twice = (settled & self.baseline) - (self._unseen_at_first() if self.has_lied else set())
        self._hold(
            not twice, f"counted though they ended before the first start (rule 2): {self._names(twice)}"
        )
        strange = settled - self.platform.jobs.keys()
        self._hold(not strange, f"counted and never there: {strange}")
        gaps = self._gaps()
        if gaps > GAPS:
            unseen = self._unseen()
            self._hold(
                gaps <= GAPS + unseen, f"{gaps} gaps, {unseen} records without rows for long (rule 15)"
            )

    def _unseen(self) -> int:
        now = self.clock.now
        return sum(
            not job.rows(job.born + 60) and job.born > now - 2 * DAY for job in self.platform.jobs.values()
        )

    def judge(self) -> None:
        """Calm down, wait for the next whole sweep, and compare with the truth."""
        self.tell("all calms down")
        self.rate = 0.0
        for job in self.platform.jobs.values():
            job.ends = min(job.ends, self.clock.now + 900)
        missing: set[str] = set()
        waiting: list[float | None] = []
        for number in range(250):  # 90 polls, then an hour and more of looks that come seldom
            self.poll(gap=INTERVAL if number < 90 else 120.0)
            if number % 10 == 9:
                missing = self._missing()
                waiting = [
                    self.daemon.gauge(f"job_exporter_{name}") for name in ("pending_results", "catching_up")
                ]
                if not missing and not self._gaps() and waiting == [0, 0]:
                    break
        self._hold(self.daemon.gauge("job_exporter_platform_up") == 1, "platform_up is not 1 in the end")
        self._hold(not missing, f"not counted (rules 3, 12, 14): {self._names(missing)}")
        self._compare()
        self._hold(self._gaps() == 0, f"{self._gaps()} gaps are open for hours (rule 15)")
        self._hold(waiting == [0, 0], f"pending results, catching up: {waiting} (rules 3, 5)")

    def _gaps(self) -> int:
        return len(self.daemon.ledger.state.tail.gaps)

    def _missing(self) -> set[str]:
        """Ids that must be counted and are not.

        A record whose times say that it ended before the first start may be one that no page could show then:
        as many of these may be missing.
        """
        missing = self._must_count() - self.daemon.settled()
        old = {id_ for id_ in missing if self._seems_old(self.platform.jobs[id_])}
        return missing - old if len(old) <= len(self._unseen_at_first()) else missing

    def _must_count(self) -> set[str]:
        ids = self.people.must_count(self.clock.now, self.first)
        return {id_ for id_ in ids if not self._may_be_old(self.platform.jobs[id_])}

    def _may_be_old(self, job: Job) -> bool:
        """Whether it came while an empty platform was confirmed, and its times say that it ended before."""
        return self.was_empty and job.born < self.first + CONFIRM and self._seems_old(job)

    def _seems_old(self, job: Job) -> bool:
        is_dated = job.times not in {"absent", "zero"}
        return is_dated and job.start + job.seconds + 3600 * job.zone <= self.first

    def _compare(self) -> None:
        jobs, settled = self.platform.jobs, self.daemon.settled()
        now = self.clock.now
        vague = {id_ for id_ in settled if is_vague(jobs[id_], self.windows, now)}
        lasting = joined_hours(self.failing)
        no_hosts = {
            id_
            for id_ in settled
            if has_vague_hosts(jobs[id_], self.windows, self.lags, now) or is_near(jobs[id_], lasting)
        }
        for name, without in (("kinds", vague), ("hosts", no_hosts), ("outcomes", no_hosts)):
            wanted = truth(jobs[id_] for id_ in settled - without)[name]
            seen = getattr(self.daemon.tally(without=without), name)
            wrong = {
                key: (seen.get(key, 0), wanted[key])
                for key in seen | wanted
                if seen.get(key, 0) != wanted[key]
            }
            self._hold(not wrong, f"{name}: (counted, true) differ: {wrong}")

    def _names(self, ids: set[str]) -> str:
        if not ids:
            return ""
        known = self.daemon.ledger.known(ids)
        lines = [f"{len(ids)} of {len(self._must_count())}"]
        for id_ in sorted(ids)[:3]:
            job = self.platform.jobs[id_]
            born, ends = job.born - self.began, job.ends - self.began
            lines.append(f"born {born:+.0f} s, ends {ends:+.0f} s, known={id_ in known}: {job}")
        return "\n  ".join(lines)

    def _hold(self, is_true: bool, what: str) -> None:
        if not is_true:
            story = "\n  ".join(self.story[-40:])
            raise WrongError(f"seed {self.seed}: {what}\n  {story}")
