"""The environment of the scenarios: platforms with their exporters, one Prometheus and one Alertmanager.

Platforms are simulated in this process, so that a scenario can reach into their world; exporters, Prometheus
and Alertmanager are the real programs. Time runs `FACTOR` faster for all of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.platform import Platform
from exporter.simulator.scenarios import SCENARIOS, Scenario
from exporter.simulator.server import RunningSimulator, serve
from tests.crash.harness import Program, spawn
from tests.e2e.past import healthy_days
from tests.e2e.servers import (
    Notice,
    Target,
    Webhook,
    alertmanager,
    prometheus,
    remember,
    shipped_rules,
    webhook,
)
from tests.rules.shorten import shorten_expression, shorten_flags

# A poll each half second: ten exporters and their Prometheus fit on two busy cores. What waits for 15
# minutes waits for 30 seconds.
FACTOR = 30.0
# What time alone does not make fast enough: after a failure an exporter pauses for real seconds (2, 4, 8 ...)
# that nobody divides, so one refused request has to be enough.
THRESHOLDS = {"job_threshold:refused_requests:count": 0.5}
RATE = 2.0  # jobs a second
PATIENCE = 150.0  # seconds until a wait in vain fails: several times what it takes on an idle machine
STEP = 0.1  # seconds between two looks
USER, PASSWORD = "exporter", "right"
# A quarter of an hour is known of it, and nothing of its start is left to count.
SETTLED = shorten_expression(
    "max by (platform) (max_over_time(job_exporter_catching_up[10m])) == 0"
    " and max by (platform) (up offset 15m) == 1",
    FACTOR,
)
PAGES = {"critical", "warning"}  # the severities that somebody is told of


def fast(name: str) -> Scenario:
    """Give a scenario whose jobs take half a minute and time out after five, in the divided time."""
    return replace(SCENARIOS[name], rate=RATE, run=30 / FACTOR, timeout=round(300 / FACTOR))


async def until(wanted: Callable[[], bool], what: str, *, patience: float = PATIENCE) -> None:
    """Wait for something; AssertionError naming it when it does not come."""
    deadline = time.monotonic() + patience
    while not wanted():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        await asyncio.sleep(STEP)


@dataclass(kw_only=True)
class Site:
    """A platform, its exporter, and what was said of it so far."""

    name: str
    folder: Path
    hook: Webhook
    simulator: RunningSimulator
    address: str = "127.0.0.1:0"  # where its exporter serves
    ready: bool = False  # Prometheus knows it long enough
    alerts: frozenset[tuple[str, str]] = frozenset()  # (name, pending or firing), as Prometheus has them now
    fired: set[str] = field(default_factory=set)  # all that Prometheus ever had firing
    inhibited: set[tuple[str, str]] = field(default_factory=set)  # (alert, by which), at Alertmanager
    program: Program | None = None

    @property
    def platform(self) -> Platform:
        """The simulated platform, to reach into."""
        return self.simulator.platform

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What reached the webhook of this site."""
        return tuple(one for one in self.hook.notices if one.labels.get("platform") == self.name)

    @property
    def pages(self) -> list[Notice]:
        """What somebody was told of."""
        return [one for one in self.notices if one.labels["severity"] in PAGES]

    def set_scenario(self, scenario: Scenario) -> None:
        """Let the platform follow this scenario from now on."""
        self.platform.tick()
        self.platform.traffic.change(scenario)

    def set_password(self, text: str) -> None:
        """Write a password into the file that the exporter reads."""
        (self.folder / "password").write_text(text, encoding="utf-8")

    async def start(self) -> None:
        """Start the exporter, where it served before, and wait until it serves."""
        self.program = await spawn(
            self.folder,
            "run",
            *shorten_flags(FACTOR),
            f"--api.base-url={self.simulator.url}",
            f"--api.username={USER}",
            f"--api.password-file={self.folder / 'password'}",
            f"--web.listen-address={self.address}",
        )
        self.address = (await self.program.url()).removeprefix("http://")

    async def kill(self) -> None:
        """End the exporter without a warning."""
        if self.program:
            await self.program.kill()

    def is_settled(self) -> bool:
        """Whether the start is over, and nothing even pending."""
        return self.ready and not self.alerts

    def is_quiet(self) -> bool:
        """Whether nothing fires, and nobody believes that something does."""
        told = {tuple(sorted(one.labels.items())): one.status for one in self.pages}
        return "firing" not in told.values() and "firing" not in {state for _, state in self.alerts}


