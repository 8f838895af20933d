"""A running platform without its sockets: world, traffic, faults, clock and what was asked of it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.faults import Faults, FaultSettings
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.traffic import Traffic


@dataclass(slots=True, kw_only=True)
class Stats:
    """What clients asked for since the start (or the last `clear`)."""

    requests: Counter[str] = field(default_factory=Counter)  # by endpoint, failed ones too
    body_bytes: Counter[str] = field(default_factory=Counter)  # by endpoint, as promised by the answer
    faults: Counter[str] = field(default_factory=Counter)  # by fault
    page_records: int = 0  # records delivered in pages
    largest_page: int = 0  # bytes

    def clear(self) -> None:
        """Start again from nothing."""
        for counter in (self.requests, self.body_bytes, self.faults):
            counter.clear()
        self.page_records = self.largest_page = 0


class Clock:
    """The platform's time in POSIX seconds: `speed` times as fast as the real one, and movable."""

    def __init__(
        self, *, speed: float, start: float | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self._base = time.time() if start is None else start
        self._since = monotonic()

    def now(self) -> float:
        """Tell the time."""
        return self._base + (self._monotonic() - self._since) * self._speed

    def advance(self, seconds: float) -> None:
        """Move forward; ValueError when that is back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._base += seconds


class Platform:
    """All of the simulated platform but HTTP. Tests in the same process act on its `world`."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.scenario = config.scenario
        self.clock = Clock(speed=config.speed, start=config.start_time)
        self.world = config.make_world()
        self.dialect = config.make_dialect()
        self.faults = Faults(seed=config.seed, settings=FaultSettings(rate=config.fault_rate))
        self.traffic = Traffic(seed=config.seed, scenario=SCENARIOS[config.scenario], rate=config.rate)
        self.stats = Stats()
        now = self.clock.now()
        self.traffic.history(self.world, config.history, now)
        if not config.traffic:
            self.traffic.stop(self.world, now)

    def tick(self) -> float:
        """Let everything happen that is due, and tell the time."""
        now = self.clock.now()
        self.traffic.advance(self.world, now)
        return now

    def change_scenario(self, name: str) -> None:
        """Go on with another scenario; ValueError when there is none of this name."""
        if name not in SCENARIOS:
            raise ValueError(f"unknown scenario {name!r}; there are: {', '.join(SCENARIOS)}")
        self.scenario = name
        self.traffic.change(SCENARIOS[name])
