"""The address of a ledger (`state.url`). Errors do not repeat it: it may contain a password."""

from pathlib import Path

import sqlalchemy as sa

from exporter.ledger.errors import LedgerError

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
IN_MEMORY = (None, "", ":memory:")  # names of SQLite databases without a file
ADVICE = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


def parsed(url: str) -> sa.URL:
    """Parse an address; PostgreSQL is reached through psycopg. Raises LedgerError."""
    try:
        address = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # a password without @HOST is read as a port
        raise LedgerError(f"state.url is not a database address, or the host is missing; {ADVICE}") from None
    if address.drivername not in DRIVERS:
        raise LedgerError(f"state.url names a database that is not supported; {ADVICE}")
    return address.set(drivername=DRIVERS[address.drivername])


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite ledger; None for PostgreSQL. Raises LedgerError, also for one in memory."""
    address = parsed(url)
    if address.drivername != "sqlite":
        return None
    if address.database in IN_MEMORY:
        raise LedgerError(
            "state.url names no file, and a ledger in memory is lost at the end of the process; "
            "write sqlite:///job-exporter.db"
        )
    return Path(str(address.database))
