"""The settings of the simulator, and the parts that are made from them."""

from dataclasses import dataclass, field
from typing import Literal

from exporter.simulator.dialect import Dialect, TimeFormat
from exporter.simulator.documented import DocumentedDialect, Items
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.scenarios import SCENARIOS
from exporter.simulator.world import Order, World


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """How the simulated platform behaves; ValueError when a value cannot be."""

    host: str = "127.0.0.1"
    port: int = 6868  # the job API's; 0 takes a free one
    dialect: Literal["observed", "documented"] = "observed"
    items: Items = "records"  # what pages of the documented dialect list
    order: Order = "asc"
    time_format: TimeFormat = "rfc3339"  # of the documented dialect
    zone_offset: float = 8.0  # hours
    stdout_bytes: int = 0  # of each row, about
    seed: int = 0
    scenario: str = "demo"
    rate: float | None = None  # jobs per second; None: the scenario's
    traffic: bool = True  # False: nothing happens but what tests do to the world
    history: int = 0  # finished records at the start
    retention: float | None = None  # seconds after which records are deleted; None: never
    fault_rate: float = 0.0  # share of requests that fail
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    speed: float = 1.0  # simulated seconds a second; 0: the time stands still but for /sim/advance
    start_time: float | None = None  # POSIX seconds of the world at the start; None: the real time
    clock_skew: float = 0.0  # seconds that its Date header is ahead of its records

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"unknown scenario {self.scenario!r}; there are: {', '.join(SCENARIOS)}")
        if (self.username is None) != (self.password is None):
            raise ValueError("a username and a password go together")
        if self.speed < 0 or (self.rate is not None and self.rate < 0) or self.history < 0:
            raise ValueError("speed, rate and history must not be negative")
        if not 0 <= self.fault_rate <= 1:
            raise ValueError("fault_rate must be between 0 and 1")

    def make_world(self) -> World:
        """Make the empty world."""
        shows_all = self.dialect == "documented" and self.items == "records"
        return World(seed=self.seed, order=self.order, retention=self.retention, rows_decide=not shows_all)

    def make_dialect(self) -> Dialect:
        """Make what writes it down."""
        if self.dialect == "observed":
            return ObservedDialect(zone_offset=self.zone_offset, stdout_bytes=self.stdout_bytes)
        return DocumentedDialect(
            items=self.items,
            zone_offset=self.zone_offset,
            time_format=self.time_format,
            stdout_bytes=self.stdout_bytes,
        )
