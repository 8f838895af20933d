"""What happens to a platform, and what must be said of it: each story is data, and played the same way."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tests.crash.harness import attempts
from tests.e2e.servers import Notice
from tests.e2e.stage import FACTOR, PASSWORD, PATIENCE, RATE, Site, fast, until

Deed = Callable[[Site], Awaitable[None]]
IDC = "杭州"  # the one that is sick in the scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something goes wrong, one alert tells it, it is mended, the alert resolves."""

    alert: str
    begin: Deed
    end: Deed
    labels: Mapping[str, str] = field(default_factory=dict)  # that the alert must have
    # (alert, by which): what must fire behind it meanwhile and be told to nobody
    inhibits: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A life of a platform."""

    acts: tuple[Act, ...] = ()
    # what else somebody may be told: alert → why that is right
    also: Mapping[str, str] = field(default_factory=dict)

    def allows(self, page: Notice) -> bool:
        """Whether this is what the story is about, or follows from it."""
        own = any(act.alert == page.name and act.labels.items() <= page.labels.items() for act in self.acts)
        return own or page.name in self.also


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds from the trouble to the notice, and from its end to the notice of that."""

    fired: float
    resolved: float


async def perform(story: Story, site: Site, times: dict[str, Times]) -> None:
    """Play a story on a settled site; fills in `times`. AssertionError where an alert is not told."""
    await until(site.is_settled, f"silence of {site.name} before its story")
    since = time.monotonic()
    for act in story.acts:
        times[act.alert], since = await _play(act, site, since)
    await until(site.is_quiet, f"silence of {site.name}")


async def _play(act: Act, site: Site, since: float) -> tuple[Times, float]:
    """Play one act, which begins `since` then; gives its times, and when its trouble ended."""
    told = partial(_notices, site, act, since=since)
    await act.begin(site)
    await until(lambda: bool(told()), f"{act.alert} of {site.name}")
    fired = told()[0].at - since
    await until(lambda: act.inhibits <= site.inhibited, f"{sorted(act.inhibits)} of {site.name}")
    await act.end(site)
    mended = time.monotonic()
    await until(lambda: told()[-1].status == "resolved", f"the end of {act.alert} of {site.name}")
    return Times(fired=fired, resolved=max(0.0, told()[-1].at - mended)), mended


def _notices(site: Site, act: Act, *, since: float) -> list[Notice]:
    return [
        one
        for one in site.notices
        if one.name == act.alert and one.at >= since and act.labels.items() <= one.labels.items()
    ]


async def nothing(_site: Site) -> None:
    """Let things go on by themselves."""


def lives(name: str) -> Deed:
    """Let the platform live a scenario from now on."""

    async def change(site: Site) -> None:
        site.play(fast(name))

    return change


async def end_stuck(site: Site) -> None:
    """End by hand what nothing would ever end: the records of before that outlive their timeout."""
    now = site.platform.clock.now
    site.play(fast("calm"))
    since = now()
    await until(lambda: now() > since + fast("stuck").timeout + 1, "the end of what is not stuck")
    world = site.platform.world
    for id_ in world.open_ids():
        if (world.record(id_).start or 0.0) < since:
            world.finish(id_, "cancelled", now())


def switches(**faults: object) -> Deed:
    """Turn faults of the platform on or off."""

    async def change(site: Site) -> None:
        site.platform.faults.change(faults)

    return change


def password(text: str) -> Deed:
    """Change what the exporter believes to be the password."""

    async def change(site: Site) -> None:
        site.set_password(text)

    return change


def after_minutes(minutes: float, deed: Deed) -> Deed:
    """Do something later, in the divided time."""

    async def wait(site: Site) -> None:
        due = time.monotonic() + minutes * 60 / FACTOR
        await until(lambda: time.monotonic() > due, "time to pass")
        await deed(site)

    return wait


async def go_down(site: Site) -> None:
    """Kill the exporter; everything fails while nobody looks, and pages of the platform become heavy."""
    await site.kill()
    site.play(replace(fast("calm"), rate=10 * RATE, host_fail=0.9))
    site.platform.faults.change({"page_delay": 0.5})


async def come_back(site: Site) -> None:
    """Start the exporter again; all is well by then."""
    site.play(fast("calm"))
    await site.start()


async def catch_up(site: Site) -> None:
    """Wait until the exporter says that it has counted all."""
    assert site.program
    async for _ in attempts("the end of the backlog", patience=PATIENCE):
        if await site.program.value("job_exporter_catching_up") == 0:
            break
    site.platform.faults.change({"page_delay": 0.0})


STORIES: Mapping[str, Story] = {
    # Lasts as long as all the others.
    "calm": Story(),
    "sick-idc": Story(
        acts=(Act(alert="JobIdcSick", labels={"idc": IDC}, begin=lives("sick-idc"), end=lives("calm")),),
    ),
    "idc-down": Story(
        acts=(
            Act(
                alert="JobIdcFailedWholly",
                labels={"idc": IDC},
                begin=lives("idc-down"),
                end=lives("calm"),
                inhibits=frozenset({("JobIdcSick", "JobIdcFailedWholly")}),
            ),
        ),
    ),
    "bad-script": Story(
        acts=(Act(alert="JobFailingEverywhere", begin=lives("bad-script"), end=lives("calm")),),
    ),
    "timeout-surge": Story(
        acts=(Act(alert="JobTimeoutsSurge", begin=lives("timeout-surge"), end=lives("calm")),),
    ),
    "stuck": Story(
        acts=(Act(alert="JobRecordsOverdue", begin=lives("stuck"), end=end_stuck),),
    ),
    "init-stuck": Story(
        acts=(Act(alert="JobRecordsWaitInInit", begin=lives("init-stuck"), end=end_stuck),),
        also={"JobRecordsOverdue": "a record in init is open, and its own timeout passes too"},
    ),
    "platform-down": Story(
        acts=(
            Act(
                alert="JobExporterPlatformUnreachable",
                begin=switches(down=True),
                # Long enough that what ends meanwhile is counted later than an alert would bear.
                end=after_minutes(10, switches(down=False)),
                inhibits=frozenset({("JobExporterPollsStale", "JobExporterPlatformUnreachable")}),
            ),
        ),
    ),
    "wrong-password": Story(
        acts=(
            Act(
                alert="JobExporterCredentialsRefused",
                begin=password("wrong"),
                end=password(PASSWORD),
                inhibits=frozenset({("JobExporterPlatformUnreachable", "JobExporterCredentialsRefused")}),
            ),
        ),
    ),
    "restart": Story(
        acts=(
            Act(alert="JobExporterDown", begin=go_down, end=come_back),
            Act(
                alert="JobExporterCatchingUp",
                begin=nothing,
                end=catch_up,
                inhibits=frozenset({("JobFailingEverywhere", "JobExporterCatchingUp")}),
            ),
        ),
    ),
}
