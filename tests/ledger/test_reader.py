"""The ledger, looked at beside its daemon: what it says, and that looking leaves no trace."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.discovery.tail import Tail
from exporter.ledger.errors import LedgerError
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.ledger.reader import Inspection
from exporter.ledger.tables import MIGRATIONS, Progress
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.state import Known, LedgerStatus
from exporter.tracking.values import Changes, Outcome, Settlement, Stage, Tracked
from tests.harness.core import NOW, done, series

PLATFORM = "http://platform.test"
FIRST = Progress().time
FINISHED = series("job_records_finished_total", result_status="success")
HOSTS = series("job_record_hosts", "sum")
BEGAN = CountingStart(baseline_end=NOW, floor=NOW)


def settlement(record_id: str, *, end: float | None = NOW, outcome: Outcome = Outcome.SETTLED) -> Settlement:
    moved = (Increment(series=FINISHED), Increment(series=HOSTS, value=12.0))
    return Settlement(
        id=record_id,
        outcome=outcome,
        found=FIRST - 5,
        lookups=3,
        done=FIRST - 1,
        increments=moved if outcome is Outcome.SETTLED else (),
        record=done(record_id, end=end),
    )


CHANGES = Changes(
    tail=Tail(total=7),
    counting_start=BEGAN,
    found=(
        Tracked(id="open", found=FIRST, due=FIRST),
        Tracked(id="done", found=FIRST, due=FIRST, stage=Stage.DONE),
    ),
    settlements=(
        settlement("counted"),
        settlement("old", outcome=Outcome.BASELINE),
        settlement("gone", outcome=Outcome.VANISHED),
    ),
)
IDS = ("open", "done", "counted", "old", "gone", "never heard of")


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url, platform=PLATFORM, now=NOW, layout=Layout(), monotonic=lambda: 0.0)
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of a ledger that is not there yet."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'a ledger#%.db'}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the file of a ledger that was used, whose daemon has ended."""
    file = tmp_path / "ledger.db"
    with opened(f"sqlite:///{file}") as ledger:
        ledger.commit(CHANGES, now=NOW)
    return file


@contextmanager
def inspected(url: str) -> Iterator[Inspection]:
    inspection = Inspection(url, platform=PLATFORM)
    try:
        yield inspection
    finally:
        inspection.close()


def refusal(url: str, *, platform: str = PLATFORM) -> str:
    with pytest.raises(LedgerError) as caught:
        Inspection(url, platform=platform)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_tells_what_the_ledger_has(url: str) -> None:
    """While the daemon has the ledger open, the reader tells what it knows of each record."""
    with opened(url) as ledger, inspected(url) as inspection:
        ledger.commit(CHANGES, now=NOW)
        known = inspection.known(IDS)
        progress = inspection.progress()
        assert (progress.tail, progress.counting_start) == (Tail(total=7), BEGAN)
    assert {id_: one.status for id_, one in known.items()} == {
        "open": LedgerStatus.OPEN,
        "done": LedgerStatus.SETTLING,
        "counted": LedgerStatus.COUNTED,
        "old": LedgerStatus.BASELINE,
        "gone": LedgerStatus.VANISHED,
    }
    assert known["counted"] == Known(
        id="counted",
        status=LedgerStatus.COUNTED,
        found=NOW - 5,
        settled=NOW,
        result="success",
        start=NOW - 10,
        end=NOW,
        lookups=3,
        done=NOW - 1,
        moved={FINISHED: 1.0, HOSTS: 12.0},
    )
    assert known["old"].moved == {}


def test_it_sees_what_is_committed_meanwhile(url: str) -> None:
    """The reader sees later commits, also of series that are new."""
    with opened(url) as ledger, inspected(url) as inspection:
        assert inspection.known(["counted"]) == {}
        ledger.commit(CHANGES, now=NOW)
        assert inspection.known(["counted"])["counted"].moved == {FINISHED: 1.0, HOSTS: 12.0}
        other = replace(settlement("b"), increments=(Increment(series=series("job_x_total")),))
        ledger.commit(replace(CHANGES, found=(), settlements=(other,)), now=NOW)
        assert inspection.known(["b"])["b"].moved == {series("job_x_total"): 1.0}


def test_a_window_is_told_in_chunks(url: str) -> None:
    """Records counted in a window come in chunks, each record once, sorted by id."""
    ends = {f"{number:04}": NOW + number for number in range(25)}
    others = (settlement("x", end=None), settlement("y", end=NOW + 9, outcome=Outcome.BASELINE))
    with opened(url) as ledger, inspected(url) as inspection:
        given = tuple(settlement(id_, end=end) for id_, end in ends.items())
        ledger.commit(replace(CHANGES, settlements=(*reversed(given), *others)), now=NOW)
        seen: list[str] = []
        while chunk := inspection.counted(NOW + 3, NOW + 20, after=seen[-1] if seen else "", limit=4):
            assert len(chunk) <= 4
            seen += [one.id for one in chunk]
    assert seen == [id_ for id_, end in ends.items() if NOW + 3 < end <= NOW + 20]


