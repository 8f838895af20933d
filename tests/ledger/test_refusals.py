"""A ledger that cannot be used is refused: one line says what is wrong and what to do."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.discovery.tail import Tail
from exporter.ledger.errors import LedgerBusyError, LedgerError
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.ledger.tables import MIGRATIONS
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes, Outcome, Settlement
from tests.harness.core import NOW, series

PLATFORM = "http://platform.test"
CHANGES = Changes(
    tail=Tail(),
    counting_start=CountingStart(baseline_end=NOW, floor=None),
    increments=(Increment(series=series("job_records_discovered_total")),),
    settlements=(Settlement(id="a", outcome=Outcome.SETTLED, found=NOW),),
)

B = Settlement(
    id="b",
    outcome=Outcome.SETTLED,
    found=NOW,
    increments=(Increment(series=series("job_records_finished_total")),),
)


@contextmanager
def opened(url: str, *, platform: str = PLATFORM) -> Iterator[Ledger]:
    ledger = Ledger(url, platform=platform, now=NOW, layout=Layout())
    try:
        yield ledger
    finally:
        ledger.close()


def refusal(url: str, **given: Any) -> str:
    """Open a ledger that cannot be used; what is said, in one line."""
    with pytest.raises(LedgerError) as caught, opened(url, **given):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sql(path: Path, *statements: str) -> None:
    """Do something to the ledger's file behind its back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the file of a ledger that was used once."""
    file = tmp_path / "ledger.db"
    with opened(f"sqlite:///{file}") as ledger:
        ledger.commit(CHANGES, now=NOW)
    return file


# -- at the start


def test_the_ledger_of_another_platform_is_refused(path: Path) -> None:
    """Rule 11: the ledger of another platform is refused; both are named, and it still works with its own."""
    said = refusal(f"sqlite:///{path}", platform="http://other.test")
    assert "belongs to the platform http://platform.test, not http://other.test" in said
    assert "state.url" in said
    with opened(f"sqlite:///{path}") as ledger:
        assert ledger.known(["a"]) == {"a"}


