"""The ledger's tables, its numbered migrations, and how a change of the metrics' layout is carried over.

Table names have a prefix: on PostgreSQL the database may be another application's too. That of another
SQLite database is refused as a whole.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger import bulk
from exporter.ledger.errors import SchemaError
from exporter.model import UNKNOWN, Exemplar, Sample, Series

T = TypeVar("T")

PREFIX = "job_exporter_"
FINISHED = "job_records_finished_total"  # the one family whose labels are a setting

_tables = sa.MetaData()

meta = sa.Table(
    PREFIX + "meta",
    _tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
followed = sa.Table(  # the open set
    PREFIX + "followed",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
)
settled = sa.Table(  # every record that left the open set: the primary key makes counting exactly-once
    PREFIX + "settled",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("result", sa.String(16)),
    sa.Column("found", sa.Double, nullable=False),
    sa.Column("settled", sa.Double, nullable=False, index=True),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("looks", sa.Integer),  # that were answered; a restart may forget some
    sa.Column("done", sa.Double),  # first seen done
    sa.Column("moved", sa.Text),  # which counters grew by how much: see `tracking.effects`
)
moving = sa.Table(  # the series that records moved, by the numbers in `settled.moved`: append only
    PREFIX + "series",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("family", sa.String(128), nullable=False),
    sa.Column("labels", sa.Text, nullable=False),  # JSON: [[name, value], …]
    sa.Column("part", sa.String(32), nullable=False),
)
counters = sa.Table(
    PREFIX + "counters",
    _tables,
    sa.Column("family", sa.String(128), primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),  # JSON: [[name, value], …]
    sa.Column("part", sa.String(32), primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("born", sa.Double, nullable=False),
    sa.Column("held_until", sa.Double, nullable=False),
    sa.Column("held_at", sa.Double, nullable=False),
    sa.Column("exemplar", sa.Text),
)
failures = sa.Table(
    PREFIX + "failures",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("state", sa.Text, nullable=False),
)
recent = sa.Table(  # tallies of the last hours, for the page
    PREFIX + "recent",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
)
leader = sa.Table(  # one row: who may write, see `lease`; with SQLite nobody asks
    PREFIX + "leader",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.String(300), nullable=False),
    sa.Column("until", sa.Double, nullable=False),  # POSIX seconds, by the database's clock
)


# All that a ledger remembers: not who leads.
TABLES = tuple(table for table in _tables.sorted_tables if table is not leader)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far polling has come, as of the last commit."""

    time: float  # ledger time
    wall: float  # our wall clock then
    tail: Tail


def _first(connection: sa.Connection) -> None:
    _tables.create_all(connection)
    if connection.scalar(sa.select(leader.c.number)) is None:
        connection.execute(sa.insert(leader).values(number=1, term=0, holder="", until=0.0))


# A ledger of version n has had the first n applied. Append; never change one that was released.
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first,)

# What a process that migrates holds until its transaction ends, so that two that start together on an empty
# database do not collide: an advisory lock with a number that nobody else has.
MIGRATING = int.from_bytes(b"job-exp\0", "big")


def migrate(connection: sa.Connection) -> None:
    """Bring the ledger to the newest version. Raises SchemaError: not a ledger, or a newer one."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
    had = version(connection) or 0
    if had > len(MIGRATIONS):
        raise SchemaError(
            f"it has version {had}, this program knows {len(MIGRATIONS)}; start the newer program again"
        )
    for migration in MIGRATIONS[had:]:
        migration(connection)
    if had < len(MIGRATIONS):
        put(connection, "version", len(MIGRATIONS))


def version(connection: sa.Connection) -> int | None:
    """How many migrations the ledger has had; None: there is none. Raises SchemaError: it is no ledger."""
    inspector = sa.inspect(connection)
    tables = set(inspector.get_table_names())
    if meta.name in tables and {"key", "value"} <= {
        column["name"] for column in inspector.get_columns(meta.name)
    }:
        had = get(connection, "version", int)
        # SQLite makes tables outside transactions: without a version a first start was cut short.
        if had is not None or connection.dialect.name == "sqlite":
            return had
    elif tables and connection.dialect.name == "sqlite":
        raise SchemaError("it is the database of another program; name another file in state.url")
    if taken := sorted(tables & set(_tables.tables)):
        raise SchemaError(
            f"{', '.join(taken)} there {'is' if len(taken) == 1 else 'are'} another program's; "
            "name another database, or a schema of its own, in state.url"
        )
    return None


def claim(connection: sa.Connection, platform: str) -> None:
    """Make the ledger that of this platform. Raises SchemaError if it is another's (rule 11)."""
    owner = get(connection, "platform", str)
    if owner is None:
        put(connection, "platform", platform)
    elif owner != platform:
        raise SchemaError(
            f"it belongs to the platform {owner}, not {platform}; "
            "name another ledger in state.url, or that platform in api.base-url"
        )


