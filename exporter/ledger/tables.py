"""The ledger's tables, how values are stored in their rows, their migrations, and whose they are.

Table names have a prefix, because a PostgreSQL database may contain tables of other applications.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger.errors import SchemaError
from exporter.model import Exemplar, Sample, Series
from exporter.tracking.counting_start import CountingStart

T = TypeVar("T")

METADATA = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(f"job_exporter_{name}", METADATA, *columns)


def _text(name: str, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.Integer, primary_key=True, autoincrement=False)


# Single values, as JSON.
meta = _table("meta", sa.Column("key", sa.String(64), primary_key=True), _text("value"))
# Open and pending records.
followed = _table("followed", sa.Column("id", sa.String(64), primary_key=True), _text("state"))
# Records that are no longer followed; the primary key makes counting exactly-once.
settled = _table(
    "settled",
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("result", sa.String(16)),
    sa.Column("found", sa.Double, nullable=False),
    sa.Column("settled", sa.Double, nullable=False, index=True),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("looks", sa.Integer),  # look-ups with an answer; a restart may forget some
    sa.Column("done", sa.Double),  # first seen done
    sa.Column("moved", sa.Text),  # its increments: see `tracking.effects`
)
# Numbers of series, as used in `settled.moved`; rows are never changed. Labels are JSON: [[name, value], …].
moving = _table(
    "series",
    _number(),
    sa.Column("family", sa.String(128), nullable=False),
    _text("labels"),
    sa.Column("part", sa.String(32), nullable=False),
)
counters = _table(
    "counters",
    sa.Column("family", sa.String(128), primary_key=True),
    _text("labels", key=True),
    sa.Column("part", sa.String(32), primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("born", sa.Double, nullable=False),
    sa.Column("held_until", sa.Double, nullable=False),
    sa.Column("held_at", sa.Double, nullable=False),
    sa.Column("exemplar", sa.Text),
)
# Recent failures, and tallies of the last hours, for the status page.
failures = _table("failures", _number(), _text("state"))
recent = _table("recent", _number(), _text("state"))
# One row: the lease, see `lease`; not used with SQLite.
leader = _table(
    "leader",
    _number(),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.String(300), nullable=False),
    sa.Column("until", sa.Double, nullable=False),  # POSIX seconds by the database's clock
)

COPIED = tuple(table for table in METADATA.sorted_tables if table is not leader)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The small part of the state, as of the last commit; the defaults are a new ledger's."""

    time: float = 1_000_000.0  # ledger time; small, so that nobody takes it for a POSIX time
    wall: float = 0.0  # our wall clock at that time
    tail: Tail = msgspec.field(default_factory=Tail)
    counting_start: CountingStart | None = None
    latest: tuple[tuple[Series, float], ...] = ()  # gauges that keep their highest value


def insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    existing: Literal["refuse", "skip", "replace"] = "refuse",
) -> None:
    """Insert rows that have the same columns; `existing`: what to do with a row whose key is in the table.

    PostgreSQL gets the rows as one JSON text. That takes a fifth of the time of SQLAlchemy's own statements
    for many rows, and it is safe: if a process is paused while it sends a pipeline of messages, the server
    waits for the rest for ever and keeps all locks; between two statements it ends the transaction (see
    `postgres`).
    """
    if not rows:
        return
    columns, keys = list(rows[0]), table.primary_key.columns.keys()
    names = ", ".join(columns)
    values = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    on_conflict = {
        "refuse": "",
        "skip": "ON CONFLICT DO NOTHING",
        "replace": f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {values}",
    }[existing]
    parameters: Any = rows
    source = f"VALUES ({', '.join(':' + name for name in columns)})"
    if connection.dialect.name == "postgresql":
        parameters = {"rows": msgspec.json.encode(rows).decode()}
        types = ", ".join(f"{name} {table.c[name].type.compile(connection.dialect)}" for name in columns)
        source = f"SELECT {names} FROM json_to_recordset(CAST(:rows AS json)) AS given ({types})"  # noqa: S608
    connection.execute(sa.text(f"INSERT INTO {table.name} ({names}) {source} {on_conflict}"), parameters)


def get(connection: sa.Connection, key: str, type_: type[T]) -> T | None:
    """Read a value of `meta`; None if there is none."""
    value = connection.scalar(sa.select(meta.c.value).where(meta.c.key == key))
    return None if value is None else msgspec.json.decode(value, type=type_)