def test_a_newer_ledger_is_refused(path: Path) -> None:
    """A ledger of a newer program is refused."""
    sql(path, "UPDATE job_exporter_meta SET value = '99' WHERE key = 'version'")
    said = refusal(f"sqlite:///{path}")
    assert f"it has version 99, this program knows version {len(MIGRATIONS)}; use the newer program" in said


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A file that is no database is refused and left unchanged; no lock file is created."""
    notes = tmp_path / "notes.txt"
    notes.write_text("milk, eggs\n" * 100, encoding="utf-8")
    said = refusal(f"sqlite:///{notes}")
    assert "it is not a ledger; name another file in state.url" in said
    assert [*tmp_path.iterdir()] == [notes]
    assert notes.read_text(encoding="utf-8").startswith("milk")


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """The database of another program is refused, and its tables stay unchanged."""
    sql(tmp_path / "other.db", "CREATE TABLE precious (id)")
    assert "the database of another program" in refusal(f"sqlite:///{tmp_path / 'other.db'}")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("precious",)]


def test_a_damaged_ledger_is_refused(path: Path) -> None:
    """A truncated ledger is refused."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "it is damaged; restore it from a backup" in refusal(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job_exporter_counters SET labels = 'odd'",
        "UPDATE job_exporter_meta SET value = '[]' WHERE key = 'progress'",
        "INSERT INTO job_exporter_followed VALUES ('x', '{\"id\": 7}')",
    ],
)
def test_a_ledger_with_what_the_program_never_wrote_is_refused(path: Path, statement: str) -> None:
    """A ledger with a value that the program never wrote is refused."""
    sql(path, statement)
    said = refusal(f"sqlite:///{path}")
    assert "contains a value that this program did not write" in said
    assert "move it away to start anew" in said


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A ledger in a missing folder is refused, and the path is named."""
    said = refusal(f"sqlite:///{tmp_path / 'missing' / 'ledger.db'}")
    assert f"{tmp_path / 'missing' / 'ledger.db'} cannot be written (No such file or directory)" in said


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the ledger is refused."""
    (tmp_path / "ledger.db").mkdir()
    said = refusal(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert "name a file in a folder of this user in state.url" in said


@pytest.mark.parametrize("url", ["nonsense", "oracle+missing://host/name", "sqlite+nothing:///x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """An invalid address is refused with an example of a valid one."""
    assert "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME" in refusal(url)


def test_an_address_may_hold_a_password_that_is_not_told(tmp_path: Path) -> None:
    """The password of an address is not in the error that refuses it."""
    said = refusal("mysql+missing://user:hunter2@127.0.0.1:1/name")
    assert "hunter2" not in said


def test_a_ledger_is_held_by_one_process(path: Path) -> None:
    """A second process is refused while the first uses the ledger, and works after that."""
    held = pytest.raises(LedgerBusyError, match="in use by another job-exporter")
    with opened(f"sqlite:///{path}"), held:
        Ledger(f"sqlite:///{path}", platform=PLATFORM, now=NOW, layout=Layout())
    with opened(f"sqlite:///{path}"):
        pass


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    """A ledger in memory is refused, as when the name of the file was left out."""
    with pytest.raises(LedgerError, match=r"names no file.*write sqlite:///job-exporter\.db"):
        Ledger(url, platform=PLATFORM, now=NOW, layout=Layout())


# -- while running


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        ("database or disk is full", "make room on its disk; nothing is lost meanwhile"),
        ("attempt to write a readonly database", "let this user write the file and its folder"),
        ("something nobody foresaw", "something nobody foresaw"),
    ],
)
def test_a_commit_that_is_refused_says_what_to_do(path: Path, trouble: str, advice: str) -> None:
    """A commit that the database refuses changes nothing; the error says what to do."""
    fails = f"BEGIN SELECT RAISE(ABORT, '{trouble}'); END"
    with opened(f"sqlite:///{path}") as ledger:
        sql(path, f"CREATE TRIGGER t BEFORE UPDATE ON job_exporter_meta {fails}")
        before = ledger.state
        with pytest.raises(LedgerError, match=advice):
            ledger.commit(CHANGES, now=NOW)
        assert ledger.state is before


def test_a_ledger_that_another_program_writes_is_waited_for_no_longer_than_a_stop_may_take(
    path: Path,
) -> None:
    """If another program writes to the file, a commit fails after a second and works later."""
    with opened(f"sqlite:///{path}") as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another program writes to it; stop that one"):
            ledger.commit(CHANGES, now=NOW)
        other.rollback()
        ledger.commit(CHANGES, now=NOW)


def test_a_ledger_is_used_from_any_thread(path: Path) -> None:
    """A commit works from another thread than the one that opened the ledger."""
    with opened(f"sqlite:///{path}") as ledger:
        thread = threading.Thread(target=ledger.commit, args=(CHANGES,), kwargs={"now": NOW})
        thread.start()
        thread.join()
        assert ledger.state.records == 1


def test_a_ledger_survives_a_power_cut(path: Path) -> None:
    """SQLite's settings make a commit durable when it returns."""
    with opened(f"sqlite:///{path}") as ledger, ledger._database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_ledger_is_one_ledger_whatever_links_lead_to_it(tmp_path: Path) -> None:
    """Two exporters that count into one file would lose what the other counted."""
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "folder").symlink_to(folder)
    (tmp_path / "file.db").symlink_to(folder / "ledger.db")
    held = pytest.raises(LedgerBusyError, match="in use by another job-exporter")
    with opened(f"sqlite:///{folder}/ledger.db"):
        for link in ("folder/ledger.db", "file.db"):
            with held, opened(f"sqlite:///{tmp_path}/{link}"):
                pass
    with opened(f"sqlite:///{tmp_path}/file.db"), held, opened(f"sqlite:///{folder}/ledger.db"):
        pass
