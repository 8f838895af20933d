"""The ledger's data on one record, for the audit and the page. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.model import Series
from exporter.tracking.values import Tracked


class LedgerStatus(StrEnum):
    """The status of a record in the ledger."""

    COUNTED = "counted"
    BASELINE = "baseline"
    VANISHED = "vanished"
    OPEN = "open"
    SETTLING = "settling"  # done, waiting for its hosts
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The ledger's data on one record; times of our clock, except start and end."""

    id: str
    status: LedgerStatus
    found: float
    tracked: Tracked | None = None  # while it is in the open set
    settled: float | None = None  # when it left the open set
    result: str | None = None
    start: float | None = None
    end: float | None = None
    lookups: int | None = None  # minimum number of answered look-ups
    done: float | None = None  # first seen done
    moved: Mapping[Series, float] | None = None  # None: counted before the ledger kept it

    @property
    def discovered(self) -> bool:
        """Whether it incremented `job_records_discovered_total`."""
        if self.tracked is not None:
            return self.tracked.baseline_end is None
        vanished = self.status is LedgerStatus.VANISHED and bool(self.moved)
        return vanished or self.status is LedgerStatus.COUNTED
