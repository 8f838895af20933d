"""The ledger's migrations, and checks of whose database it is."""

from collections.abc import Callable

import sqlalchemy as sa

from exporter.ledger.errors import SchemaError
from exporter.ledger.tables import METADATA, get, insert, leader, meta, put


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
