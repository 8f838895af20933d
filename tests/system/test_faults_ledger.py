"""Faults of the disk under the ledger: nothing is lost and nothing counted twice once they are over."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import Ledger
from exporter.tracking.state import State
from tests.harness.core import NOW, Life, life
from tests.harness.inprocess import PLATFORM

SEEDS = range(40)  # damages of each kind
PAGE = 4096  # bytes, SQLite's default
TABLE_LEAF = 0x0D  # first byte of such a page


def pragma(its: Life, statement: str) -> None:
    """Give the ledger's own connection a limit; it has one, kept in its pool."""
    with its.daemon.ledger._database.engine.connect() as connection:
        connection.exec_driver_sql(statement)


def pages(its: Life) -> int:
    with its.daemon.ledger._database.engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


# -- it can't be written for a while


def full(its: Life) -> str:
    return f"PRAGMA max_page_count={pages(its)}"


def read_only(_its: Life) -> str:
    return "PRAGMA query_only=ON"


@pytest.mark.parametrize(
    ("trouble", "over", "says"),
    [
        pytest.param(full, "PRAGMA max_page_count=1000000", "make room on its disk", id="disk full"),
        pytest.param(read_only, "PRAGMA query_only=OFF", "let this user write the file", id="read-only"),
    ],
)
def test_a_ledger_that_cannot_be_written_for_an_hour(
    trouble: Callable[[Life], str], over: str, says: str, tmp_path: Path
) -> None:
    """Polls fail and say what to do, scrapes show what was counted; then all that ended meanwhile counts."""
    with life(tmp_path, past=30) as its:
        before = {its.ran("fail") for _ in range(5)}
        running = its.add(timeout=9000)
        its.poll(3)
        pragma(its, trouble(its))
        with capture_logs() as lines:
            for _ in range(24):
                for _ in range(40):
                    its.ran()
                its.clock.now += 135
                its.poll()
        failed = [line for line in lines if line["event"] == "poll failed"]
        assert len(failed) >= 20
        assert all(line["reason"] == "ledger" and says in line["error"] for line in failed[-10:])
        assert says in (its.daemon.poller.last_error or "")
        assert its.finished >= len(before)
        shown = its.daemon.tally()
        pragma(its, over)
        its.end(running)
        its.poll(60)
        assert its.daemon.settled() == set(its.world.truth()) - past(its)
        assert its.is_true()
        assert its.finished > sum(shown.results.values())
        assert its.daemon.gauge("job_exporter_catching_up") == 0


def past(its: Life) -> set[str]:
    """The records that had ended before the exporter saw the platform."""
    return {fact.id for fact in its.world.truth().values() if fact.finished < NOW}


# -- its file is damaged


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Life]:
    """Give the bytes of a ledger with everything in it, and the life that wrote it."""
    folder = tmp_path_factory.mktemp("sound")
    rng = random.Random("sound")
    with life(folder, past=50) as its:
        for _ in range(300):
            its.ran(rng.choice(["fail", "success", "timeout"]), hosts=3)
        for _ in range(60):
            its.add()
        its.poll(6)
        assert its.finished == 300
    return (folder / "ledger.db").read_bytes(), its


def truncated(whole: bytes, rng: random.Random) -> bytes:
    return whole[: rng.randrange(len(whole))]


def flipped(whole: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]


def overwritten(whole: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(whole)), rng.choice((8, 100, 4096))
    piece = rng.choice((bytes(size), rng.randbytes(size)))
    return (whole[:at] + piece + whole[at + size :])[: len(whole)]