def put(connection: sa.Connection, key: str, value: Any) -> None:
    """Write a value of `meta`."""
    insert(connection, meta, [{"key": key, "value": encode(value)}], existing="replace")


def progress(connection: sa.Connection) -> Progress:
    """Read the progress."""
    return get(connection, "progress", Progress) or Progress()


def encode(value: Any) -> str:
    """Encode as JSON."""
    return msgspec.json.encode(value).decode()


def name_of(series: Series) -> dict[str, Any]:
    """The columns that name a series."""
    return {"family": series.family, "labels": encode(series.labels), "part": series.part}


def row_of(series: Series, sample: Sample) -> dict[str, Any]:
    """A row of `counters`."""
    exemplar = encode(sample.exemplar) if sample.exemplar else None
    return {**name_of(series), **msgspec.structs.asdict(sample), "exemplar": exemplar}


def series_of(row: sa.Row[Any]) -> Series:
    """The series that a row names."""
    labels = msgspec.json.decode(row.labels, type=tuple[tuple[str, str], ...])
    return Series(row.family, labels, row.part)


def sample_of(row: sa.Row[Any]) -> Sample:
    """The sample in a row of `counters`."""
    exemplar = row.exemplar and msgspec.json.decode(row.exemplar, type=Exemplar)
    times = {"born": row.born, "held_until": row.held_until, "held_at": row.held_at}
    return Sample(value=row.value, exemplar=exemplar, **times)


# -- migrations


def _first(connection: sa.Connection) -> None:
    METADATA.create_all(connection)
    row = {"number": 1, "term": 0, "holder": "", "until": 0.0}
    insert(connection, leader, [row], existing="skip")


# A ledger of version n has had the first n. Append only; never change a released migration.
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first,)
# Key of the advisory lock that lets only one process migrate a PostgreSQL database at a time.
ADVISORY_LOCK = int.from_bytes(b"job-exp\0", "big")


def migrate(connection: sa.Connection) -> None:
    """Bring a ledger to the newest version. Raises SchemaError."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    had = version(connection) or 0
    if had > len(MIGRATIONS):
        raise SchemaError(_other(had))
    for migration in MIGRATIONS[had:]:
        migration(connection)
    if had < len(MIGRATIONS):
        put(connection, "version", len(MIGRATIONS))


def require_current(connection: sa.Connection) -> None:
    """Raise SchemaError unless this is a ledger of the newest version."""
    had = version(connection)
    if had is None:
        raise SchemaError("there is no ledger in it; name the daemon's in state.url")
    if had != len(MIGRATIONS):
        raise SchemaError(_other(had))


def version(connection: sa.Connection) -> int | None:
    """The number of migrations a ledger has had; None: no ledger. Raises SchemaError: another program's."""
    inspector = sa.inspect(connection)
    names = set(inspector.get_table_names())
    columns = inspector.get_columns(meta.name) if meta.name in names else []
    is_ours = {"key", "value"} <= {column["name"] for column in columns}
    if is_ours and (had := get(connection, "version", int)) is not None:
        return had
    taken = sorted(names & set(METADATA.tables))
    if connection.dialect.name == "sqlite":
        # SQLite creates tables outside of the transaction: without a version, a first start was interrupted.
        if len(taken) < len(names):
            raise SchemaError("it is the database of another program; name another file in state.url")
    elif taken:
        raise SchemaError(
            f"it already has tables of these names that are not the exporter's: {', '.join(taken)}; "
            "name another database, or a schema of its own, in state.url"
        )
    return None


def claim(connection: sa.Connection, platform: str) -> None:
    """Make a new ledger this platform's. Raises SchemaError for another platform's (rule 11)."""
    if get(connection, "platform", str) is None:
        put(connection, "platform", platform)
    require_platform(connection, platform)


def require_platform(connection: sa.Connection, platform: str) -> None:
    """Raise SchemaError unless the ledger belongs to this platform."""
    owner = get(connection, "platform", str)
    if owner != platform:
        raise SchemaError(
            f"it belongs to the platform {owner}, not {platform}; "
            "name another ledger in state.url, or that platform in api.base-url"
        )


def _other(had: int) -> str:
    newest = len(MIGRATIONS)
    advice = "use the newer program" if had > newest else "start the daemon of this version once"
    return f"it has version {had}, this program knows version {newest}; {advice}"
