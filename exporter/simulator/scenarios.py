"""What life on the simulated platform is like: scenarios by name. PURE."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# Latin and Chinese names, as the recorded platform has them; sizes so that a job of 1000 hosts fits.
IDC_SIZES: Mapping[str, int] = {
    "杭州": 400,
    "北京": 300,
    "深圳": 200,
    "guangzhou-01": 150,
    "shanghai-02": 100,
}
DAY = 86_400
LOCAL = 8 * 3600  # the rhythm follows the working day of UTC+8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sickness:
    """An IDC turns sick every `every` seconds for `lasts` seconds, another one each time.

    `hosts` is the share of its hosts that do not succeed then, `silent` the share of these that never
    report (the others fail); `idc` pins it to one.
    """

    hosts: float = 0.7
    silent: float = 0.1
    every: float = 1
    lasts: float = 1
    idc: str | None = None

    def sick_idc(self, now: float, idcs: tuple[str, ...]) -> str | None:
        """Tell which IDC is sick at `now`, if any."""
        spell, phase = divmod(now, self.every)
        if phase >= self.lasts or not idcs:
            return None
        return self.idc or idcs[int(spell) % len(idcs)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A way of life. Shares are of jobs (or hosts, where it says so), from 0 to 1; times in seconds."""

    rate: float = 0.5  # jobs per second, over the day
    rhythm: float = 0.0  # how far the rate swings around it with the hour
    idcs: Mapping[str, int] = field(default_factory=lambda: IDC_SIZES)
    hosts: tuple[int, int] = (1, 50)  # of a job; small jobs are more frequent
    huge: float = 0.0  # jobs on `huge_hosts`
    huge_hosts: int = 1000
    run: float = 8.0  # median duration
    timeout: int = 60
    host_fail: float = 0.002  # hosts that fail for no reason
    cancel: float = 0.0
    silent: float = 0.0  # jobs with hosts that never report: they end by timeout
    endless: float = 0.0  # jobs that never end
    init: float = 0.05  # jobs that are seen in init for a while
    init_stuck: float = 0.0  # jobs that never leave it
    bad_script: str | None = None  # a script type all of whose hosts fail
    sickness: Sickness | None = None
    traps: float = 0.0  # jobs with one of the traps of `jobs.TRAPS`
    only_traps: tuple[str, ...] = ()  # to choose from; none named: all of them

    def rate_at(self, now: float) -> float:
        """Give the jobs per second at `now`: most in the afternoon, fewest in the small hours."""
        hour_angle = 2 * math.pi * ((now + LOCAL) % DAY) / DAY
        return self.rate * (1 + self.rhythm * math.sin(hour_angle - 0.75 * math.pi))


CALM = Scenario()
_SICK = Sickness(hosts=0.7, idc="杭州")

SCENARIOS: Mapping[str, Scenario] = {
    "calm": CALM,
    # Looks alive on a dashboard: spells of 4 minutes each half hour, and a little of everything.
    "demo": Scenario(
        rhythm=0.6,
        huge=0.001,
        host_fail=0.004,
        cancel=0.01,
        silent=0.01,
        endless=0.0003,
        sickness=Sickness(every=1800, lasts=240),
        traps=0.05,
    ),
    # For tests: most jobs are short and hold a trap, nothing is lost on the way.
    "traps": Scenario(
        rate=5,
        hosts=(1, 8),
        run=1.5,
        timeout=10,
        host_fail=0.1,
        cancel=0.05,
        silent=0.05,
        endless=0.01,
        traps=0.6,
    ),
    "sick-idc": Scenario(sickness=_SICK),
    # Half of the jobs: enough that in every IDC more hosts fail than an operator would bear.
    "bad-script": Scenario(bad_script="bash"),
    "stuck": Scenario(endless=0.2),
    # A fifth of the jobs with half of their hosts: so few of an IDC's that no IDC looks sick.
    "timeout-surge": Scenario(silent=0.2, timeout=20),
    "idc-down": Scenario(sickness=Sickness(hosts=1.0, silent=0.0, idc="杭州")),
    "init-stuck": Scenario(init_stuck=0.3),
}
