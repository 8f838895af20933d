"""When records are looked up (rule 4). PURE.

An open record is looked up after max(poll interval, 10 % of its age), at most a minute, and promptly when its
own timeout passes, however far it is from the newest records.
"""

import heapq
from collections.abc import Iterable, Iterator
from operator import attrgetter

from msgspec.structs import replace

from exporter.model import Clock
from exporter.tracking.values import Rules, Stage, Tracked

MAX_LOOKUP_INTERVAL = 60.0  # seconds: an end is noticed at most this late
AGE_SHARE = 0.1  # a job of five minutes is looked up every 30 s
TIMEOUT_SLACK = 1.0  # second: times of records are whole seconds
UNREADABLE_LOOKUPS = 2  # consecutive failures: a single one may be transient
RETRIES = 4  # unreadable records per round: each may take up to the deadline, and half the slots stay free


def due(tracked: Iterable[Tracked], *, now: float, rules: Rules, limit: int) -> list[Tracked]:
    """At most `limit` records to look up now: those due longest first, then a few unreadable ones.

    A record that is due within half an interval is included, because this poll is nearer than the next one.
    """
    soon, by_due = now + rules.interval / 2, attrgetter("due", "id")
    waiting: list[Tracked] = []
    failed: list[Tracked] = []
    for item in tracked:
        if item.due <= soon:
            (failed if item.unread else waiting).append(item)
    chosen = heapq.nsmallest(limit, waiting, key=by_due)
    return chosen + heapq.nsmallest(min(RETRIES, limit - len(chosen)), failed, key=by_due)


def is_unreadable(tracked: Tracked) -> bool:
    """Whether the look-ups of a record fail repeatedly."""
    return tracked.unread >= UNREADABLE_LOOKUPS


def retried(tracked: Iterable[Tracked], *, clock: Clock, rules: Rules) -> Iterator[Tracked]:
    """Make unreadable records due, because one of them can be read again.

    Records that this poll has already looked up are due at the next poll.
    """
    for item in tracked:
        if item.unread:
            yield replace(item, due=min(item.due, max(clock.now, item.last_lookup + rules.interval)))


def is_overdue(tracked: Tracked, *, clock: Clock, rules: Rules) -> bool:
    """Whether an open record has exceeded its own timeout and the grace."""
    if tracked.stage is Stage.DONE or tracked.start is None or tracked.timeout is None:
        return False
    return clock.platform > tracked.start + tracked.timeout + rules.overdue_grace


def next_lookup(tracked: Tracked, clock: Clock, rules: Rules) -> float:
    """When to look up an open record again; never within the same poll."""
    age = clock.platform - tracked.start if tracked.start is not None else clock.now - tracked.found
    wait = min(MAX_LOOKUP_INTERVAL, AGE_SHARE * age)
    if tracked.start is not None and tracked.timeout is not None:
        passes = tracked.start + tracked.timeout - clock.platform
        if 0 <= passes < max(wait, rules.interval):
            wait = passes + TIMEOUT_SLACK
    return clock.now + max(rules.interval, wait)
