"""`job-exporter ledger copy`: every row arrives, the copy counts on, and what fails leaves nothing."""

import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs

from exporter.cli import main
from exporter.ledger import tables
from exporter.ledger.copy import copy
from exporter.ledger.errors import LedgerBusyError, LedgerError
from exporter.ledger.ledger import Ledger
from exporter.model import LeaderStatus
from exporter.tracking.values import Outcome, Stage, Tracked
from tests.harness.core import NOW
from tests.ledger.test_lease import LAYOUT, PLATFORM, changes, settle, settlement

SECRET = "postgresql+psycopg://me:canary@127.0.0.1:9/ledger"


@contextmanager
def opened(url: str, **given: Any) -> Iterator[Ledger]:
    """Open a ledger, and hand over at the end."""
    ledger = Ledger(
        url,
        **{"platform": PLATFORM, "now": NOW, "layout": LAYOUT, "lease": 60.0, "monotonic": float, **given},
    )
    try:
        yield ledger
        ledger.give_up_lead()
    finally:
        ledger.close()


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A ledger that has something of everything in it, names of all kinds and more rows than a batch has."""
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with opened(url) as ledger:
        odd = ["Ü-1", "ü-1", "杭州", "a'b\"c\\d", "Z", "a", "_", "0.1"]
        found = (*(Tracked(id=f"open {id_}", found=NOW, due=NOW, start=NOW / 3) for id_ in odd),)
        ledger.commit(changes(*odd, found=found), now=NOW + 0.1)
        ledger.commit(
            changes(changed=(structs.replace(found[0], stage=Stage.DONE, done=NOW),)), now=NOW + 0.2
        )
        gone = replace(settlement("gone"), outcome=Outcome.VANISHED, increments=(), record=None)
        ledger.commit(changes(settlements=(gone,)), now=NOW)
        settle(ledger, *(f"r{number}" for number in range(2_300)))
    return url


def to_file(tmp_path: Path, _postgres_url: str) -> str:
    """Copy to a file."""
    return f"sqlite:///{tmp_path / 'target.db'}"


def to_server(_tmp_path: Path, postgres_url: str) -> str:
    """Copy to a server."""
    return postgres_url


TARGETS = pytest.mark.parametrize("target_of", [to_file, to_server])
Target = Callable[[Path, str], str]


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that a ledger holds."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in tables.COPIED
        }
    engine.dispose()
    return found


@TARGETS
def test_every_row_arrives_and_counting_goes_on(
    source: str, tmp_path: Path, postgres_url: str, target_of: Target
) -> None:
    """Every value of the copy equals its source to the last bit, and a daemon can count on with it."""
    target = target_of(tmp_path, postgres_url)
    before = rows(source)
    counts = copy(source, target)
    assert counts == {name: len(found) for name, found in before.items()}
    assert counts["job_exporter_settled"] == 2_309
    assert rows(target) == before == rows(source)
    with opened(source) as one, opened(target) as other:
        assert other.leads
        assert other.state == one.state
        for ledger in (one, other):
            settle(ledger, "a", "new")
        assert other.state == one.state
    assert rows(target)["job_exporter_settled"] == rows(source)["job_exporter_settled"]


def test_there_and_back_again(source: str, tmp_path: Path, postgres_url: str) -> None:
    """A ledger can be copied to PostgreSQL and back."""
    back = f"sqlite:///{tmp_path / 'back.db'}"
    copy(source, postgres_url)
    copy(postgres_url, back)
    assert rows(back) == rows(source)
    assert {path.name for path in tmp_path.iterdir()} == {
        "source.db",
        "source.db.lock",
        "back.db",
        "back.db.lock",
    }


@TARGETS
@pytest.mark.parametrize("trouble", ["lost", "changed", "failed"])
def test_a_copy_that_is_not_the_same_is_none(
    source: str, tmp_path: Path, postgres_url: str, target_of: Target, trouble: str
) -> None:
    """If a row is lost or changed on the way, the copy fails and nothing is left at the target."""
    target = target_of(tmp_path, postgres_url)
    insert = tables.insert

    def meddle(connection: sa.Connection, table: sa.Table, rows: Any, **existing: Any) -> None:
        if table is tables.counters:
            if trouble == "failed":
                raise sa.exc.OperationalError("INSERT", None, Exception("database or disk is full"))
            rows = rows[:-1] if trouble == "lost" else [*rows[:-1], _altered(rows[-1])]
        insert(connection, table, rows, **existing)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "insert", meddle)
        with pytest.raises(LedgerError, match=r"differs from its source|disk is full"):
            copy(source, target)
    assert not (tmp_path / "target.db").exists()
    assert copy(source, target)["job_exporter_settled"] == 2_309


KILLED = """
import os, sys
from exporter.ledger import copy, tables
insert = tables.insert
tables.insert = lambda on, table, *rest, **more: (
    os._exit(9) if table is tables.settled else insert(on, table, *rest, **more)
)
copy.copy(*sys.argv[1:])
"""


def test_a_copy_that_is_killed_can_be_made_again(source: str, tmp_path: Path) -> None:
    """A killed copy leaves no ledger at the target, and the next copy uses its file."""
    target = to_file(tmp_path, "")
    ended = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert ended.returncode == 9
    with pytest.raises(LedgerError, match="there is no ledger in it"):
        copy(target, f"sqlite:///{tmp_path / 'other.db'}")
    copy(source, target)
    assert rows(target) == rows(source)
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {"source.db", "target.db"}


def _altered(row: dict[str, Any]) -> dict[str, Any]:
    """Change one value in the last bit."""
    return {**row, "born": math.nextafter(row["born"], 0)}


@TARGETS
def test_a_target_that_is_not_empty_is_refused(
    source: str, tmp_path: Path, postgres_url: str, target_of: Target
) -> None:
    """A target that has a ledger is refused and left unchanged."""
    target = target_of(tmp_path, postgres_url)
    with opened(target) as ledger:
        settle(ledger, "precious")
    before = rows(target)
    with pytest.raises(LedgerError, match="already exists; name"):
        copy(source, target)
    assert rows(target) == before


def test_a_source_that_is_written_to_is_refused(source: str, tmp_path: Path, postgres_url: str) -> None:
    """A source that a daemon has in use is refused, for SQLite and for PostgreSQL."""
    target = f"sqlite:///{tmp_path / 'target.db'}"
    with opened(source), pytest.raises(LedgerBusyError, match="in use by another job-exporter"):
        copy(source, postgres_url)
    copy(source, postgres_url)
    with opened(postgres_url), pytest.raises(LedgerBusyError, match="stop all that share it"):
        copy(postgres_url, target)
    assert not (tmp_path / "target.db").exists()


def test_nobody_leads_on_a_source_while_it_is_copied(postgres_url: str, tmp_path: Path) -> None:
    """A replica that starts during a copy follows."""
    with opened(postgres_url) as ledger:
        settle(ledger, "a")
        ledger.tell(LeaderStatus(gauges=(), error=None))
    started: list[bool] = []

    def start(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO job_exporter_recent") and not started:
            started.append(True)
            with opened(postgres_url) as other:
                started.append(other.leads)

    sa.event.listen(sa.Engine, "before_cursor_execute", start)
    try:
        copy(postgres_url, f"sqlite:///{tmp_path / 'target.db'}")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", start)
    assert started == [True, False]


@pytest.mark.parametrize(
    ("of", "to", "says"),
    [
        ("sqlite:///{}/none.db", "sqlite:///{}/target.db", "there is no ledger "),
        ("sqlite:///{}/source.db", "sqlite:///{}/source.db", "already exists; name a new file"),
        ("sqlite://", "sqlite:///{}/target.db", "in memory"),
        ("sqlite:///{}/source.db", "sqlite:///{}/none/target.db", "cannot be written"),
        ("sqlite:///{}/source.db", "nonsense", "state.url is not a database address"),
        ("postgresql://job-exporter:hunter2/jobs", "sqlite:///{}/target.db", "or the host is missing"),
        ("sqlite:///{}/source.db", "postgresql://job-exporter:hunter2/jobs", "or the host is missing"),
        (
            "sqlite:///{}/source.db",
            "mysql+nothing://u:hunter2@h/jobs",
            "state.url names a database that is not supported",
        ),
        (
            "sqlite:///{}/old.db",
            "sqlite:///{}/target.db",
            "it has version 2, this program knows version 1; use the newer program",
        ),
        ("sqlite:///{}/other.db", "sqlite:///{}/target.db", "database of another program"),
        ("sqlite:///{}/empty.db", "sqlite:///{}/target.db", "there is no ledger in it"),
    ],
)
def test_what_cannot_be_copied_is_said(
    request: pytest.FixtureRequest, tmp_path: Path, of: str, to: str, says: str
) -> None:
    """A copy that cannot work ends with status 2 and one line, and creates nothing."""
    capsys = request.getfixturevalue("capsys")
    for name in ("source.db", "old.db"):
        with opened(f"sqlite:///{tmp_path / name}"):
            pass
    statements = {
        "old.db": "UPDATE job_exporter_meta SET value = '2' WHERE key = 'version'",
        "other.db": "CREATE TABLE precious (id)",
    }
    for name, statement in statements.items():
        with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute(statement)
    (tmp_path / "empty.db").touch()
    before = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    with pytest.raises(SystemExit) as ended:
        main(["ledger", "copy", of.format(tmp_path), to.format(tmp_path)], {})
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert says in said.err
    assert "hunter2" not in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == before


def test_the_command_says_what_it_copied(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a line for each table."""
    with pytest.raises(SystemExit) as ended:
        main(["ledger", "copy", source, f"sqlite:///{tmp_path / 'target.db'}"], {})
    assert ended.value.code == 0
    assert "job_exporter_settled: 2309 rows, all identical\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["ledger"],
        ["ledger", "move", SECRET, "b"],
        ["ledger", SECRET, "b"],
        ["ledger", "copy", SECRET],
        ["ledger", "copy", "a", "b", SECRET],
        ["ledger", "copy", f"--from={SECRET}", "a", "b"],
    ],
)
def test_half_a_command_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An incomplete command is refused without repeating its addresses, which may contain a password."""
    with pytest.raises(SystemExit) as ended:
        main(argv, {})
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "run: job-exporter ledger copy FROM TO" in said
    assert "canary" not in said
