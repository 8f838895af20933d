"""What tests of several folders need started."""

from collections.abc import Iterator

import pytest

from tests.postgres_support import Postgres, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that all tests of a process share; none may stop it."""
    with server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.url()
