"""What the README says of connection poolers, with a real PgBouncer, which CI has."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from exporter.ledger.errors import LedgerError, LostLeadershipError
from exporter.ledger.ledger import Ledger
from tests.harness.core import NOW
from tests.harness.postgres import Postgres
from tests.ledger.test_lease import LAYOUT, PLATFORM, expire, finished, settle

MISSING = "PgBouncer is not installed here (apt-get install pgbouncer)"
START = 30.0  # seconds that it may take to answer
HOURS = 3600.0  # a lease that no test outlives


@contextmanager
def pooled(postgres: Postgres, url: str, mode: str) -> Iterator[str]:
    """Run a pooler before the server; the address of the same database through it."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir="/tmp"))
    (folder / "users").write_text('"tester" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host={postgres.folder} user=tester\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
        f"pool_mode = {mode}\ndefault_pool_size = 4\n"
    )
    user = pwd.getpwuid(postgres.folder.stat().st_uid)
    shutil.chown(folder, user.pw_uid, user.pw_gid)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-u", user.pw_name, folder / "ini"], stdout=log, stderr=log)
        try:
            _wait(port, process, folder / "log")
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/{sa.make_url(url).database}"
        finally:
            process.terminate()
            process.wait(START)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return


def opened(url: str, lease: float = HOURS) -> Ledger:
    """Open a replica's ledger."""
    return Ledger(url, platform=PLATFORM, now=NOW, layout=LAYOUT, lease=lease)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_replicas_share_a_ledger_behind_a_pooler(postgres: Postgres, postgres_url: str, mode: str) -> None:
    """Behind a pooler one replica leads, the other sees each commit, and a replaced leader writes nothing."""
    with (
        pooled(postgres, postgres_url, mode) as url,
        closing(opened(url)) as first,
        closing(opened(url)) as second,
    ):
        assert (first.leads, second.leads) == (True, False)
        for number in range(20):
            settle(first, f"a{number}")
            second.refresh()
            assert finished(second) == number + 1
        expire(first)
        assert second.take_lead(now=NOW)
        with pytest.raises(LostLeadershipError):
            settle(first, "b")
        settle(second, "b")
        assert finished(second) == 21


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_silent_transaction_is_ended_behind_a_pooler(
    postgres: Postgres, postgres_url: str, mode: str
) -> None:
    """The limits of a transaction also work behind a pooler."""
    with (  # noqa: PT012
        pooled(postgres, postgres_url, mode) as url,
        closing(opened(url, lease=1.0)) as first,
        closing(opened(postgres_url, lease=1.0)) as second,
        pytest.raises(LedgerError),
        first._writing() as connection,
    ):
        while not second.take_lead(now=NOW):
            time.sleep(0.02)
        connection.execute(sa.text("SELECT 1"))


def test_a_pooler_of_statements_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """A pooler of statements, which breaks transactions, is refused with advice."""
    with pooled(postgres, postgres_url, "statement") as url:
        with pytest.raises(LedgerError, match="set the pooler to pool sessions or transactions"):
            opened(url)
        assert (
            postgres.query(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
        )
