"""A real PostgreSQL on a private Unix socket: one server for a run of tests, a database for each test."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import sqlalchemy as sa

MISSING = "PostgreSQL is not installed here (apt-get install postgresql)"
START = 30.0  # seconds that a server may take to start or stop
# Fast, and forgetful only of a machine's own end, of which no test here is about.
QUICK: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_NUMBERS = count(1)


class Postgres:
    """A server: `url` names a new database of it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._data, self._settings = folder / "data", settings
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged()
        if self._user is not None:
            shutil.chown(folder, *self._user)

    def create(self) -> None:
        """Make its files; the superuser is `tester`, and everyone is believed."""
        options = ("-D", str(self._data), "-U", "tester", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        subprocess.run(
            [_program("initdb"), *options],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as_user(),
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        given = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **self._settings}
        settings = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self._data), *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._as_user(),
            )
        deadline = time.monotonic() + START
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts all connections in good order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START)
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all of its children, each of which is a session of its own."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        for process in (main, *main.children()):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def query(self, url: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in the database of a ledger, as the superuser."""
        return self.execute(*statements, database=sa.make_url(url).database or "")

    def url(self, name: str | None = None, *, user: str = "tester") -> str:
        """The address of a database; without a name of a new one."""
        if name is None:
            name = f"ledger{next(_NUMBERS)}"
            self.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{user}@/{name}?host={self.folder}"

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser; the rows of the last one."""
        with psycopg.connect(
            host=str(self.folder), user="tester", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []}


def _unprivileged() -> tuple[int, int] | None:
    """Who runs the server: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise LookupError("no user to run PostgreSQL as")


def _program(name: str) -> str:
    """Where a program of the server is; Debian keeps most of them off the PATH.

    Without it the test fails where CI is set, and is skipped with a word on a person's machine.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


@contextmanager
def server(settings: Mapping[str, str] = QUICK) -> Iterator[Postgres]:
    """Run a server until the block ends."""
    # Not below pytest's folder: the path of a socket has about a hundred characters at most.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    postgres = Postgres(folder, settings)
    try:
        postgres.create()
        postgres.start()
        yield postgres
    finally:
        postgres.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def cut_at_commit(engine: sa.Engine, *, done: bool, after: int = 0) -> None:
    """Cut the connection at a COMMIT, once so many others have passed.

    `done`: after the server has done it; else before it hears of it.
    """
    left = after

    def commit(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raw: Any = connection.connection.driver_connection
            if done:
                raw.commit()
            raw.close()

    sa.event.listen(engine, "commit", commit)
