"""The statements of a commit, one function each; all run in the transaction of `Ledger.commit`.

Each writes its part of the changes, and answers what memory is to hold of it once the transaction ended well.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import sqlalchemy as sa
from msgspec.structs import replace

from exporter.ledger import bulk, tables
from exporter.ledger.tables import counters, encode, failures, followed, moving, recent, settled
from exporter.model import Exemplar, FailedRecord, Sample, Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from exporter.tracking.decision import Changes
from exporter.tracking.tallies import Recent, merged, tallied
from exporter.tracking.values import Outcome, Settlement, Tracked

KEPT_FAILURES = 200  # lines of the page of recent failures
CHUNK = 500  # ids asked for at once: SQLite takes 999 parameters at least

# Made once: to make a statement takes longer than to run it on a few rows.
_SOME: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
KNOWN = sa.select(settled.c.id).where(settled.c.id.in_(_SOME), settled.c.outcome != Outcome.VANISHED)
_COUNTED = sa.select(settled.c.id).where(settled.c.id.in_(_SOME))
_REVIVE = sa.delete(settled).where(settled.c.id.in_(_SOME), settled.c.outcome == Outcome.VANISHED)
_UNFOLLOW = sa.delete(followed).where(followed.c.id.in_(_SOME))
# Where a row is there already.
_REPLACE = "ON CONFLICT (id) DO UPDATE SET state = excluded.state"
_REPLACE_NUMBER = "ON CONFLICT (number) DO UPDATE SET state = excluded.state"
_ADD = (
    "ON CONFLICT (family, labels, part) DO UPDATE SET "
    f"value = {counters.name}.value + excluded.value, "
    f"exemplar = coalesce(excluded.exemplar, {counters.name}.exemplar)"
)


def chunks(ids: list[str]) -> Iterator[list[str]]:
    """Cut ids into parts that one statement takes."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def counted(connection: sa.Connection, ids: list[str]) -> Iterator[str]:
    """Which of these were settled before; the primary key is the guard behind this one."""
    for chunk in chunks(ids):
        yield from connection.scalars(_COUNTED, {"ids": chunk})


def revive(connection: sa.Connection, ids: list[str]) -> int:
    """Forget that these records had vanished: they are back."""
    gone = 0
    for chunk in chunks(ids):
        gone += connection.execute(_REVIVE, {"ids": chunk}).rowcount
    return gone


def follow(connection: sa.Connection, had: Mapping[str, Tracked], changes: Changes) -> Mapping[str, Tracked]:
    """The open set after the changes."""
    now = dict(had)
    bulk.insert(connection, followed, [_row(item) for item in changes.found])
    now.update((item.id, item) for item in changes.found)
    written = {
        item.id: _row(item) for item in changes.changed if _durable(item) != _durable(had.get(item.id))
    }
    bulk.insert(connection, followed, [*written.values()], _REPLACE)
    now.update((item.id, item) for item in changes.changed)
    for chunk in chunks([item.id for item in changes.settlements]):
        connection.execute(_UNFOLLOW, {"ids": chunk})
    for item in changes.settlements:
        now.pop(item.id, None)
    return now


def _row(item: Tracked) -> dict[str, str]:
    return {"id": item.id, "state": encode(replace(item, seen_open=None, last_lookup=0.0))}


def _durable(item: Tracked | None) -> Tracked | None:
    """What a restart must find of a record; when to look it up next is found anew."""
    if item is None:
        return None
    return replace(item, due=0.0, seen_open=None, last_lookup=0.0, lookups=0, result_lookups=0)


def number(
    connection: sa.Connection, had: Mapping[Series, int], increments: Iterable[Increment]
) -> Mapping[Series, int]:
    """Give numbers to the series that records move for the first time."""
    new = effects.unnumbered(increments, had)
    if not new:
        return had
    rows = [{"number": number_, **tables.name_of(series)} for series, number_ in new.items()]
    bulk.insert(connection, moving, rows)
    return {**had, **new}