def get(connection: sa.Connection, key: str, type_: type[T]) -> T | None:
    """A value of `meta`; None if it was never put."""
    value = connection.scalar(sa.select(meta.c.value).where(meta.c.key == key))
    return None if value is None else msgspec.json.decode(value, type=type_)


def put(connection: sa.Connection, key: str, value: Any) -> None:
    """Put a value into `meta`."""
    text = encode(value)
    if not connection.execute(sa.update(meta).where(meta.c.key == key).values(value=text)).rowcount:
        connection.execute(sa.insert(meta).values(key=key, value=text))


def encode(value: Any) -> str:
    """JSON as the ledger keeps it."""
    return msgspec.json.encode(value).decode()


def name_of(series: Series) -> dict[str, Any]:
    """The columns that name a series."""
    return {"family": series.family, "labels": encode(series.labels), "part": series.part}


def row_of(series: Series, sample: Sample) -> dict[str, Any]:
    """A row of `counters`."""
    return {
        **name_of(series),
        "value": sample.value,
        "born": sample.born,
        "held_until": sample.held_until,
        "held_at": sample.held_at,
        "exemplar": encode(sample.exemplar) if sample.exemplar else None,
    }


def series_of(row: sa.Row[Any]) -> Series:
    """The series that a row names."""
    labels = msgspec.json.decode(row.labels, type=tuple[tuple[str, str], ...])
    return Series(row.family, labels, row.part)


def sample_of(row: sa.Row[Any]) -> Sample:
    """The sample of a row of `counters`."""
    exemplar = msgspec.json.decode(row.exemplar, type=Exemplar) if row.exemplar else None
    return Sample(
        value=row.value,
        born=row.born,
        exemplar=exemplar,
        held_until=row.held_until,
        held_at=row.held_at,
    )


def lay_out(
    connection: sa.Connection,
    *,
    record_labels: tuple[str, ...],
    buckets: Mapping[str, tuple[float, ...]],
    held_until: float,
) -> list[str]:
    """Rule 8: give the counters the layout of the settings; what was done, in words for the log.

    Counters with new labels are new series. Until `held_until` (ledger time) they are shown at what was
    carried over, so that Prometheus sees what they count next as an increase.
    """
    notes = []
    had_labels = get(connection, "record_labels", tuple[str, ...])
    if had_labels is not None and had_labels != record_labels:
        _relabel(connection, record_labels, held_until)
        notes.append(
            f"record labels changed from {', '.join(had_labels) or 'none'} to "
            f"{', '.join(record_labels) or 'none'}: counters were carried over"
        )
    put(connection, "record_labels", record_labels)
    for family, bounds in buckets.items():
        had_bounds = get(connection, "buckets " + family, tuple[float, ...])
        if had_bounds is not None and had_bounds != bounds:
            connection.execute(sa.delete(counters).where(counters.c.family == family))
            notes.append(f"buckets of {family} changed: that histogram starts anew")
        put(connection, "buckets " + family, bounds)
    return notes


def _relabel(connection: sa.Connection, record_labels: tuple[str, ...], held_until: float) -> None:
    """Sum removed labels away, give added ones the value `unknown`."""
    merged: dict[Series, Sample] = {}
    of_family = counters.c.family == FINISHED
    for row in connection.execute(sa.select(counters).where(of_family)):
        had = dict(series_of(row).labels)
        kept = tuple((name, had.get(name, UNKNOWN)) for name in ("result_status", *record_labels))
        series, sample = Series(FINISHED, kept), sample_of(row)
        if series in merged:
            before = merged[series]
            sample = Sample(value=before.value + sample.value, born=min(before.born, sample.born))
        merged[series] = sample
    held = {
        series: Sample(
            value=sample.value,
            born=sample.born,
            exemplar=sample.exemplar,
            held_until=held_until,
            held_at=sample.value,
        )
        for series, sample in merged.items()
    }
    connection.execute(sa.delete(counters).where(of_family))
    bulk.insert(connection, counters, [row_of(*item) for item in held.items()])


def bear(connection: sa.Connection, initial: Iterable[Series], *, born: float, held_until: float) -> None:
    """Make the series that exist from the start, at 0, where they are not there yet.

    What is there is not asked for: who is paused while it reads much holds its locks as long.
    """
    zero = Sample(value=0.0, born=born, held_until=held_until)
    rows = [row_of(series, zero) for series in initial]
    bulk.insert(connection, counters, rows, "ON CONFLICT DO NOTHING")
