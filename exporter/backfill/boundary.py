"""Where live counting began, and which records are its own: the ledger, read beside the daemon."""

from collections.abc import Collection
from dataclasses import dataclass

from exporter.backfill.samples import BackfillError
from exporter.ledger import address
from exporter.ledger.reader import Inspection
from exporter.tracking.known import LedgerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Where live counting began."""

    baseline_end: float  # what ended by then is the backfill's; the platform's clock
    created: float  # counters stand at 0 since then; our clock


class Live:
    """What the daemon counts. Raises LedgerError, and BackfillError before its first poll."""

    def __init__(self, url: str, *, platform: str) -> None:
        self._ledger = Inspection(url, platform=platform)
        _, counting_start = self._ledger.tail()
        created = self._ledger.created()
        if counting_start is None or created is None:
            self.close()
            raise BackfillError(
                "the ledger at state.url does not say yet where counting began: let the daemon poll once"
            )
        self.boundary = Boundary(baseline_end=counting_start.began, created=created)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def owns(self, ids: Collection[str]) -> set[str]:
        """Which of these records live counting has counted, follows, or saw vanish."""
        known = self._ledger.known(ids)
        return {id_ for id_, item in known.items() if item.status is not LedgerStatus.BASELINE}


def live(url: str, *, platform: str) -> Live | None:
    """The ledger at this address; None for a file that does not exist. Raises LedgerError."""
    path = address.sqlite_path(address.parsed(url))
    return None if path is not None and not path.exists() else Live(url, platform=platform)
