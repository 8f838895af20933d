"""Settings of polling, as the poller and discovery use them."""

from dataclasses import dataclass, field

from exporter.discovery.weights import MAX_PAGE_SIZE
from exporter.tracking.finding import Start
from exporter.tracking.values import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class PollConfig:
    """Settings of polling; durations in seconds."""

    rules: Rules = field(default_factory=Rules)
    recheck_interval: float = 300.0
    sweep: float = 86400.0  # maximum age (by start) of records that the sweep reads; 0: no sweep
    adopt: int = 200  # number of newest records in the first reading
    history: float | None = 0.0  # first start: maximum age (by end) of counted records; None: all; 0: none
    duty: float = 0.1  # share of the wall time that tail pages may take
    page_size: int = MAX_PAGE_SIZE
    retention: float = 30 * 86400.0

    @property
    def start(self) -> Start:
        """The part that discovery uses."""
        return Start(
            adopt=self.adopt,
            history=self.history,
            recheck_interval=self.recheck_interval,
            sweep=self.sweep,
        )
