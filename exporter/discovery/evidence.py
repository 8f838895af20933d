"""Rule 13: answers that can't be trusted are confirmed over a minute before anything follows. PURE."""

from dataclasses import dataclass, replace

CONFIRM_AFTER = 60.0  # seconds: a database copy behind a balancer lags by 30 s
CONFIRM_ANSWERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Answers in a row that say the same unlikely thing; ledger time."""

    since: float
    answers: int
    total: int  # the largest that was told with them

    def is_confirmed(self, now: float) -> bool:
        """Whether enough of them came, over long enough."""
        return self.answers >= CONFIRM_ANSWERS and now - self.since >= CONFIRM_AFTER


def gathered(had: Evidence | None, *, total: int, now: float) -> Evidence:
    """Take in one more answer."""
    if had is None:
        return Evidence(since=now, answers=1, total=total)
    return replace(had, answers=had.answers + 1, total=max(had.total, total))
