"""What only PostgreSQL needs: connections that notice a dead server, limits on transactions, notifications.

All settings apply to one transaction and no statement is prepared, so any connection pooler can stand in
between.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import sqlalchemy as sa

from exporter.ledger.errors import LedgerError, SchemaError, advised

OLDEST = 13  # the oldest version with support when this was written
# A broken connection is noticed after 5 s of silence and 3 keepalives 2 s apart; data that was sent and not
# confirmed, after 10 s.
CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "utf8",  # a database in SQL_ASCII (a server in the C locale) would answer in bytes
}
SILENCE_SECONDS = 30.0  # without a notification, after which the connection is tested


def make_engine(url: sa.URL, *, caller: str) -> sa.Engine:
    """Make an engine that sends each statement as one message, with its values in the text.

    The server can end a transaction that is idle between two statements, but not one that is between two
    messages of a statement, as psycopg usually sends it. A process that is paused there would keep its locks.
    """
    psycopg = _driver()
    given = {name: value for name, value in CONNECTION.items() if name not in url.query}
    engine = sa.create_engine(
        url,
        pool_size=2,  # one for a commit, one for a heartbeat at the same time
        pool_pre_ping=True,  # after a restart of the server no commit fails
        connect_args={"cursor_factory": psycopg.ClientCursor, "application_name": caller, **given},
    )
    sa.event.listen(engine, "connect", _require_version)
    return engine


def limit(connection: sa.Connection, *, idle: float, statement: float) -> None:
    """Set the server's limits for this transaction: seconds between statements, and of one statement."""
    seconds = {
        "idle_in_transaction_session_timeout": idle,
        "lock_timeout": idle,
        "statement_timeout": statement,
    }
    settings = [
        sa.func.set_config(name, f"{max(1, round(value * 1000))}ms", True) for name, value in seconds.items()
    ]
    connection.execute(sa.select(*settings))


async def notifications(
    engine: sa.Engine, channel: str, *, name: str, caller: str, answer: float
) -> AsyncIterator[None]:
    """Yield once when listening begins and at each notification.

    Raises LedgerError when the connection breaks, or does not answer a test within `answer` seconds.
    """
    psycopg = _driver()
    _, given = engine.dialect.create_connect_args(engine.url)
    settings = {"application_name": caller, **CONNECTION, **given}
    try:
        async with await psycopg.AsyncConnection.connect(**settings, autocommit=True) as connection:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            yield
            while True:
                async for _ in connection.notifies(timeout=SILENCE_SECONDS):
                    yield
                async with asyncio.timeout(answer):
                    await connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise LedgerError(f"ledger {name}: {advised(str(error))}") from None
    except TimeoutError:
        raise LedgerError(f"ledger {name}: the connection for notifications is silent") from None


def hang_up(connection: Any) -> None:
    """End a connection while another thread may be waiting for its answer."""
    with (
        contextlib.suppress(Exception),  # it may be closed already
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


def _driver() -> Any:
    try:
        import psycopg  # noqa: PLC0415  (an extra: needed for PostgreSQL only)
    except ImportError:
        raise LedgerError("PostgreSQL needs the package psycopg; install job-exporter[postgresql]") from None
    return psycopg


def _require_version(connection: Any, _record: Any) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        connection.close()
        raise SchemaError(
            f"PostgreSQL {version} is too old; {OLDEST} or newer is needed, or SQLite: "
            "name another database in state.url"
        )
