"""`audit` as a person runs it: beside the daemon, after it, and where it can't be done."""

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator
from tests.crash.harness import Ended, Program, attempts, ledger_rows, ran, running, started

# Short, so that what ended a moment ago is due: a look comes no later than a minute all the same.
QUICK = ("--poll.interval=1s", "--poll.settle-grace=200ms")


def ended_long_ago(platform: RunningSimulator, count: int) -> list[str]:
    """Let records run whose end was five minutes ago: nothing is fresh about them."""
    world, now = platform.platform.world, platform.platform.tick()
    host = next(record for record in world).spec.hosts[0]
    ids = []
    for _ in range(count):
        record = world.add(RecordSpec(hosts=(host,), start=now - 310), now)
        world.finish(record, "success", now - 300)
        ids.append(record)
    return ids


async def counting(program: Program, folder: Path, ids: list[str]) -> None:
    """Wait until all of these are counted."""
    async for _ in attempts("all are counted", patience=120.0):
        if set(ids) <= set(ledger_rows(folder / "job-exporter.db").settled):
            return


async def audit(platform: RunningSimulator, folder: Path, *arguments: str) -> Ended:
    return await ran(
        Path(tempfile.mkdtemp(dir=folder)),  # each run has outputs of its own
        "audit",
        f"--api.base-url={platform.url}",
        *("--state.url", f"sqlite:///{folder / 'job-exporter.db'}"),  # not to be taken for an id
        *QUICK,
        *arguments,
    )


def forget(folder: Path, record_id: str) -> None:
    with closing(sqlite3.connect(folder / "job-exporter.db")) as connection, connection:
        connection.execute("DELETE FROM job_exporter_settled WHERE id = ?", (record_id,))


def findings(ended: Ended) -> dict[str, str]:
    return {one["id"]: one["verdict"] for one in json.loads(ended.stdout)["findings"]}


async def test_it_proves_beside_the_daemon_and_finds_what_is_planted(
    still: RunningSimulator, tmp_path: Path
) -> None:
    """Clean it ends with 0; a lost row, a late change and a deletion are each found, with status 1."""
    quick = running(still.url, *QUICK, "--poll.history=all", "--state.url=sqlite:///job-exporter.db")
    async with started(tmp_path, *quick) as program:
        await program.ready()
        ids = ended_long_ago(still, 12)
        await counting(program, tmp_path, ids)
        world = still.platform.world
        clean = await audit(still, tmp_path, "--since=1h", "--json")
        assert (clean.status, findings(clean)) == (0, {}), clean.stdout + clean.stderr
        assert json.loads(clean.stdout)["records"]["same"] >= len(ids)
        one = await audit(still, tmp_path, ids[0])
        assert one.status == 0
        assert "same: a count made now would move the same" in " ".join(one.stdout.split())
        world.amend(ids[1], result="fail")
        world.delete([ids[2]])
        changed = await audit(still, tmp_path, "--since=1h", "--json")
        assert changed.status == 1
        assert findings(changed) == {ids[1]: "changed", ids[2]: "gone"}
        assert await program.value("job_records_finished_total") >= len(ids)
        assert (await program.stop()).status == 0
    before = (tmp_path / "job-exporter.db").read_bytes()
    alone = await audit(still, tmp_path, "--since=1h", "--json")
    assert findings(alone) == findings(changed)
    assert (tmp_path / "job-exporter.db").read_bytes() == before
    assert not (tmp_path / "job-exporter.db-wal").exists()
    forget(tmp_path, ids[3])
    missing = await audit(still, tmp_path, "--since=1h", "--json")
    assert findings(missing) == {**findings(changed), ids[3]: "missing"}
    people = await audit(still, tmp_path, "--since=1h")
    assert people.status == 1
    assert all(id_ in people.stdout for id_ in ids[1:4])


async def test_an_id_that_nobody_knows_ends_with_1(still: RunningSimulator, tmp_path: Path) -> None:
    """As JSON too, and whatever it looks like."""
    async with started(tmp_path, *running(still.url)) as program:
        await program.ready()
        for arguments in (["nobody"], ["nobody", "--json"], ["--", "--since"]):
            ended = await audit(still, tmp_path, *arguments)
            assert (ended.status, ended.stderr) == (1, "")
            assert "neither the ledger nor the platform knows this id" in " ".join(ended.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--since=2099-01-01",), "--since 2099-01-01 lies in the future"),
        (("--since=1h", "--until=2h"), "the window is the wrong way round"),
        (("--since=soon",), "--since: 'soon' is no time"),
    ],
)
async def test_a_window_that_is_none_is_refused(
    arguments: tuple[str, ...], says: str, still: RunningSimulator, tmp_path: Path
) -> None:
    """By the platform's clock, in one line."""
    ledger = f"sqlite:///{tmp_path / 'job-exporter.db'}"
    Ledger(ledger, platform=still.url, now=0.0, layout=Layout()).close()
    ended = await audit(still, tmp_path, *arguments)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr == f"job-exporter: {ended.stderr.removeprefix('job-exporter: ').strip()}\n"
    assert says in ended.stderr