def reopened(path: Path, its: Life) -> State:
    ledger = Ledger(f"sqlite:///{path}", platform=PLATFORM, now=its.clock(), layout=its.daemon.layout)
    ledger.close()
    return ledger.state


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", [truncated, flipped, overwritten])
def test_a_ledger_file_damaged_anywhere(
    damage: Callable[[bytes, random.Random], bytes],
    seed: int,
    sound: tuple[bytes, Life],
    tmp_path: Path,
) -> None:
    """It is refused in one line that says what to do, and left byte for byte; or what is read is plausible.

    SQLite keeps no checksums: a bit that turns one number or letter into another is nobody's to see.
    """
    whole, its = sound
    path = tmp_path / "ledger.db"
    path.write_bytes(whole)
    good = reopened(path, its)
    broken = damage(whole, random.Random(f"{damage.__name__} {seed}"))
    path.write_bytes(broken)
    try:
        state = reopened(path, its)
    except LedgerError as error:
        said = str(error)
        assert "\n" not in said
        assert "move it away" in said or "use the newer program" in said or "belongs to the platform" in said
        assert path.read_bytes() == broken
    else:
        renamed = set(state.counters) ^ set(good.counters)
        assert len(renamed) <= (2 if damage is flipped else 0)
        assert len(state.followed) == len(good.followed)
        assert damage is not truncated or state == good


def test_a_ledger_damaged_while_it_is_used(tmp_path: Path) -> None:
    """Polls fail with what to do, what was counted is shown on; the next start refuses the file."""
    with life(tmp_path, past=10) as its:
        for _ in range(300):
            its.ran("fail")
        its.poll(3)
        shown = its.daemon.tally()
        pragma(its, "PRAGMA wal_checkpoint(TRUNCATE)")
        pragma(its, "PRAGMA cache_size=0")
        path = tmp_path / "ledger.db"
        overwrite_tree(path, "job_exporter_settled")
        its.ran()
        with capture_logs() as lines:
            its.poll(8)
        failed = [line for line in lines if line["event"] == "poll failed"]
        assert failed
        assert all("it is damaged; restore it from a backup" in line["error"] for line in failed)
        assert its.daemon.tally() == shown
        its.daemon.ledger.close()
        with pytest.raises(LedgerError, match="it is damaged; restore it from a backup"):
            its.daemon.start()


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db.lock"])
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_ledger_moved_while_it_is_used(name: str, replaced: bool, tmp_path: Path) -> None:
    """Nothing is counted that no start would find; once it is back, what ended meanwhile is."""
    with life(tmp_path, past=10) as its:
        new = {its.ran() for _ in range(5)}
        its.poll(3)
        path, away = tmp_path / name, tmp_path / "moved"
        path.rename(away)
        if replaced:
            path.write_bytes(away.read_bytes())
        new |= {its.ran() for _ in range(5)}
        with capture_logs() as lines:
            its.poll(8)
        failed = [line["error"] for line in lines if line["event"] == "poll failed"]
        assert failed
        assert all("was moved, removed or replaced in use; put it back" in said for said in failed)
        assert its.finished == 5
        away.rename(path)
        its.poll(8)
        its.daemon.restart()
        its.poll(3)
        assert its.daemon.settled() == new
        assert its.is_true()


def overwrite_tree(path: Path, table: str) -> None:
    """Make every root page of a table and its indices unreadable, as a disk does."""
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", (table,))
        numbers = [number for (number,) in roots]
    with path.open("r+b") as file:
        for number in numbers:
            file.seek((number - 1) * PAGE)
            file.write(b"\xff" * PAGE)


def test_a_damaged_page_is_found_at_the_start_and_not_weeks_later(tmp_path: Path) -> None:
    """A page that no start reads, deep in the table of settled ids."""
    with life(tmp_path, past=0) as its:
        for _ in range(3):
            for _ in range(300):
                its.ran()
            its.poll(2)
        its.daemon.ledger.close()
        path = tmp_path / "ledger.db"
        whole = path.read_bytes()
        leaf = next(at for at in range(0, len(whole), PAGE) if is_leaf_of_settled(whole[at : at + PAGE]))
        path.write_bytes(whole[:leaf] + b"\xff" * PAGE + whole[leaf + PAGE :])
        with pytest.raises(LedgerError, match="it is damaged"):
            its.daemon.start()


def is_leaf_of_settled(page: bytes) -> bool:
    """Tell whether rows of settled records lie on this page, and nothing else."""
    return page[0] == TABLE_LEAF and page.count(b"settledsuccess") > 5
