"""Rule 13: an unlikely answer is acted on only after a minute of answers that agree. PURE."""

from dataclasses import dataclass, replace

CONFIRM_AFTER = 60.0  # seconds: a database copy behind a balancer lags by 30 s
CONFIRM_ANSWERS = 3
EXPIRE_AFTER = 120.0  # seconds: evidence that is neither confirmed nor refuted must not suspend anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Consecutive answers that agree; ledger time."""

    since: float
    last: float = 0.0
    answers: int
    total: int  # the largest total in them

    def is_confirmed(self, now: float) -> bool:
        """Whether enough answers came, over long enough."""
        return self.answers >= CONFIRM_ANSWERS and now - self.since >= CONFIRM_AFTER

    def is_expired(self, now: float) -> bool:
        """Whether the last answer that agreed is too old."""
        return now - self.last > EXPIRE_AFTER


def added(had: Evidence | None, *, total: int, now: float) -> Evidence:
    """Add an answer."""
    if had is None:
        return Evidence(since=now, last=now, answers=1, total=total)
    return replace(had, last=now, answers=had.answers + 1, total=max(had.total, total))
