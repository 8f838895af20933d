"""The ledger's numbered migrations, and whose ledger a database is."""

from collections.abc import Callable

import sqlalchemy as sa

from exporter.ledger.errors import SchemaError
from exporter.ledger.tables import METADATA, get, leader, meta, put


def _first(connection: sa.Connection) -> None:
    METADATA.create_all(connection)
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
    if taken := sorted(tables & set(METADATA.tables)):
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
