"""Addresses of ledgers, as every command takes them. No error repeats one: it may hold a password."""

from pathlib import Path

import sqlalchemy as sa

from exporter.ledger.errors import LedgerError

IN_MEMORY = (None, "", ":memory:")  # what SQLite is told instead of a file
ADVICE = "write sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME"


def parsed(url: str) -> sa.URL:
    """Read an address; PostgreSQL is reached by psycopg. Raises LedgerError."""
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise LedgerError(f"state.url is not understood; {ADVICE}") from None
    except ValueError:
        # A password without @HOST stands where a port belongs.
        raise LedgerError(
            f"state.url is not understood: its port is not a number, or its host is missing; {ADVICE}"
        ) from None
    if address.drivername == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    return address


def sqlite_path(address: sa.URL) -> Path | None:
    """The file of an SQLite ledger; None: it is on a server. Raises LedgerError for one in memory."""
    if address.get_backend_name() != "sqlite":
        return None
    if address.database in IN_MEMORY:
        raise LedgerError(
            "state.url names no file, and a ledger in memory forgets what was counted; "
            "write sqlite:///job-exporter.db"
        )
    return Path(str(address.database))


def named(address: sa.URL) -> str:
    """Name the database of an address, without anything that may be a password."""
    return address.set(query={}).render_as_string(hide_password=True)
