"""What happens to a platform, and which alerts must follow: each scenario is data; all run the same way."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tests.crash.harness import attempts
from tests.e2e.environment import FACTOR, PASSWORD, PATIENCE, RATE, Site, fast, until
from tests.e2e.servers import Notice

Action = Callable[[Site], Awaitable[None]]
IDC = "杭州"  # the one that is sick in the scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something goes wrong, one alert tells it, it is mended, the alert resolves."""

    alert: str
    begin: Action
    end: Action
    labels: Mapping[str, str] = field(default_factory=dict)  # that the alert must have
    # (alert, by which): what must fire behind it meanwhile and be told to nobody
    inhibits: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertScenario:
    """The incidents of one platform, in order."""

    incidents: tuple[Incident, ...] = ()
    # what else somebody may be told: alert → why that is right
    also: Mapping[str, str] = field(default_factory=dict)

    def allows(self, page: Notice) -> bool:
        """Whether this is what the scenario is about, or follows from it."""
        own = any(
            incident.alert == page.name and incident.labels.items() <= page.labels.items()
            for incident in self.incidents
        )
        return own or page.name in self.also


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds from the trouble to the notice, and from its end to the notice of that."""

    fired: float
    resolved: float


async def run_scenario(scenario: AlertScenario, site: Site, times: dict[str, Times]) -> None:
    """Run a scenario on a settled site; fills in `times`. AssertionError where an alert is not told."""
    await until(site.is_settled, f"silence of {site.name} before its scenario")
    since = time.monotonic()
    for incident in scenario.incidents:
        times[incident.alert], since = await _run_incident(incident, site, since)
    await until(site.is_quiet, f"silence of {site.name}")


async def _run_incident(incident: Incident, site: Site, since: float) -> tuple[Times, float]:
    """Run one incident, which begins `since` then; gives its times, and when its trouble ended."""
    told = partial(_notices, site, incident, since=since)
    await incident.begin(site)
    await until(lambda: bool(told()), f"{incident.alert} of {site.name}")
    fired = told()[0].at - since
    await until(lambda: incident.inhibits <= site.inhibited, f"{sorted(incident.inhibits)} of {site.name}")
    await incident.end(site)
    mended = time.monotonic()
    await until(lambda: told()[-1].status == "resolved", f"the end of {incident.alert} of {site.name}")
    return Times(fired=fired, resolved=max(0.0, told()[-1].at - mended)), mended


def _notices(site: Site, incident: Incident, *, since: float) -> list[Notice]:
    return [
        one
        for one in site.notices
        if one.name == incident.alert and one.at >= since and incident.labels.items() <= one.labels.items()
    ]


async def nothing(_site: Site) -> None:
    """Let things go on by themselves."""


def lives(name: str) -> Action:
    """Let the platform follow a scenario of the simulator from now on."""

    async def change(site: Site) -> None:
        site.set_scenario(fast(name))

    return change


async def end_stuck(site: Site) -> None:
    """End by hand what nothing would ever end: the records of before that outlive their timeout."""
    now = site.platform.clock.now
    site.set_scenario(fast("calm"))
    since = now()
    await until(lambda: now() > since + fast("stuck").timeout + 1, "the end of what is not stuck")
    world = site.platform.world
    for id_ in world.open_ids():
        if (world.record(id_).start or 0.0) < since:
            world.finish(id_, "cancelled", now())


def switches(**faults: object) -> Action:
    """Turn faults of the platform on or off."""

    async def change(site: Site) -> None:
        site.platform.faults.change(faults)

    return change


def password(text: str) -> Action:
    """Change what the exporter believes to be the password."""

    async def change(site: Site) -> None:
        site.set_password(text)

    return change


def after_minutes(minutes: float, action: Action) -> Action:
    """Do something later, in the divided time."""

    async def wait(site: Site) -> None:
        due = time.monotonic() + minutes * 60 / FACTOR
        await until(lambda: time.monotonic() > due, "time to pass")
        await action(site)

    return wait


async def go_down(site: Site) -> None:
    """Kill the exporter; everything fails while nobody looks, and pages of the platform become heavy."""
    await site.kill()
    site.set_scenario(replace(fast("calm"), rate=10 * RATE, host_fail=0.9))
    site.platform.faults.change({"page_delay": 0.5})


async def come_back(site: Site) -> None:
    """Start the exporter again; all is well by then."""
    site.set_scenario(fast("calm"))
    await site.start()


async def catch_up(site: Site) -> None:
    """Wait until the exporter says that it has counted all."""
    assert site.program
    async for _ in attempts("the end of the backlog", patience=PATIENCE):
        if await site.program.value("job_exporter_catching_up") == 0:
            break
    site.platform.faults.change({"page_delay": 0.0})


ALERT_SCENARIOS: Mapping[str, AlertScenario] = {
    # Lasts as long as all the others.
    "calm": AlertScenario(),
    "sick-idc": AlertScenario(
        incidents=(
            Incident(alert="JobIdcSick", labels={"idc": IDC}, begin=lives("sick-idc"), end=lives("calm")),
        ),
        also={"JobTimeoutsSurge": "some sick hosts never report, and about a tenth of the records time out"},
    ),
    "idc-down": AlertScenario(
        incidents=(
            Incident(
                alert="JobIdcFailedWholly",
                labels={"idc": IDC},
                begin=lives("idc-down"),
                end=lives("calm"),
                inhibits=frozenset({("JobIdcSick", "JobIdcFailedWholly")}),
            ),
        ),
    ),
    "bad-script": AlertScenario(
        incidents=(Incident(alert="JobFailingEverywhere", begin=lives("bad-script"), end=lives("calm")),),
    ),
    "timeout-surge": AlertScenario(
        incidents=(Incident(alert="JobTimeoutsSurge", begin=lives("timeout-surge"), end=lives("calm")),),
    ),
    "stuck": AlertScenario(
        incidents=(Incident(alert="JobRecordsOverdue", begin=lives("stuck"), end=end_stuck),),
    ),
    "init-stuck": AlertScenario(
        incidents=(Incident(alert="JobRecordsWaitInInit", begin=lives("init-stuck"), end=end_stuck),),
        also={"JobRecordsOverdue": "a record in init is open, and its own timeout passes too"},
    ),
    "platform-down": AlertScenario(
        incidents=(
            Incident(
                alert="JobExporterPlatformUnreachable",
                begin=switches(down=True),
                # Long enough that what ends meanwhile is counted later than an alert would bear.
                end=after_minutes(10, switches(down=False)),
                inhibits=frozenset({("JobExporterPollsStale", "JobExporterPlatformUnreachable")}),
            ),
        ),
    ),
    "wrong-password": AlertScenario(
        incidents=(
            Incident(
                alert="JobExporterCredentialsRefused",
                begin=password("wrong"),
                end=password(PASSWORD),
                inhibits=frozenset({("JobExporterPlatformUnreachable", "JobExporterCredentialsRefused")}),
            ),
        ),
    ),
    "restart": AlertScenario(
        incidents=(
            Incident(alert="JobExporterDown", begin=go_down, end=come_back),
            Incident(
                alert="JobExporterCatchingUp",
                begin=nothing,
                end=catch_up,
                inhibits=frozenset({("JobFailingEverywhere", "JobExporterCatchingUp")}),
            ),
        ),
    ),
}
