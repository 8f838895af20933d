"""Where live counting began, and which records the daemon counts. Reads the ledger; the daemon may run."""

import math
from collections.abc import Collection

from exporter.backfill.samples import BackfillError
from exporter.ledger.database import sqlite_path
from exporter.ledger.reader import Inspection
from exporter.tracking.state import LedgerStatus


class Live:
    """What the daemon counts: nothing if its ledger does not exist."""

    def __init__(self, url: str, *, platform: str) -> None:
        """Open the ledger. Raises LedgerError, and BackfillError before the daemon's first poll."""
        self.began = math.inf  # what ended later is the daemon's; platform's clock
        self.created = math.inf  # its counters exist since then, from 0; our clock
        path = sqlite_path(url)
        self.exists = path is None or path.exists()
        if not self.exists:
            return
        self._ledger = Inspection(url, platform=platform)
        counting_start = self._ledger.progress().counting_start
        created = self._ledger.created()
        if counting_start is None or created is None:
            self.close()
            raise BackfillError(
                "the ledger at state.url does not say yet where counting began: let the daemon poll once"
            )
        self.began, self.created = counting_start.began, created

    def close(self) -> None:
        """Close the ledger."""
        if self.exists:
            self._ledger.close()

    def owns(self, ids: Collection[str]) -> set[str]:
        """Which of these records the daemon has counted, follows, or saw vanish."""
        known = self._ledger.known(ids) if self.exists else {}
        return {id_ for id_, item in known.items() if item.status is not LedgerStatus.BASELINE}