def settle(
    connection: sa.Connection,
    settlements: list[Settlement],
    moved: Iterable[str],
    *,
    wall: float,
    time: float,
) -> None:
    """Write what left the open set, and what each moved: an id a second time, and the whole commit fails.

    Moments of ledger time are written as dates of our wall clock, which shows `wall` at `time`.
    """
    rows = [
        {
            "id": item.id,
            "outcome": item.outcome,
            "result": item.record.result_status if item.record else None,
            "found": wall - (time - item.found),
            "settled": wall,
            "started": item.record.start if item.record else None,
            "ended": item.record.end if item.record else None,
            "looks": item.lookups,
            "done": None if item.done is None else wall - (time - item.done),
            "moved": text,
        }
        for item, text in zip(settlements, moved, strict=True)
    ]
    bulk.insert(connection, settled, rows)


def added(
    increments: Iterable[Increment],
    had: Mapping[Series, Sample],
    siblings: Callable[[Series], Iterable[Series]],
    newborn: Sample,
) -> dict[Series, Sample]:
    """Sum increments up by series; one that is born brings its siblings with it, as `newborn`."""
    sums: dict[Series, float] = {}
    exemplars: dict[Series, Exemplar] = {}
    for increment in increments:
        series = increment.series
        sums[series] = sums.get(series, 0.0) + increment.value
        if increment.exemplar is not None:
            exemplars[series] = increment.exemplar
    born = (sibling for series in sums if series not in had for sibling in siblings(series))
    new = {series: newborn for series in born if series not in had}
    for series, value in sums.items():
        new[series] = replace(had.get(series, newborn), value=value, exemplar=exemplars.get(series))
    return new


def upsert(connection: sa.Connection, added: Mapping[Series, Sample]) -> None:
    """Add to counters, making those that are not there."""
    rows = [tables.row_of(series, added[series]) for series in sorted(added)]
    bulk.insert(connection, counters, rows, _ADD)


def keep_latest(
    connection: sa.Connection, had: Mapping[Series, float], new: Mapping[Series, float]
) -> Mapping[Series, float]:
    """Keep the greatest value of each: rows of `counters` too, of a part of their own."""
    greater = {series: value for series, value in new.items() if value > had.get(series, float("-inf"))}
    upsert(
        connection,
        {
            Series(series.family, series.labels, "latest"): Sample(
                value=value - had.get(series, 0.0), born=0.0
            )
            for series, value in greater.items()
        },
    )
    return {**had, **greater}


def keep_failures(
    connection: sa.Connection, had: tuple[FailedRecord, ...], settlements: list[Settlement]
) -> tuple[FailedRecord, ...]:
    """Keep the newest records that did not succeed."""
    new = [item.failure for item in settlements if item.failure is not None]
    if not new:
        return had
    bulk.insert(connection, failures, [{"state": encode(item)} for item in new[-KEPT_FAILURES:]])
    newest = sa.select(failures.c.number).order_by(failures.c.number.desc()).limit(KEPT_FAILURES)
    connection.execute(sa.delete(failures).where(failures.c.number.not_in(newest)))
    return (*reversed(new), *had)[:KEPT_FAILURES]


def keep_recent(
    connection: sa.Connection,
    had: Recent,
    settlements: list[Settlement],
    samples: Mapping[Series, Sample],
    now: float,
) -> Recent:
    """Keep the tallies of the last hours."""
    if not settlements:
        return had
    moved = (increment.series for item in settlements for increment in item.increments)
    of_idcs = (series for series in moved if series.family == "job_idc_records_total")
    idcs = {series.labels[0][1] for series in of_idcs if series in samples}
    new = tallied(settlements, idcs=idcs, now=now)
    kept = merged(had, new, now=now)
    gone = [number for number in had if number not in kept]
    for chunk in range(0, len(gone), CHUNK):
        connection.execute(sa.delete(recent).where(recent.c.number.in_(gone[chunk : chunk + CHUNK])))
    rows = [{"number": number, "state": encode(kept[number])} for number in new]
    bulk.insert(connection, recent, rows, _REPLACE_NUMBER)
    return kept
