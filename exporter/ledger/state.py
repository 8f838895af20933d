"""Loads the state of a ledger, and writes the changes of a poll to it.

Each function runs in a transaction of `Ledger`; those that write return the state after it. Rows are written
as they are in the new state: nobody else writes, and the leader loads again after a commit that failed.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from exporter.ledger import tables
from exporter.ledger.layout import Layout
from exporter.ledger.tables import counters, encode, failures, followed, insert, moving, recent, settled
from exporter.model import Exemplar, FailedRecord, Sample, Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from exporter.tracking.folding import fold_all
from exporter.tracking.state import State
from exporter.tracking.tallies import Recent, Tally, merged, tallied
from exporter.tracking.values import Changes, Outcome, Settlement, Tracked

KEPT_SETTLED = 5_000  # newest ids that are never pruned: a re-check of the tail can meet them again
KEPT_FAILURES = 200  # lines on the page of recent failures
CHUNK = 500  # ids in one statement: SQLite takes at least 999 parameters

# Made once: making a statement takes longer than running it on a few rows.
IDS: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
_OUTCOMES = sa.select(settled.c.id, settled.c.outcome).where(settled.c.id.in_(IDS))
_REVIVE = sa.delete(settled).where(settled.c.id.in_(IDS), settled.c.outcome == Outcome.VANISHED)
_UNFOLLOW = sa.delete(followed).where(followed.c.id.in_(IDS))


def chunked(
    connection: sa.Connection, statement: sa.Executable, ids: list[str]
) -> Iterator[sa.CursorResult[tuple[str, ...]]]:
    """Run a statement on the ids, as the parameter `IDS`, a part of them at a time."""
    for start in range(0, len(ids), CHUNK):
        yield connection.execute(statement, {"ids": ids[start : start + CHUNK]})


def outcomes(connection: sa.Connection, ids: list[str]) -> dict[str, str]:
    """The outcomes of those records that were settled."""
    return {row.id: row.outcome for rows in chunked(connection, _OUTCOMES, ids) for row in rows}


def load(connection: sa.Connection, *, everything: bool) -> State:
    """Load the state; what a follower does not show stays empty unless `everything`."""
    progress = tables.progress(connection)
    samples = {
        tables.series_of(row): tables.sample_of(row) for row in connection.execute(sa.select(counters))
    }
    failed = connection.execute(sa.select(failures).order_by(failures.c.number.desc()))
    tallies = connection.execute(sa.select(recent))
    state = State(
        counters=samples,
        latest=dict(progress.latest),
        failures=tuple(msgspec.json.decode(row.state, type=FailedRecord) for row in failed),
        recent={row.number: msgspec.json.decode(row.state, type=Tally) for row in tallies},
        time=progress.time,
        holds=later((sample.held_until for sample in samples.values()), progress.time),
    )
    if not everything:
        return state
    open_ = connection.execute(sa.select(followed))
    return dataclasses.replace(
        state,
        tail=progress.tail,
        counting_start=progress.counting_start,
        followed={row.id: msgspec.json.decode(row.state, type=Tracked) for row in open_},
        numbers={tables.series_of(row): row.number for row in connection.execute(sa.select(moving))},
        records=connection.scalar(sa.select(sa.func.count()).select_from(settled)) or 0,
    )


def commit(
    connection: sa.Connection, state: State, changes: Changes, layout: Layout, *, wall: float, time: float
) -> State:
    """Write the changes. A record counts only if its id was not settled before."""
    newborn = layout.newborn(wall=wall, time=time)
    found = [item.id for item in changes.found]
    revived = sum(result.rowcount for result in chunked(connection, _REVIVE, found))
    had = outcomes(connection, [item.id for item in changes.settlements])
    settlements = [item for item in changes.settlements if item.id not in had]
    groups = (changes.increments, *(item.increments for item in settlements))
    first, *moved = fold_all(groups, state.counters, layout.label_limit)
    grown = samples(chain(first, *moved), state.counters, layout, newborn)
    insert(connection, counters, [tables.row_of(*item) for item in grown.items()], existing="replace")
    now = {**state.counters, **grown}
    numbers = _settle(connection, settlements, moved, state.numbers, wall=wall, time=time)
    latest = {series: max(value, state.latest.get(series, value)) for series, value in changes.latest.items()}
    after = State(
        tail=changes.tail,
        counting_start=changes.counting_start,
        followed=_follow(connection, state.followed, changes),
        counters=now,
        latest={**state.latest, **latest},
        failures=_keep_failures(connection, state.failures, settlements),
        recent=_keep_recent(connection, state.recent, settlements, now, wall),
        numbers=numbers,
        records=state.records + len(settlements) - revived,
        time=time,
        holds=later((*state.holds, *(sample.held_until for sample in grown.values())), time),
    )
    put_progress(connection, after, wall=wall)
    return after


def put_progress(connection: sa.Connection, state: State, *, wall: float) -> None:
    """Write the small part of the state. `wall`: our wall clock at its ledger time."""
    progress = tables.Progress(
        time=state.time,
        wall=wall,
        tail=state.tail,
        counting_start=state.counting_start,
        latest=tuple(state.latest.items()),
    )
    tables.put(connection, "progress", progress)


def samples(
    increments: Iterable[Increment], had: Mapping[Series, Sample], layout: Layout, newborn: Sample
) -> dict[Series, Sample]:
    """The samples that change. A new series brings its siblings (rule 9), which begin as `newborn`."""
    values: dict[Series, float] = {}
    exemplars: dict[Series, Exemplar] = {}
    for increment in increments:
        series = increment.series
        values[series] = values.get(series, 0.0) + increment.value
        if increment.exemplar is not None:
            exemplars[series] = increment.exemplar
    siblings = (sibling for series in values if series not in had for sibling in layout.siblings(series))
    changed = {series: newborn for series in siblings if series not in had}
    for series, value in values.items():
        before = had.get(series, newborn)
        exemplar = exemplars.get(series, before.exemplar)
        changed[series] = replace(before, value=before.value + value, exemplar=exemplar)
    return changed


def later(holds: Iterable[float], time: float) -> tuple[float, ...]:
    """Those ledger times that are still to come, ascending."""
    return tuple(sorted({hold for hold in holds if hold > time}))


def _settle(
    connection: sa.Connection,
    settlements: list[Settlement],
    moved: list[tuple[Increment, ...]],
    had: Mapping[Series, int],
    *,
    wall: float,
    time: float,
) -> Mapping[Series, int]:
    """Write settled records with their increments; return the numbers of all series.

    An id that is there already fails the whole commit. Times are stored by the wall clock.
    """
    offset = wall - time
    new = effects.unnumbered(chain.from_iterable(moved), had)
    insert(connection, moving, [{"number": new[series], **tables.name_of(series)} for series in new])
    numbers = {**had, **new} if new else had
    rows = [
        {
            "id": item.id,
            "outcome": item.outcome,
            "result": item.record.result_status if item.record else None,
            "found": offset + item.found,
            "settled": wall,
            "started": item.record.start if item.record else None,
            "ended": item.record.end if item.record else None,
            "looks": item.lookups,
            "done": None if item.done is None else offset + item.done,
            "moved": effects.written(increments, numbers),
        }
        for item, increments in zip(settlements, moved, strict=True)
    ]
    insert(connection, settled, rows)
    return numbers


def _follow(connection: sa.Connection, had: Mapping[str, Tracked], changes: Changes) -> Mapping[str, Tracked]:
    """Write which records are followed."""
    changed = {item.id: item for item in (*changes.found, *changes.changed)}
    rows = [
        {"id": item.id, "state": encode(replace(item, seen_open=None, last_lookup=0.0))}
        for item in changed.values()
        if item.id not in had or _durable(item) != _durable(had[item.id])
    ]
    insert(connection, followed, rows, existing="replace")
    gone = [item.id for item in changes.settlements]
    for _ in chunked(connection, _UNFOLLOW, gone):
        pass
    now = {**had, **changed}
    for id_ in gone:
        now.pop(id_, None)
    return now


def _durable(item: Tracked) -> Tracked:
    """What must survive a restart; the time of the next look-up is not part of it."""
    return replace(item, due=0.0, seen_open=None, last_lookup=0.0, lookups=0, result_lookups=0)


def _keep_failures(
    connection: sa.Connection, had: tuple[FailedRecord, ...], settlements: list[Settlement]
) -> tuple[FailedRecord, ...]:
    """Keep the newest failures."""
    new = [item.failure for item in settlements if item.failure is not None]
    if not new:
        return had
    last = connection.scalar(sa.select(sa.func.max(failures.c.number))) or 0
    rows = [{"number": number, "state": encode(item)} for number, item in enumerate(new, last + 1)]
    insert(connection, failures, rows)
    connection.execute(sa.delete(failures).where(failures.c.number <= last + len(new) - KEPT_FAILURES))
    return (*reversed(new), *had)[:KEPT_FAILURES]


def _keep_recent(
    connection: sa.Connection,
    had: Recent,
    settlements: list[Settlement],
    now: Mapping[Series, Sample],
    wall: float,
) -> Recent:
    """Keep the tallies of the last hours. `now`: the counters after the commit."""
    if not settlements:
        return had
    changed = (increment.series for item in settlements for increment in item.increments)
    of_idcs = (series for series in changed if series.family == "job_idc_records_total")
    idcs = {series.labels[0][1] for series in of_idcs if series in now}
    new = tallied(settlements, idcs=idcs, now=wall)
    kept = merged(had, new, now=wall)
    connection.execute(sa.delete(recent).where(recent.c.number.in_(had.keys() - kept.keys())))
    rows = [{"number": number, "state": encode(kept[number])} for number in new]
    insert(connection, recent, rows, existing="replace")
    return kept


def prune(connection: sa.Connection, state: State, *, before: float) -> State:
    """Delete old settled records, see `Ledger.prune`; return the state after it."""
    newest = sa.select(settled.c.id).order_by(settled.c.settled.desc()).limit(KEPT_SETTLED)
    over = (sa.or_(at.is_(None), at <= before) for at in (settled.c.started, settled.c.ended))
    old = sa.and_(settled.c.settled < before, *over, settled.c.id.not_in(newest))
    bounds = sa.select(sa.func.max(settled.c.ended), sa.func.max(settled.c.started)).where(old)
    ended, started = connection.execute(bounds).one()
    gone = connection.execute(sa.delete(settled).where(old)).rowcount
    start = state.counting_start
    if gone and start is not None:
        start = start.pruned(ended=ended or 0.0, started=started or 0.0)
        tables.put(connection, "progress", replace(tables.progress(connection), counting_start=start))
    return dataclasses.replace(state, counting_start=start, records=state.records - gone)
