"""The ledger's tables, and how values stand in their rows.

Table names have a prefix: on PostgreSQL the database may be another application's too. That of another
SQLite database is refused as a whole.
"""

from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.model import Exemplar, Sample, Series

T = TypeVar("T")

PREFIX = "job_exporter_"

METADATA = sa.MetaData()

meta = sa.Table(
    PREFIX + "meta",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
followed = sa.Table(  # the open set
    PREFIX + "followed",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
)
settled = sa.Table(  # every record that left the open set: the primary key makes counting exactly-once
    PREFIX + "settled",
    METADATA,
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
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("family", sa.String(128), nullable=False),
    sa.Column("labels", sa.Text, nullable=False),  # JSON: [[name, value], …]
    sa.Column("part", sa.String(32), nullable=False),
)
counters = sa.Table(
    PREFIX + "counters",
    METADATA,
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
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("state", sa.Text, nullable=False),
)
recent = sa.Table(  # tallies of the last hours, for the page
    PREFIX + "recent",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
)
leader = sa.Table(  # one row: who may write, see `lease`; with SQLite nobody asks
    PREFIX + "leader",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.String(300), nullable=False),
    sa.Column("until", sa.Double, nullable=False),  # POSIX seconds, by the database's clock
)


# All that a ledger remembers: not who leads.
TABLES = tuple(table for table in METADATA.sorted_tables if table is not leader)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far polling has come, as of the last commit."""

    time: float  # ledger time
    wall: float  # our wall clock then
    tail: Tail


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
