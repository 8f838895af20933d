"""What holds for all tests, and what tests of several folders need started."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.postgres import Postgres, server

# Nothing here is about time, and the machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that all tests of a process share; none may stop it."""
    with server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.url()
