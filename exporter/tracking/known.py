"""What the ledger has of one record. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import Series
from exporter.tracking.values import Tracked


class LedgerStatus(StrEnum):
    """What a record is to the ledger."""

    COUNTED = "counted"
    BASELINE = "baseline"
    VANISHED = "vanished"
    OPEN = "open"
    SETTLING = "settling"  # done, its hosts are waited for
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger has of one record; our clock, but for start and end."""

    id: str
    status: LedgerStatus
    found: float
    tracked: Tracked | None = None  # while it is followed
    settled: float | None = None  # when it left the open set
    result: str | None = None
    start: float | None = None
    end: float | None = None
    lookups: int | None = None  # that were answered, at least
    done: float | None = None  # first seen done
    moved: Mapping[Series, float] | None = None  # None: counted before the ledger kept it

    @property
    def discovered(self) -> bool:
        """Whether it was taken for one to be counted: it moved `job_records_discovered_total`."""
        if self.tracked is not None:
            return self.tracked.baseline_end is None
        vanished = self.status is LedgerStatus.VANISHED and bool(self.moved)
        return vanished or self.status is LedgerStatus.COUNTED
