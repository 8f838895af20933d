"""A month on a platform in simulated time, its last hours counted live by an exporter.

What is scraped of the exporter each minute is written down as Prometheus would have stored it.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.exposition import Exposition
from exporter.simulator.jobs import JobMaker
from exporter.simulator.platform import Platform
from exporter.simulator.record import RecordSpec
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.traffic import Traffic
from tests.harness.inprocess import METRICS, Clock, Daemon, WorldApi

HOUR, DAY = 3600.0, 86_400.0
HOLD = 60.0  # metrics.zero-hold
BEGIN = 19_676 * DAY  # a midnight of 2023
END = BEGIN + 30 * DAY
SEAM = END - 12 * HOUR + 20 * 60 + 7  # counting begins in the middle of an hour, a minute and a poll
LIFE = replace(SCENARIOS["traps"], rate=1 / 240, rhythm=0.5, run=60.0, timeout=300, traps=0.4, endless=0.001)
LIVE = replace(LIFE, rate=1 / 60)
BUSY = 2_400.0  # seconds of a live hour in which jobs begin: all are counted well before it is over
POLL, SCRAPE, HOLD = 15.0, 60.0, 60.0  # seconds
LABELS = {"job": "job-exporter", "instance": "localhost:16868"}  # that a scrape adds


@dataclass
class Scrapes:
    """The counters and histograms of a target as Prometheus stores them."""

    samples: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, text: str, at: float) -> None:
        """Keep an exposition in text format."""
        for family in text_string_to_metric_families(text):
            if family.type in {"counter", "histogram"}:
                series = self.samples[f"{family.name} {family.type}"]
                for sample in family.samples:
                    pairs = {**sample.labels, **LABELS}.items()
                    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
                    points = series.setdefault(f"{sample.name}{{{labels}}}", [])
                    points.append(f"{sample.value} {at:.0f}")

    def pieces(self) -> Iterator[str]:
        """Give them as OpenMetrics with timestamps."""
        for family, series in self.samples.items():
            yield f"# TYPE {family}\n"
            for name, points in series.items():
                yield "".join(f"{name} {point}\n" for point in points)
        yield "# EOF\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Month:
    """Thirty days of jobs; an exporter is started half a day before their end."""

    def __init__(self, platform: Platform) -> None:
        """`platform` is empty at `BEGIN`: its clock stands still, it has no traffic of its own."""
        self._platform, self.world = platform, platform.world
        self.scrapes = Scrapes()
        self._now = BEGIN
        self._traffics = [Traffic(seed=0, scenario=LIFE)]
        self._late: list[tuple[float, Callable[[float], None]]] = []  # when, and what happens then

    def before(self) -> None:
        """Let all happen up to the seam."""
        for minute in range(1, int((SEAM - BEGIN) // 60) + 1):
            self._advance(BEGIN + 60 * minute)
        self._advance(SEAM)
        self._stand_on_the_seam()

    def after(self, url: str, folder: Path) -> None:
        """Run an exporter of the platform at `url` to the end; its ledger lies in `folder`."""
        clock = Clock(SEAM - POLL)
        daemon = Daemon(WorldApi(self.world, clock=clock), folder, clock, platform=url, zero_hold=HOLD)
        exposition = Exposition(config=METRICS)
        now = SEAM
        while now <= END:
            self._begin_hours(now)
            self._advance(now)
            clock.now = now - POLL
            daemon.poll()
            daemon.release()
            exposition.show(daemon.snapshot)
            if now == SEAM or now % SCRAPE == 0:
                body = exposition.scrape(accept="", accept_encoding="").body
                self.scrapes.take(body.decode(), now)
            now = (math.floor(now / POLL) + 1) * POLL
        daemon.close()

    def _advance(self, now: float) -> None:
        for traffic in self._traffics:
            traffic.advance(self.world, now)
        for at, happens in self._late:
            if self._now < at <= now:
                happens(at)
        self._platform.clock.advance(now - self._now)
        self._now = now

    def _begin_hours(self, now: float) -> None:
        """In a live hour jobs begin from its first second to its fortieth minute, and no later."""
        if now % HOUR == 0:
            self._traffics.append(Traffic(seed=int(now), scenario=LIVE))
        elif now % HOUR == BUSY:
            self._traffics[-1].stop(self.world, now)

    def _stand_on_the_seam(self) -> None:
        """Put there what ended in its second and just before, and what is open but says it ended before."""
        maker = JobMaker(seed=99, scenario=replace(LIFE, traps=0.0))
        for second in (0, 1, 2):
            spec = RecordSpec(hosts=maker.draw(SEAM).spec.hosts, start=SEAM - 40)
            self.world.finish(self.world.add(spec, SEAM), "success", SEAM - second)
            open_ = self.world.add(spec, SEAM)

            def ends(at: float, open_: str = open_) -> None:
                self.world.finish(open_, "fail", at, end=SEAM - 4_000)

            self._late.append((SEAM + 120, ends))
