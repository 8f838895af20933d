"""Where counting began, and what of the platform was registered then. PURE."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingStart:
    """Where counting began; the platform's clock. Pruning the ledger moves its times up."""

    baseline_end: float  # a doubtful record that ended by then is the baseline
    floor: float | None  # start down to which the first reading has read all; None: it is going on
    # Start down to which all that was there is registered: what started later, and is found, is new.
    # None: the first sweep is going on; LONG_AGO: the whole platform.
    registered: float | None = None
    # From this position up the first reading has seen every record, when the total was `accounted`.
    bottom: int | None = None
    accounted: int = 0  # without growth that may lie below `bottom`
    invisible: int = 0  # records that the first reading or sweep could not see, and that may appear
    seemed_empty: bool = False  # the first answer said so, and later ones did not
    lowest: float | None = None  # earliest start that the first reading met so far
    read: int = 0  # bytes of the pages of the first reading
    first_baseline_end: float | None = None  # before any pruning moved it; None: none did

    @property
    def began(self) -> float:
        """What ended by then was never counted, whatever was pruned since."""
        return self.baseline_end if self.first_baseline_end is None else self.first_baseline_end

    @property
    def unregistered(self) -> float:
        """A record that started by then may be unknown because it is old."""
        if self.floor is None:
            return float("inf")
        return self.floor if self.registered is None else min(self.floor, self.registered)

    def bottom_at(self, total: int) -> float:
        """The position above which no old record can be unknown, at this total."""
        return float("inf") if self.bottom is None else self.bottom + max(0, total - self.accounted)

    def pruned(self, *, ended: float, started: float) -> "CountingStart":
        """After the ledger forgot records: the latest end, and the latest start of these."""
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
