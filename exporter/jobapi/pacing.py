"""The share of the platform's time that pages may take: a token bucket.

Credit grows by `duty` seconds a second. A page may be requested while there is credit, and is charged the
time that the platform took for it. After an expensive page the credit is negative, and the next page waits
until it is back at 0.
"""

import time
from collections.abc import Callable

FULL = 60.0  # seconds of page time that may add up: some dozen expensive pages after a downtime
AT_START = 30.0
PAID = 1e-6  # seconds of debt that count as none, because a wait may be shorter than the clock's resolution


class Pacer:
    """Paces the pages of one purpose."""

    def __init__(self, duty: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`duty`: the share of the time that pages may take."""
        self._duty, self._monotonic = duty, monotonic
        self._credit, self._at = AT_START, monotonic()

    def wait(self) -> float:
        """Return the seconds until the next page may be requested."""
        self._grow()
        return 0.0 if self._credit > -PAID else -self._credit / self._duty

    def charge(self, seconds: float) -> None:
        """Charge the time that the platform took for a page."""
        self._grow()
        self._credit -= seconds

    def _grow(self) -> None:
        now = self._monotonic()
        self._credit, self._at = min(FULL, self._credit + (now - self._at) * self._duty), now
