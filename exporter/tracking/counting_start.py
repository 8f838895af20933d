"""Where counting began, and which records were there then. PURE."""

from dataclasses import dataclass, replace

from exporter.discovery.pages import Order
from exporter.discovery.scan import Sweep
from exporter.discovery.tail import Tail, is_first_reading
from exporter.model import LONG_AGO


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingStart:
    """Where counting began; times of the platform's clock. Pruning the ledger moves them forward.

    A record is registered if the ledger has its id: as baseline, as followed or as counted.
    """

    baseline_end: float  # a doubtful record that ended by then is the baseline
    floor: float | None  # earliest start that the first reading found; None: it is still running
    # All visible records that started later are registered, so an unknown one is new.
    # None: the first sweep is still running. LONG_AGO: the whole platform is registered.
    registered: float | None = None
    bottom: int | None = None  # lowest position from which up the first reading saw every record
    accounted: int = 0  # the total that `bottom` refers to: growth beyond it may lie below `bottom`
    invisible: int = 0  # old records that no page has shown yet, and that may appear later
    seemed_empty: bool = False  # the first answer said that the platform is empty, and a later one did not
    lowest: float | None = None  # earliest start that the first reading found so far
    read: int = 0  # bytes of the pages of the first reading
    first_baseline_end: float | None = None  # `baseline_end` before the first pruning; None: never pruned

    @property
    def began(self) -> float:
        """Records that ended by then were not counted; pruning does not change it."""
        return self.baseline_end if self.first_baseline_end is None else self.first_baseline_end

    @property
    def unregistered(self) -> float:
        """An unknown record that started by then may be old."""
        if self.floor is None:
            return float("inf")
        return self.floor if self.registered is None else min(self.floor, self.registered)

    def after_order(self, before: Order | None, after: Order | None) -> "CountingStart":
        """If a misjudged order was reversed, `bottom` is wrong: other positions were read."""
        is_reversed = None not in {before, after} and before is not after
        return replace(self, bottom=None) if is_reversed else self

    def after_reading(self, tail: Tail, *, sweeps: bool) -> "CountingStart":
        """Set how far the first reading has come, once it has ended."""
        if self.floor is not None or tail.empty is not None or is_first_reading(tail):
            return self
        floor = self.baseline_end if self.lowest is None else self.lowest
        is_registered = sweeps or self.registered is not None
        return replace(self, floor=floor, registered=self.registered if is_registered else floor)

    def after_sweep(self, tail: Tail, ended: Sweep) -> "CountingStart":
        """Once the first sweep has ended, all records that it saw are registered."""
        if self.registered is not None:
            return self
        invisible = ended.walk.hidden + sum(not item.is_missing for item in tail.unreadable)
        registered = LONG_AGO if ended.walk.at == 0 else ended.walk.reached or LONG_AGO
        return replace(self, registered=registered, invisible=invisible)

    def bottom_at(self, total: int) -> float:
        """`bottom` at this total: an unknown record from there up is new."""
        return float("inf") if self.bottom is None else self.bottom + max(0, total - self.accounted)

    def pruned(self, *, ended: float, started: float) -> "CountingStart":
        """The state after pruning; `ended`, `started`: the latest end and start of the pruned records."""
        if self.floor is None:
            return self
        return replace(
            self,
            baseline_end=max(self.baseline_end, ended),
            floor=max(self.floor, started),
            registered=None if self.registered is None else max(self.registered, started),
            first_baseline_end=self.began,
            bottom=None,
        )
