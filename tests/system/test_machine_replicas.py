"""The machine of test_machine with the ledger on PostgreSQL, where an exporter's end is a failover.

Whoever is replaced here was only paused: it goes on with its poll after another leads, and must not be able
to write. A follower watches all the while, and shows what the leader does.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from exporter.ledger.errors import LostLeadershipError
from exporter.polling.config import PollConfig
from tests.harness.inprocess import Daemon
from tests.harness.postgres import Postgres, cut_at_commit
from tests.system import test_machine

EXAMPLES = 12  # each takes five times as long as on SQLite


class Replicas(Daemon):
    """An exporter that is replaced by another one where it would be started again."""

    def restart(self) -> None:
        """Another replica takes over; the old one, which was only paused, ends its poll after that."""
        paused, poller = self.ledger, self.poller
        # By a connection of its own: a cut of the paused replica's may still be to come.
        engine = sa.create_engine(paused._database.engine.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE job_exporter_leader SET until = 0"))
        self.start()
        assert self.ledger.leads
        before, shown = self.settled(), self.snapshot
        self.api.left = 5_000
        paused.blow = None
        self._loop.run_until_complete(poller.poll())
        with pytest.raises(LostLeadershipError):
            paused.keep_lead()
        assert self.settled() == before
        self.snapshot = shown
        paused.close()


class Platform(test_machine.Platform):
    """The world, the replica that polls, and one that follows."""

    postgres: Postgres  # set by the test

    def exporter(self, config: PollConfig) -> Daemon:
        """Start the first replica, and a follower."""
        daemon = Replicas(self.api, self.folder, self.clock, config=config, url=self.postgres.url())
        self.follower = daemon.opened()
        return daemon

    @rule(done=st.booleans(), after=st.integers(0, 4))
    def cut(self, done: bool, after: int) -> None:
        """The connection breaks at a COMMIT; the server may have done it."""
        self._settle_world()
        cut_at_commit(self.daemon.ledger._database.engine, done=done, after=after)
        self.daemon.poll(times=2)

    @rule()
    def fail_over(self) -> None:
        """Another replica takes over between two polls."""
        self._settle_world()
        self.daemon.restart()

    @invariant()
    def a_follower_shows_the_same(self) -> None:
        """After each commit: the same values, births and exemplars."""
        if hasattr(self, "daemon"):
            self.follower.refresh()
            assert not self.follower.leads
            assert self.follower.state.counters == self.daemon.ledger.state.counters
            assert self.follower.state.latest == self.daemon.ledger.state.latest

    def teardown(self) -> None:
        """As on SQLite."""
        try:
            super().teardown()
        finally:
            if hasattr(self, "follower"):
                self.follower.close()


TestReplicas: Any = Platform.TestCase
TestReplicas.settings = settings(test_machine.TestPlatform.settings, max_examples=EXAMPLES)


@pytest.fixture(autouse=True, scope="module")
def _server(postgres: Postgres) -> Iterator[None]:
    Platform.postgres = postgres
    yield
    del Platform.postgres