def test_more_ids_than_a_query_takes(url: str) -> None:
    """More ids than fit in one statement are all answered."""
    with opened(url) as ledger, inspected(url) as inspection:
        ledger.commit(CHANGES, now=NOW)
        many = [f"new-{number}" for number in range(1200)]
        assert inspection.known([*many, "counted"]).keys() == {"counted"}


def test_it_writes_nothing(url: str) -> None:
    """The database refuses any write through the reader."""
    with opened(url) as ledger, inspected(url) as inspection:
        ledger.commit(CHANGES, now=NOW)
        for statement in ("DELETE FROM job_exporter_settled", "CREATE TABLE job_exporter_x (a INTEGER)"):
            with pytest.raises(LedgerError, match=r"readonly|read-only"), inspection._reading() as connection:
                connection.exec_driver_sql(statement)


def test_looking_leaves_no_trace(path: Path) -> None:
    """Reading a stopped daemon's ledger changes nothing and leaves no file, even in a read-only folder."""
    before = path.read_bytes()
    path.parent.chmod(0o555)
    try:
        with inspected(f"sqlite:///{path}") as inspection:
            known = inspection.known(IDS)
        assert known["counted"].moved == {FINISHED: 1.0, HOSTS: 12.0}
    finally:
        path.parent.chmod(0o755)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"ledger.db", "ledger.db.lock"}


def test_what_a_killed_daemon_left_in_the_log_is_read(path: Path) -> None:
    """Commits that are only in SQLite's write-ahead log are read."""
    with opened(f"sqlite:///{path}") as ledger:
        ledger.commit(replace(CHANGES, found=(), settlements=(settlement("late"),)), now=NOW)
        copy = path.parent / "killed"
        copy.mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            (copy / name).write_bytes((path.parent / name).read_bytes())
    with inspected(f"sqlite:///{copy / 'ledger.db'}") as inspection:
        assert inspection.known(["late"]).keys() == {"late"}


# -- what cannot be used


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A missing ledger is refused by name, and not created."""
    said = refusal(f"sqlite:///{tmp_path / 'none.db'}")
    assert f"there is no ledger {tmp_path / 'none.db'}" in said
    assert "state.url" in said
    assert list(tmp_path.iterdir()) == []


def test_an_older_ledger_is_left_to_the_daemon(path: Path) -> None:
    """An older ledger is refused with the advice to start the daemon, which migrates it."""
    sql(path, "UPDATE job_exporter_meta SET value = '0' WHERE key = 'version'")
    said = refusal(f"sqlite:///{path}")
    assert f"it has version 0, this program knows version {len(MIGRATIONS)}; start the daemon" in said


def test_a_newer_ledger_is_refused(path: Path) -> None:
    """A ledger of a newer program is refused."""
    sql(path, "UPDATE job_exporter_meta SET value = '99' WHERE key = 'version'")
    assert "use the newer program" in refusal(f"sqlite:///{path}")


def test_the_ledger_of_another_platform_is_refused(url: str) -> None:
    """The ledger of another platform is refused, and both platforms are named."""
    with opened(url):
        said = refusal(url, platform="http://other.test")
    assert "belongs to the platform http://platform.test, not http://other.test" in said


def test_what_is_no_ledger_is_refused(url: str, tmp_path: Path) -> None:
    """Another program's database and a file that is no database are refused."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("CREATE TABLE holidays (day TEXT)")
    assert "no ledger in it" in (said := refusal(url)) or "database of another program" in said
    text = tmp_path / "text"
    text.write_text("by no means a database" * 100)
    assert "not a database" in refusal(f"sqlite:///{text}")


@pytest.mark.parametrize("url", ["nonsense", "mongo:///a", "sqlite://"])
def test_an_address_that_names_no_ledger_is_refused(url: str) -> None:
    """An invalid address is refused, and the error names the setting."""
    assert "state.url" in refusal(url)


def test_a_server_that_is_not_there_is_told() -> None:
    """The error about an unreachable server does not contain the password."""
    said = refusal("postgresql+psycopg://me:hush@127.0.0.1:9/ledger")
    assert "check that the server runs" in said
    assert "hush" not in said


@pytest.mark.parametrize("text", ["nonsense", "1,99"])
def test_a_damaged_row_is_not_taken_for_a_proof(path: Path, text: str) -> None:
    """A damaged row raises an error that names the record."""
    sql(path, f"UPDATE job_exporter_settled SET moved = '{text}' WHERE id = 'counted'")
    with (
        inspected(f"sqlite:///{path}") as inspection,
        pytest.raises(LedgerError, match="row of record counted is damaged"),
    ):
        inspection.known(["counted"])


def sql(path: Path, statement: str) -> None:
    """Do something to the ledger's file behind its back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
