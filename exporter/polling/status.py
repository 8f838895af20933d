"""Status of polling: backoff, readiness, and the snapshot that scrapes read."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from exporter.discovery.tail import Tail
from exporter.jobapi.errors import ApiError
from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import Ledger
from exporter.metrics.process import ProcessMetrics
from exporter.model import Clock, LeaderStatus, Series, Snapshot, backoff
from exporter.polling.config import PollConfig
from exporter.tracking.lookups import is_unreadable
from exporter.tracking.state import platform_gauges
from exporter.tracking.values import Stage

FIRST_BACKOFF = 2.0  # seconds after the first failed poll
MAX_BACKOFF = 60.0  # seconds between polls while the platform is down
PUBLISH_SHARE = 0.1  # share of a poll's time: computing the gauges visits all open records

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Status:
    """The status of one process's polls, published as snapshots."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        process: ProcessMetrics,
        config: PollConfig,
        publish: Callable[[Snapshot], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._ledger, self._process, self._config = ledger, process, config
        self._show, self._monotonic = publish, monotonic
        self._failures = 0  # consecutive failed polls
        self._not_before = 0.0  # backing off until then; monotonic
        self._publish_due = 0.0  # earliest next publication within a poll; monotonic
        self._version = 0
        self._platform: Mapping[Series, float] = {}  # the platform's gauges, as last published
        self.caught_up = False
        self.reached = False  # the last poll reached the job API and understood the answers
        self.last_error: str | None = "the first poll has not ended yet"  # None: the last one was good

    @property
    def backs_off(self) -> bool:
        """Whether the next poll must wait after failures."""
        return self._monotonic() < self._not_before

    def forget_failures(self) -> None:
        """Reset the backoff: the failures belong to another replica or another term."""
        self._failures, self._not_before = 0, 0.0

    def poll_ended(self, error: Exception | None, *, began: float, now: float) -> None:
        """Record the result of the poll started at `began` (monotonic); `now`: our wall clock."""
        self.reached = not isinstance(error, ApiError) and self.reached
        self._process.poll_finished(
            ok=error is None, up=self.reached, seconds=self._monotonic() - began, now=now
        )
        if error is None:
            if self._failures:
                log.info("polls succeed again", failed=self._failures)
            self.forget_failures()
            self.last_error = None
            return
        # Readiness is public: it shows our own error messages, and only the type of any other exception.
        ours = isinstance(error, ApiError | LedgerError)
        self.back_off((ours and str(error)) or type(error).__name__, error, since=began)

    def back_off(self, why: str, error: Exception, *, since: float) -> None:
        """Become unready, and wait longer after each consecutive failure; `since` is monotonic."""
        self.last_error = why
        self._failures += 1
        asked = getattr(error, "retry_after", None) or 0.0
        pause = max(backoff(self._failures, first=FIRST_BACKOFF, longest=MAX_BACKOFF), asked)
        # End slightly early, so that the timer's poll at that moment is not skipped.
        self._not_before = since + pause - self._config.rules.interval / 4

    @property
    def publish_is_due(self) -> bool:
        """Whether a round may be published before its poll ends."""
        return self._monotonic() >= self._publish_due

    def publish(self, tail: Tail, *, clock: Clock, skew: float | None) -> None:
        """Publish a snapshot: of this replica's state if it leads, else of the leader's last report.

        `skew`: the platform's clock minus our clock, in seconds; None: unknown.
        """
        began, state = self._monotonic(), self._ledger.state
        is_own = not self._ledger.follows
        self._platform = self._own_gauges(tail, clock, skew) if is_own else self._leader_gauges()
        self._version += 1
        self._show(
            Snapshot(
                counters={**self._process.counters(), **state.counters},
                gauges={**self._process.gauges(), **self._platform},
                version=self._version,
                time=state.time,
            )
        )
        self._publish_due = self._monotonic() + (self._monotonic() - began) / PUBLISH_SHARE

    async def report(self) -> None:
        """Report the published gauges to the other replicas. Raises LedgerError."""
        if self._ledger.shared and self._ledger.leads:
            gauges = {**self._process.leader_gauges(), **self._platform}
            status = LeaderStatus(gauges=tuple(gauges.items()), error=self.last_error)
            await asyncio.shield(asyncio.to_thread(self._ledger.tell, status))

    def _own_gauges(self, tail: Tail, clock: Clock, skew: float | None) -> Mapping[Series, float]:
        """The platform's gauges. Also updates the process gauges that depend on the ledger."""
        state = self._ledger.state
        self._process.state(
            pending_results=sum(item.stage is Stage.DONE for item in state.followed.values()),
            unreadable_records=sum(map(is_unreadable, state.followed.values())) + len(tail.unreadable),
            last_sweep=(tail.swept or 0.0) if self._config.sweep else None,
            catching_up=not self.caught_up,
            ledger_records=state.records,
            leader=self._ledger.leads,
        )
        if not self.reached:
            return {}
        return platform_gauges(state, tail, clock=clock, skew=skew, rules=self._config.rules)

    def _leader_gauges(self) -> Mapping[Series, float]:
        """The platform's gauges as the leader reported them. Also keeps the state needed for a takeover."""
        status = self._ledger.leader_status
        if status is None:
            self.last_error = "no replica has ended a poll yet"
            return self._process.adopt({})
        gauges = dict(status.gauges)
        self.last_error = status.error
        self.caught_up = not gauges.get(Series("job_exporter_catching_up"))
        return self._process.adopt(gauges)