class Observer:
    """Looks at Prometheus and Alertmanager all the time, and tells the sites what is theirs."""

    def __init__(self, sites: Iterable[Site], *, server: str, manager: str) -> None:
        self._sites = {site.name: site for site in sites}
        self._server, self._manager = server, manager
        self.lookups = 0

    async def run(self) -> None:
        """Look until cancelled."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            while True:
                await self._look_up(client)
                self.lookups += 1
                await asyncio.sleep(STEP)

    async def _look_up(self, client: httpx.AsyncClient) -> None:
        for labels in await self._ask(client, SETTLED):
            self._sites[labels["platform"]].ready = True
        active: dict[str, set[tuple[str, str]]] = {}
        for labels in await self._ask(client, "ALERTS"):
            states = active.setdefault(labels.get("platform", ""), set())
            states.add((labels["alertname"], labels["alertstate"]))
        for name, site in self._sites.items():
            site.alerts = frozenset(active.get(name, ()))
            site.fired |= {alert for alert, state in site.alerts if state == "firing"}
        alerts = await client.get(f"http://{self._manager}/api/v2/alerts")
        self._note_inhibited(alerts.raise_for_status().json())

    async def _ask(self, client: httpx.AsyncClient, query: str) -> list[dict[str, str]]:
        """The labels of what Prometheus answers."""
        answer = await client.get(f"http://{self._server}/api/v1/query", params={"query": query})
        return [one["metric"] for one in answer.raise_for_status().json()["data"]["result"]]

    def _note_inhibited(self, alerts: Sequence[dict[str, Any]]) -> None:
        names = {one["fingerprint"]: one["labels"]["alertname"] for one in alerts}
        for one in alerts:
            site = self._sites.get(one["labels"].get("platform", ""))
            sources = {names[source] for source in one["status"]["inhibitedBy"] if source in names}
            if site:
                site.inhibited |= {(one["labels"]["alertname"], source) for source in sources}


@asynccontextmanager
async def environment(folder: Path, names: Sequence[str]) -> AsyncIterator[tuple[Site, ...]]:
    """Run a platform for each name: calm, with healthy days behind it, and watched."""
    async with AsyncExitStack() as stack:
        hook = stack.enter_context(webhook())
        sites = tuple([await _site(stack, folder, name, hook) for name in names])
        manager = stack.enter_context(alertmanager(folder, hook.url, factor=FACTOR))
        server = await asyncio.to_thread(stack.enter_context, _prometheus(folder, sites, manager))
        observer = Observer(sites, server=server, manager=manager)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(observer.run())
            await until(lambda: observer.lookups > 0, "the first look at Prometheus")
            yield sites
            watching.cancel()


@contextmanager
def _prometheus(folder: Path, sites: Sequence[Site], manager: str) -> Iterator[str]:
    labels = {site.name: {"instance": site.name, "platform": site.name} for site in sites}
    known = [{"job": "job-exporter", **one} for one in labels.values()]
    remember(folder, healthy_days(known, rate=RATE, factor=FACTOR, until=time.time()))
    targets = [Target(address=site.address, labels=labels[site.name]) for site in sites]
    rules = shipped_rules(factor=FACTOR, thresholds=THRESHOLDS)
    with prometheus(folder, {"job-exporter": targets}, [manager], factor=FACTOR, rules=rules) as server:
        yield server


async def _site(stack: AsyncExitStack, folder: Path, name: str, hook: Webhook) -> Site:
    config = SimulatorConfig(port=0, scenario="calm", history=60, username=USER, password=PASSWORD)
    simulator = await stack.enter_async_context(await serve(config))
    site = Site(name=name, folder=folder / name, hook=hook, simulator=simulator)
    site.folder.mkdir()
    site.set_scenario(fast("calm"))
    site.set_password(PASSWORD)
    await site.start()
    stack.push_async_callback(site.kill)
    return site
