"""The decision of a round: answers → changes to commit. PURE."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.discovery.tail import Tail
from exporter.model import Clock, ExecuteStatus, Record, Series
from exporter.tracking.counting import Increment, known_end, result_of
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.finding import PageRead, page_read
from exporter.tracking.lookups import is_unreadable, retried
from exporter.tracking.tracker import after_lookup, discovered
from exporter.tracking.values import Changes, Lookup, Outcome, Rules, Settlement, Stage, Tracked

LEAST_OFF = 2700.0  # seconds: clocks of masters differ by minutes, time zones by half an hour or more
MOST_OFF = 26 * 3600.0  # seconds between the first and the last time zone
DISCOVERED = Increment(series=Series("job_records_discovered_total"))


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
        changes = page_read(tail, counting_start, read, clock=clock, rules=rules, sweeps=sweeps)
    answers = [(followed[lookup.id], lookup) for lookup in lookups]
    outcomes = [after_lookup(before, lookup, clock=clock, rules=rules) for before, lookup in answers]
    settlements = [item for item in outcomes if isinstance(item, Settlement)]
    changed = {item.id: item for item in outcomes if isinstance(item, Tracked)}
    if any(is_unreadable(before) and lookup.record and not lookup.failure for before, lookup in answers):
        changed = {item.id: item for item in retried(followed.values(), clock=clock, rules=rules)} | changed
    begun = sum(discovered(None, item) for item in changes.found)
    begun += sum(discovered(before, after) for (before, _), after in zip(answers, outcomes, strict=True))
    return replace(
        changes,
        changed=tuple(changed.values()),
        settlements=(*changes.settlements, *settlements),
        increments=(*changes.increments, *(DISCOVERED,) * begun),
        latest=_latest(settlements, clock.platform),
        unreadable={
            lookup.id: lookup.failure or ""
            for before, lookup in answers
            if lookup.id in changed and is_unreadable(changed[lookup.id]) and not is_unreadable(before)
        },
        hours_off={
            lookup.id: hours
            for before, lookup in answers
            if (hours := _hours_off(before, lookup.record, began=counting_start.began, clock=clock))
        },
    )


def _latest(settlements: Iterable[Settlement], platform_now: float) -> Mapping[Series, float]:
    """The latest end per result."""
    latest: dict[Series, float] = {}
    for item in settlements:
        if item.outcome is not Outcome.SETTLED or item.record is None:
            continue
        end = known_end(item.record, platform_now)
        if end is not None:
            labels = (("result_status", str(result_of(item.record))),)
            series = Series("job_record_last_finished_timestamp_seconds", labels)
            latest[series] = max(latest.get(series, 0.0), end)
    return latest


def _hours_off(before: Tracked, record: Record | None, *, began: float, clock: Clock) -> float | None:
    """Minimum hours by which a record's times are wrong; None: they may be right.

    A wrong `api.timezone`, or a second master in another time zone, shifts times by hours: the record is
    counted, but its lag and the latest end are wrong.
    `before`: the record before the look-up; `began`: records that ended by then are not counted.
    """
    if record is None or before.stage is Stage.DONE:
        return None
    offs: list[float] = []
    if record.start is not None:
        offs.append(max(0.0, record.start - clock.platform))
    if record.execute_status is ExecuteStatus.DONE and record.end is not None:
        offs.append(max(0.0, record.end - clock.platform))
        if before.seen_open is not None:
            offs.append(min(0.0, record.end - before.seen_open))
        if before.baseline_end is None:  # it came after counting began, or was open then
            offs.append(min(0.0, record.end - began))
    off = max(offs, key=abs, default=0.0)
    return off / 3600.0 if LEAST_OFF <= abs(off) <= MOST_OFF else None
