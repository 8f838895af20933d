"""A ledger on PostgreSQL that cannot be used is refused: one line says what is wrong and what to do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exporter.counting import Increment
from exporter.deciding import Changes
from exporter.ledger import Layout, Ledger, LedgerError
from exporter.schema import MIGRATIONS
from exporter.tail import Tail
from exporter.tracker import Beginning
from tests.core_support import NOW, series
from tests.crash.cable import Cable, cable, through
from tests.postgres_support import Postgres

PLATFORM = "http://platform.test"
CANARY = "canary-Zq7"
COUNTED = Changes(
    tail=Tail(),
    beginning=Beginning(horizon=NOW, floor=None),
    increments=(Increment(series=series("job_records_discovered_total")),),
)


def opened(url: str, *, platform: str = PLATFORM) -> Ledger:
    """Open a ledger, as the program does at its start."""
    return Ledger(url, platform=platform, now=NOW, layout=Layout(), lease=1.0)


def refusal(url: str, **given: Any) -> str:
    """Open a ledger that cannot be used; what is said, in one line, and never the password."""
    with pytest.raises(LedgerError) as caught:
        opened(url, **given)
    said = str(caught.value)
    assert "\n" not in said
    assert CANARY not in said
    return said


def as_user(url: str, user: str, password: str | None = None) -> str:
    """The same database as another user."""
    return sa.make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


# -- the server


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{CANARY}@127.0.0.1:9/ledger",
        f"postgresql://me@127.0.0.1:9/ledger?password={CANARY}",
        f"postgresql+psycopg://me:{CANARY}@/ledger?host=/no/such/folder",
    ],
)
def test_a_server_that_is_away_is_said_without_the_password(url: str) -> None:
    """Wherever in the address the password stands."""
    assert "see that the server runs and can be reached from here" in refusal(url)


def test_a_server_that_has_no_address_is_named() -> None:
    """The name is what has to be mended."""
    assert "nowhere.invalid" in refusal(f"postgresql://me:{CANARY}@nowhere.invalid/ledger")


def test_a_wrong_password_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """And not told."""
    postgres.execute("CREATE ROLE careful LOGIN PASSWORD 'right'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all careful scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    said = refusal(as_user(postgres_url, "careful", CANARY))
    assert "give the right user and password in state.url" in said
    assert "give a password in state.url" in refusal(as_user(postgres_url, "careful"))


def test_a_database_that_is_not_there_is_named(postgres: Postgres) -> None:
    """What to do is to make it."""
    said = refusal(postgres.url("absent"))
    assert '"absent" does not exist' in said
    assert "make it on the server" in said


class OldServer(Cable):
    """A cable on which the server says to be of version 12."""

    def carried(self, data: bytes) -> bytes:
        """Change the version in what the server tells of itself: as long as it was."""
        head, mark, rest = data.partition(b"server_version\0")
        return head + mark + b"12" + rest[2:] if mark else data


async def test_a_server_that_is_too_old_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """The oldest one that will do is named."""
    async with cable(postgres.folder / ".s.PGSQL.5432", OldServer) as line:
        said = await asyncio.to_thread(refusal, through(line, postgres_url))
    assert "PostgreSQL 12 is too old; 13 or newer is needed" in said


# -- rights


def test_a_user_who_may_make_no_tables_is_told_the_right_that_is_missing(
    postgres: Postgres, postgres_url: str
) -> None:
    """As any user is by default since PostgreSQL 15."""
    postgres.execute("CREATE ROLE nobody_much LOGIN")
    said = refusal(as_user(postgres_url, "nobody_much"))
    assert "permission denied for schema public" in said
    assert "GRANT USAGE, CREATE ON SCHEMA" in said


def test_a_user_who_may_not_write_is_told(postgres: Postgres, postgres_url: str) -> None:
    """The tables are another user's."""
    opened(postgres_url).close()
    postgres.query(
        postgres_url, "CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    )
    said = refusal(as_user(postgres_url, "reader"))
    assert "permission denied for table job_exporter" in said


def test_a_server_that_only_reads_is_told(postgres: Postgres, postgres_url: str) -> None:
    """As a standby is."""
    name = sa.make_url(postgres_url).database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "that server only reads; name the one that writes in state.url" in refusal(postgres_url)


# -- what is there already


@pytest.mark.parametrize(
    "table",
    ["job_exporter_meta (number int)", "job_exporter_settled (id text)", "job_exporter_leader (a int)"],
)
def test_tables_of_another_application_are_in_the_way_if_they_have_our_names(
    postgres: Postgres, postgres_url: str, table: str
) -> None:
    """They stay as they are, and nothing is put beside them."""
    postgres.query(postgres_url, f"CREATE TABLE {table}")
    said = refusal(postgres_url)
    assert f"{table.split(maxsplit=1)[0]} there is another program's" in said
    assert "name another database, or a schema of its own" in said
    found = postgres.query(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert found == [(table.split(maxsplit=1)[0],)]


def test_tables_with_other_names_are_in_nobodys_way(postgres: Postgres, postgres_url: str) -> None:
    """A database may be shared."""
    postgres.query(postgres_url, "CREATE TABLE settled (id text)")
    opened(postgres_url).close()


def test_a_ledger_in_a_schema_of_its_own(postgres: Postgres, postgres_url: str) -> None:
    """What is in the way in another schema is not in the way."""
    postgres.query(postgres_url, "CREATE SCHEMA jobs", "CREATE TABLE public.job_exporter_meta (number int)")
    url = postgres_url + "&options=-csearch_path%3Djobs"
    ledger = opened(url)
    ledger.commit(COUNTED, now=NOW)
    ledger.close()
    counted = postgres.query(postgres_url, "SELECT sum(value) FROM jobs.job_exporter_counters")
    assert counted == [(1.0,)]


def test_the_ledger_of_another_platform_is_refused(postgres_url: str) -> None:
    """Rule 11: also while a replica of that one leads."""
    ledger = opened(postgres_url)
    said = refusal(postgres_url, platform="http://other.test")
    assert "belongs to the platform http://platform.test, not http://other.test" in said
    ledger.keep_lead()
    ledger.close()


def test_a_newer_ledger_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """At the start; and a replica that runs does not take over one that was made newer meanwhile."""
    with_old = opened(postgres_url)
    with_old.give_up_lead()
    postgres.query(postgres_url, "UPDATE job_exporter_meta SET value = '99' WHERE key = 'version'")
    assert f"it has version 99, this program knows {len(MIGRATIONS)}" in refusal(postgres_url)
    with pytest.raises(LedgerError, match="version 99"):
        with_old.take_lead(now=NOW)
    assert not with_old.leads
    with_old.close()


def test_a_ledger_with_what_the_program_never_wrote_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """Better than to count on what nobody understands."""
    opened(postgres_url).close()
    postgres.query(
        postgres_url,
        "INSERT INTO job_exporter_followed VALUES ('x', 'nonsense')",
        "UPDATE job_exporter_leader SET until = 0",
    )
    assert "holds what this program did not write" in refusal(postgres_url)


def test_without_psycopg_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PostgreSQL is an extra."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    assert "install job-exporter[postgresql]" in refusal("postgresql+psycopg://me@127.0.0.1:9/ledger")
