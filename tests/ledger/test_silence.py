"""A leader that falls silent is replaced within its lease, at whichever byte of a commit it does.

The server must not wait for the rest while it holds the leader's row: that it does if psycopg sends as usual.
"""

import asyncio
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from exporter.ledger import database
from exporter.ledger.errors import LedgerError
from exporter.ledger.ledger import Ledger
from exporter.ledger.postgres import watched
from exporter.tracking.values import Outcome, Settlement, Tracked
from tests.crash.cable import Cable, cable, through
from tests.crash.harness import attempts
from tests.harness.core import NOW
from tests.harness.postgres import Postgres
from tests.ledger.test_lease import LAYOUT, PLATFORM, changes, finished, settle, settlement

LEASE = 1.0  # seconds; the shortest that there is
MANY = 30  # rows of each kind


class Muffled(Cable):
    """A cable that carries so many bytes to the server, then falls silent for good."""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self.carried_there = 0
        self.limit: int | None = None

    def sent(self, data: bytes) -> bytes:
        """Cut off what is beyond the limit."""
        if self.limit is not None and self.carried_there + len(data) >= self.limit:
            data = data[: self.limit - self.carried_there]
            self.cut("silent")
        self.carried_there += len(data)
        return data


def replica(url: str) -> Ledger:
    """Open a replica's ledger."""
    return Ledger(url, platform=PLATFORM, now=NOW, layout=LAYOUT, lease=LEASE)


def commit(ledger: Ledger, name: str) -> None:
    """Write to every table: new records, records that moved on, and settled ones, whose failures are kept."""
    ids = [f"{name}{number}" for number in range(MANY)]
    new = tuple(Tracked(id=f"new {id_}", found=NOW, due=NOW) for id_ in ids)
    moved = tuple(Tracked(id=id_, found=NOW - 1, due=NOW) for id_ in [*ledger.state.followed][-MANY:])
    gone = Settlement(id=f"gone {name}", outcome=Outcome.VANISHED, found=NOW)
    ledger.commit(changes(*ids, found=new, changed=moved, settlements=(*map(settlement, ids), gone)), now=NOW)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.8, 0.99])
async def test_a_leader_that_falls_silent_at_any_byte_of_a_commit_is_replaced(
    postgres: Postgres, postgres_url: str, share: float
) -> None:
    """A leader whose connection falls silent in a commit is replaced, and that commit is not done."""
    async with cable(postgres.folder / ".s.PGSQL.5432", Muffled) as line:
        assert isinstance(line, Muffled)
        first = await asyncio.to_thread(replica, through(line, postgres_url))
        await asyncio.to_thread(commit, first, "a")
        line.carried_there = 0
        await asyncio.to_thread(commit, first, "b")
        line.limit, line.carried_there = round(line.carried_there * share), 0
        second = await asyncio.to_thread(replica, postgres_url)
        with closing(first), closing(second):
            cut_short = asyncio.create_task(asyncio.to_thread(commit, first, "c"))
            async for _ in attempts("another leader"):
                if second.leads or await asyncio.to_thread(second.take_lead, now=NOW):
                    break
            assert finished(second) == 2 * MANY
            first.close()
            with pytest.raises(LedgerError):
                await cut_short
            settle(second, "c1", "d")
            assert finished(second) == 2 * MANY + 2


@pytest.mark.parametrize("is_used", [False, True], ids=["idle", "in a transaction"])
async def test_a_connection_that_is_open_and_silent_is_hung_up(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch, is_used: bool
) -> None:
    """A connection that stays open but silent, as behind a proxy, is closed; the next try makes a new one."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(database, "SPARE_SECONDS", 0.5)
    async with cable(postgres.folder / ".s.PGSQL.5432") as line:
        ledger = await asyncio.to_thread(replica, through(line, postgres_url))
        loop = asyncio.get_running_loop()
        with closing(ledger):
            await asyncio.to_thread(commit, ledger, "a")
            if is_used:
                sa.event.listen(
                    ledger._database.engine,
                    "before_cursor_execute",
                    lambda *_: asyncio.run_coroutine_threadsafe(forget(line), loop).result(),
                    once=True,
                )
                with pytest.raises(LedgerError, match="check that the server runs and can be reached"):
                    await asyncio.to_thread(commit, ledger, "lost")
                await asyncio.to_thread(ledger.refresh)
            else:
                line.forget()
            await asyncio.to_thread(commit, ledger, "b")
            assert finished(ledger) == 2 * MANY


async def forget(line: Cable) -> None:
    """From another thread than that of the loop."""
    line.forget()


def test_a_watch_ends_with_its_block() -> None:
    """The watch acts while an answer is overdue, not before that, and not after the end of its block."""
    barks = threading.Semaphore(0)
    with watched(0.05, barks.release):
        assert all(barks.acquire(timeout=60) for _ in range(2))
    with watched(3600.0, barks.release) as renew:
        renew()
        watches = [thread for thread in threading.enumerate() if thread.name == "ledger watch"]
        assert watches
    for thread in watches:
        thread.join(60)
        assert not thread.is_alive()
