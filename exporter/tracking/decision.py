"""The decision of a round: answers → changes to commit. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.discovery.pages import Order
from exporter.discovery.tail import Tail
from exporter.model import Series
from exporter.tracking.counting import Increment, known_end
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.finding import Found, PageRead, page_read
from exporter.tracking.lookups import is_unreadable, retried
from exporter.tracking.plausible import hours_off
from exporter.tracking.tracker import after_lookup, discovered
from exporter.tracking.values import Clock, Lookup, Outcome, Rules, Settlement, Tracked

DISCOVERED = Increment(series=Series("job_records_discovered_total"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes to commit in one transaction, and facts for the log."""

    tail: Tail
    counting_start: CountingStart
    found: tuple[Tracked, ...] = ()  # records to follow from now on
    changed: tuple[Tracked, ...] = ()  # records that stay in the open set
    settlements: tuple[Settlement, ...] = ()
    increments: tuple[Increment, ...] = ()  # those that belong to no settlement
    latest: Mapping[Series, float] = field(default_factory=dict)
    order: Order | None = None  # of the pages, if this round found it
    given_up: int = 0  # records that no page showed
    adopted: bool = False  # the first reading ended
    unreadable: Mapping[str, str] = field(default_factory=dict)  # id → why; newly unreadable records
    hours_off: Mapping[str, float] = field(default_factory=dict)  # id → hours; impossible times


def decide(
    tail: Tail,
    counting_start: CountingStart,
    followed: Mapping[str, Tracked],
    *,
    read: PageRead | None,
    lookups: Iterable[Lookup],
    clock: Clock,
    rules: Rules,
    sweeps: bool = True,
) -> Changes:
    """Decide on a page (None: none was read) and on look-ups of followed records."""
    changes = Changes(tail=tail, counting_start=counting_start)
    if read is not None:
        changes = _page_read(
            tail,
            counting_start,
            page_read(tail, counting_start, read, clock=clock, rules=rules, sweeps=sweeps),
        )
    looked_up = [
        (followed[lookup.id], lookup, after_lookup(followed[lookup.id], lookup, clock=clock, rules=rules))
        for lookup in lookups
    ]
    begun = sum(discovered(None, item) for item in changes.found)
    begun += sum(discovered(before, after) for before, _, after in looked_up)
    settlements = [after for _, _, after in looked_up if isinstance(after, Settlement)]
    changed = {after.id: after for _, _, after in looked_up if isinstance(after, Tracked)}
    unreadable = {
        lookup.id: lookup.failure or ""
        for before, lookup, _ in looked_up
        if lookup.id in changed and is_unreadable(changed[lookup.id]) and not is_unreadable(before)
    }
    if any(is_unreadable(before) and one.record and not one.failure for before, one, _ in looked_up):
        changed = {item.id: item for item in retried(followed.values(), clock=clock, rules=rules)} | changed
    offs = {
        lookup.id: hours_off(before, lookup.record, began=counting_start.began, clock=clock)
        for before, lookup, _ in looked_up
    }
    return replace(
        changes,
        changed=tuple(changed.values()),
        settlements=(*changes.settlements, *settlements),
        increments=(*changes.increments, *(DISCOVERED,) * begun),
        latest=_latest(settlements, clock.platform),
        unreadable=unreadable,
        hours_off={id_: off for id_, off in offs.items() if off is not None},
    )


def _page_read(tail: Tail, counting_start: CountingStart, found: Found) -> Changes:
    after = found.tail
    return Changes(
        tail=after,
        counting_start=found.counting_start,
        found=found.followed,
        settlements=found.settlements,
        increments=found.increments,
        order=after.order if after.order is not tail.order else None,
        given_up=found.given_up,
        adopted=counting_start.floor is None and found.counting_start.floor is not None,
    )


def _latest(settlements: Iterable[Settlement], platform_now: float) -> Mapping[Series, float]:
    """The latest end per result."""
    latest: dict[Series, float] = {}
    for item in settlements:
        if item.outcome is not Outcome.SETTLED or item.record is None:
            continue
        end = known_end(item.record, platform_now)
        if end is not None:
            result = str(item.record.result_status or "unknown")
            series = Series("job_record_last_finished_timestamp_seconds", (("result_status", result),))
            latest[series] = max(latest.get(series, 0.0), end)
    return latest
