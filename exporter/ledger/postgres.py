"""What only PostgreSQL needs: connections that notice a dead server, and limits on transactions.

All settings apply to one transaction and no statement is prepared, so any connection pooler can stand in
between.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from exporter.ledger.errors import LedgerError

# A broken connection is noticed after 5 s of silence and 3 keepalives 2 s apart; data that was sent and not
# confirmed, after 10 s.
CONNECTION: Mapping[str, str] = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "client_encoding": "utf8",  # a database in SQL_ASCII (a server in the C locale) would answer in bytes
}
TICK = 0.5  # seconds between two calls while an answer is overdue; deadlines are some seconds


def make_engine(address: sa.URL, caller: str) -> sa.Engine:
    """Make an engine that sends each statement as one message, with its values in the text.

    The server can end a transaction that is idle between two statements, but not one that is between two
    messages of a statement, as psycopg usually sends it. A process that is paused there would keep its locks.
    """
    try:
        import psycopg  # noqa: PLC0415  (an extra: needed for PostgreSQL only)
    except ImportError:
        raise LedgerError("PostgreSQL needs the package psycopg; install job-exporter[postgresql]") from None
    return sa.create_engine(
        address.set(
            query={"application_name": f"job-exporter {caller}".rstrip(), **CONNECTION, **address.query}
        ),
        pool_size=2,  # one for a commit, one for a heartbeat at the same time
        pool_pre_ping=True,  # after a restart of the server no commit fails
        connect_args={"cursor_factory": psycopg.ClientCursor},
    )


def limit(connection: sa.Connection, idle: float, statement: float) -> None:
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


@contextlib.contextmanager
def watched(seconds: float, bark: Callable[[], None]) -> Iterator[Callable[..., None]]:
    """Call `bark` from a thread while an answer is overdue; yield a function for the start of each statement.

    A connection can be open and silent for ever: a proxy may drop the server's side, keep ours, and answer
    keepalives itself. So each statement has a deadline of its own.
    """
    deadline, ended = time.monotonic() + seconds, threading.Event()

    def renew(*_: object) -> None:
        nonlocal deadline
        deadline = time.monotonic() + seconds

    def watch() -> None:
        while not ended.wait(max(deadline - time.monotonic(), TICK)):
            if deadline < time.monotonic():
                bark()

    threading.Thread(target=watch, name="ledger watch", daemon=True).start()
    try:
        yield renew
    finally:
        ended.set()


def hang_up(connection: Any) -> None:
    """End a connection while another thread may be waiting for its answer."""
    with (
        contextlib.suppress(Exception),  # it may be closed already
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)
