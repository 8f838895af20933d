"""The statements of a commit, one function each. All run in the transaction of `Ledger.commit`.

Each writes its part of the changes, and returns that part of the state after the commit.
"""

from collections.abc import Iterable, Iterator, Mapping

import sqlalchemy as sa
from msgspec.structs import replace

from exporter.ledger import bulk, tables
from exporter.ledger.tables import counters, encode, failures, followed, moving, recent, settled
from exporter.model import FailedRecord, Sample, Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.tallies import Recent, merged, tallied
from exporter.tracking.values import Changes, Outcome, Settlement, Tracked

KEPT_SETTLED = 5_000  # newest ids that are never pruned: a re-check of the tail can meet them again
KEPT_FAILURES = 200  # lines on the page of recent failures
CHUNK = 500  # ids in one statement: SQLite takes at least 999 parameters

# Made once: making a statement takes longer than running it on a few rows.
_SOME: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
_KNOWN = sa.select(settled.c.id).where(settled.c.id.in_(_SOME), settled.c.outcome != Outcome.VANISHED)
_COUNTED = sa.select(settled.c.id).where(settled.c.id.in_(_SOME))
_REVIVE = sa.delete(settled).where(settled.c.id.in_(_SOME), settled.c.outcome == Outcome.VANISHED)
_UNFOLLOW = sa.delete(followed).where(followed.c.id.in_(_SOME))
_REPLACE = "ON CONFLICT (id) DO UPDATE SET state = excluded.state"
_REPLACE_NUMBER = "ON CONFLICT (number) DO UPDATE SET state = excluded.state"
_ADD = (
    "ON CONFLICT (family, labels, part) DO UPDATE SET "
    f"value = {counters.name}.value + excluded.value, "
    f"exemplar = coalesce(excluded.exemplar, {counters.name}.exemplar)"
)


def chunks(ids: list[str]) -> Iterator[list[str]]:
    """Split ids into parts for one statement each."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def known(connection: sa.Connection, ids: list[str]) -> Iterator[str]:
    """Which of these records were settled and have not vanished."""
    for chunk in chunks(ids):
        yield from connection.scalars(_KNOWN, {"ids": chunk})


def counted(connection: sa.Connection, ids: list[str]) -> Iterator[str]:
    """Which of these records were settled before; the primary key is the second safeguard."""
    for chunk in chunks(ids):
        yield from connection.scalars(_COUNTED, {"ids": chunk})


def revive(connection: sa.Connection, ids: list[str]) -> int:
    """Delete these records where they had vanished; return how many."""
    gone = 0
    for chunk in chunks(ids):
        gone += connection.execute(_REVIVE, {"ids": chunk}).rowcount
    return gone


def follow(connection: sa.Connection, had: Mapping[str, Tracked], changes: Changes) -> Mapping[str, Tracked]:
    """Write which records are followed."""
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
    """What must survive a restart; the time of the next look-up is not part of it."""
    if item is None:
        return None
    return replace(item, due=0.0, seen_open=None, last_lookup=0.0, lookups=0, result_lookups=0)


def number(
    connection: sa.Connection, had: Mapping[Series, int], increments: Iterable[Increment]
) -> Mapping[Series, int]:
    """Number the series that have no number yet."""
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
    """Write settled records with their increments. An id that is there already fails the whole commit.

    `wall` is our wall clock at ledger time `time`; times are stored by the wall clock.
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


def upsert(connection: sa.Connection, added: Mapping[Series, Sample]) -> None:
    """Add to counters; insert those that are new."""
    rows = [tables.row_of(series, added[series]) for series in sorted(added)]
    bulk.insert(connection, counters, rows, _ADD)


def keep_latest(
    connection: sa.Connection, had: Mapping[Series, float], new: Mapping[Series, float]
) -> Mapping[Series, float]:
    """Keep the greatest value of each gauge, as the part `latest` in the table of counters."""
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
    """Keep the newest failures."""
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
    connection.execute(sa.delete(recent).where(recent.c.number.in_(gone)))
    rows = [{"number": number, "state": encode(kept[number])} for number in new]
    bulk.insert(connection, recent, rows, _REPLACE_NUMBER)
    return kept


def prune(
    connection: sa.Connection, before: float, start: CountingStart | None
) -> tuple[int, CountingStart | None]:
    """Delete old settled records, see `Ledger.prune`; return how many, and where counting began."""
    newest = sa.select(settled.c.id).order_by(settled.c.settled.desc()).limit(KEPT_SETTLED)
    over = (sa.or_(at.is_(None), at <= before) for at in (settled.c.started, settled.c.ended))
    old = sa.and_(settled.c.settled < before, *over, settled.c.id.not_in(newest))
    bounds = sa.select(sa.func.max(settled.c.ended), sa.func.max(settled.c.started)).where(old)
    ended, started = connection.execute(bounds).one()
    gone = connection.execute(sa.delete(settled).where(old)).rowcount
    if gone and start is not None:
        start = start.pruned(ended=ended or 0.0, started=started or 0.0)
        tables.put(connection, "beginning", start)
    return gone, start
