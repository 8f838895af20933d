"""Which records are looked up now. PURE."""

import heapq
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from exporter.tracking.values import Clock, Rules, Stage, Tracked

MAX_LOOKUP_INTERVAL = 60.0  # seconds: an end is never told later than this
AGE_SHARE = 0.1  # a job that ran an hour is looked at each minute, one of five minutes each 30 s
TIMEOUT_SLACK = 1.0  # seconds: the platform's times are whole ones, let that second pass
UNREADABLE_LOOKUPS = 2  # failures in a row: one may pass
RETRIES = 4  # of these in one round: each may take as long as the deadline, and half the slots stay free


def due(tracked: Iterable[Tracked], *, now: float, rules: Rules, limit: int) -> list[Tracked]:
    """At most `limit` records to look up now, those waiting longest first; last a few that failed before.

    What is due within half an interval counts as due: of two polls the nearer one takes it. Else a look-up
    that came a little after its poll began would be missed by the next one and wait for the one after.
    """
    soon = now + rules.interval / 2
    waiting: list[Tracked] = []
    failed: list[Tracked] = []
    for item in tracked:
        if item.due <= soon:
            (failed if item.unread else waiting).append(item)

    def first(items: list[Tracked], number: int) -> list[Tracked]:
        return heapq.nsmallest(number, items, key=lambda item: (item.due, item.id))

    chosen = first(waiting, limit)
    return chosen + first(failed, min(RETRIES, limit - len(chosen)))


def is_unreadable(tracked: Tracked) -> bool:
    """Whether the look-ups of a record fail, and not just one of them."""
    return tracked.unread >= UNREADABLE_LOOKUPS


def retried(tracked: Iterable[Tracked], *, clock: Clock, rules: Rules) -> Iterator[Tracked]:
    """Make the records due that could not be read, because one of them can be read again.

    Those that this poll has looked up wait for the next one.
    """
    for item in tracked:
        if item.unread:
            yield replace(item, due=min(item.due, max(clock.now, item.last_lookup + rules.interval)))


def is_overdue(tracked: Tracked, *, clock: Clock, rules: Rules) -> bool:
    """Whether an open record has run past its own timeout and the grace."""
    if tracked.stage is Stage.DONE or tracked.start is None or tracked.timeout is None:
        return False
    return clock.platform > tracked.start + tracked.timeout + rules.overdue_grace


def next_lookup(tracked: Tracked, clock: Clock, rules: Rules) -> float:
    """Rule 4: when to look up an open record again.

    Never before the next poll: what is due at once is looked up again and again by this one.
    """
    age = clock.platform - tracked.start if tracked.start is not None else clock.now - tracked.found
    wait = min(MAX_LOOKUP_INTERVAL, AGE_SHARE * age)
    if tracked.start is not None and tracked.timeout is not None:
        passes = tracked.start + tracked.timeout - clock.platform
        if 0 <= passes < max(wait, rules.interval):
            wait = passes + TIMEOUT_SLACK
    return clock.now + max(rules.interval, wait)
