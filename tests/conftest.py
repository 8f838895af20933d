"""What holds for all tests, and what tests of several folders need started."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.postgres import Postgres, server

# Nothing here is about time, and the machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# What takes long, or needs a browser or a database server: `make test` leaves it to `.ci/run` (-m long).
LONG = (
    "backfill/test_command.py",
    "crash/",
    "fuzz/",
    "ledger/test_lease.py",
    "ledger/test_pooler.py",
    "ledger/test_postgres.py",
    "ledger/test_silence.py",
    "page/test_browser.py",
    "system/test_faults_platform.py",
    "system/test_faults_size.py",
    "system/test_machine_replicas.py",
    "system/test_mutants.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(LONG):
            item.add_marker("long")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that all tests of a process share; none may stop it."""
    with server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.url()
