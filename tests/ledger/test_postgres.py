"""A ledger on PostgreSQL that cannot be used is refused: one line says what is wrong and what to do."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from exporter.discovery.tail import Tail
from exporter.ledger import state as writing
from exporter.ledger.errors import LedgerError
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.ledger.tables import MIGRATIONS
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes, Outcome, Settlement, Tracked
from tests.harness.core import NOW, series
from tests.harness.postgres import Postgres

PLATFORM = "http://platform.test"
CANARY = "canary-Zq7"
DISCOVERED = series("job_records_discovered_total")
COUNTED = Changes(
    tail=Tail(),
    counting_start=CountingStart(baseline_end=NOW, floor=None),
    increments=(Increment(series=DISCOVERED),),
)


def opened(url: str, *, platform: str = PLATFORM, layout: Layout | None = None) -> Ledger:
    """Open a ledger, as the program does at its start."""
    return Ledger(url, platform=platform, now=NOW, layout=layout or Layout(), lease=1.0)


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
    """The error about an unreachable server never contains the password, wherever the address has it."""
    assert "check that the server runs and can be reached from here" in refusal(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@127.0.0.1:9/ledger?sslmode=bogus",
        "postgresql://me@127.0.0.1:99999/ledger",
        "postgresql://me@127.0.0.1:9/ledger?nonsense=1",
    ],
)
def test_an_address_with_nonsense_in_it_is_told_so(url: str) -> None:
    """An address with an invalid option is refused without asking the server."""
    assert "correct it in state.url" in refusal(url)


def test_a_server_that_has_no_address_is_named() -> None:
    """If the name of the server cannot be resolved, the error contains that name."""
    assert "nowhere.invalid" in refusal(f"postgresql://me:{CANARY}@nowhere.invalid/ledger")


def test_a_wrong_password_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """A wrong password is refused with advice; the error does not contain it."""
    postgres.execute("CREATE ROLE careful LOGIN PASSWORD 'right'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all careful scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    said = refusal(as_user(postgres_url, "careful", CANARY))
    assert "correct user and password in state.url" in said
    assert "give a password in state.url" in refusal(as_user(postgres_url, "careful"))


def test_a_database_that_is_not_there_is_named(postgres: Postgres) -> None:
    """A database that does not exist is named, with the advice to create it."""
    said = refusal(postgres.url("absent"))
    assert '"absent" does not exist' in said
    assert "create it on the server" in said


def test_the_encoding_of_the_database_does_not_matter(postgres: Postgres) -> None:
    """A database in SQL_ASCII (a server in the C locale) returns names of IDCs unchanged."""
    postgres.execute(
        "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    url = postgres.url("plain")
    counted = series("job_host_results_total", idc="深圳", status="success")
    with closing(opened(url)) as ledger:
        ledger.commit(replace(COUNTED, increments=(Increment(series=counted),)), now=NOW)
    with closing(opened(url)) as ledger:
        assert ledger.state.counters[counted].value == 1


# -- rights


def test_a_user_who_may_make_no_tables_is_told_the_right_that_is_missing(
    postgres: Postgres, postgres_url: str
) -> None:
    """A user without CREATE on the schema (default since PostgreSQL 15) is told which right is missing."""
    postgres.execute("CREATE ROLE nobody_much LOGIN")
    said = refusal(as_user(postgres_url, "nobody_much"))
    assert "permission denied for schema public" in said
    assert "GRANT USAGE, CREATE ON SCHEMA" in said


@pytest.mark.parametrize("rights", ["SELECT", "SELECT, UPDATE, DELETE"])
def test_a_user_who_may_not_write_is_told(postgres: Postgres, postgres_url: str, rights: str) -> None:
    """A user who may not write to another user's tables is told so, and nothing is half-written."""
    opened(postgres_url).close()
    user = f"reader{len(rights)}"
    postgres.query(
        postgres_url, f"CREATE ROLE {user} LOGIN", f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}"
    )
    postgres.query(postgres_url, "UPDATE job_exporter_leader SET until = 0, holder = 'nobody'")
    said = refusal(as_user(postgres_url, user), layout=Layout(initial=(DISCOVERED,)))
    assert "permission denied for table job_exporter" in said
    assert "own those of the ledger" in said
    assert postgres.query(postgres_url, "SELECT term, holder FROM job_exporter_leader") == [(1, "nobody")]


def test_a_server_that_only_reads_is_told(postgres: Postgres, postgres_url: str) -> None:
    """A read-only server, such as a standby, is refused with the advice to name the primary."""
    name = sa.make_url(postgres_url).database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "this server is read-only; name the primary server in state.url" in refusal(postgres_url)


# -- what is there already


@pytest.mark.parametrize(
    "table",
    ["job_exporter_meta (number int)", "job_exporter_settled (id text)", "job_exporter_leader (a int)"],
)
def test_tables_of_another_application_are_in_the_way_if_they_have_our_names(
    postgres: Postgres, postgres_url: str, table: str
) -> None:
    """Another application's tables with our names are refused and left unchanged; none is added."""
    postgres.query(postgres_url, f"CREATE TABLE {table}")
    said = refusal(postgres_url)
    assert f"are not the exporter's: {table.split(maxsplit=1)[0]}" in said
    assert "name another database, or a schema of its own" in said
    found = postgres.query(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert found == [(table.split(maxsplit=1)[0],)]


def test_tables_with_other_names_are_in_nobodys_way(postgres: Postgres, postgres_url: str) -> None:
    """A ledger can share a database with tables of other names."""
    postgres.query(postgres_url, "CREATE TABLE settled (id text)")
    opened(postgres_url).close()


def test_a_ledger_in_a_schema_of_its_own(postgres: Postgres, postgres_url: str) -> None:
    """A ledger in its own schema is not disturbed by tables of the same names in another schema."""
    postgres.query(postgres_url, "CREATE SCHEMA jobs", "CREATE TABLE public.job_exporter_meta (number int)")
    url = postgres_url + "&options=-csearch_path%3Djobs"
    ledger = opened(url)
    ledger.commit(COUNTED, now=NOW)
    ledger.close()
    counted = postgres.query(postgres_url, "SELECT sum(value) FROM jobs.job_exporter_counters")
    assert counted == [(1.0,)]


def test_the_ledger_of_another_platform_is_refused(postgres_url: str) -> None:
    """Rule 11: the ledger of another platform is refused, also while a replica of that platform leads."""
    ledger = opened(postgres_url)
    said = refusal(postgres_url, platform="http://other.test")
    assert "belongs to the platform http://platform.test, not http://other.test" in said
    ledger.keep_lead()
    ledger.close()


def test_a_newer_ledger_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """A newer ledger is refused at the start, and by a running follower that would take over."""
    with_old = opened(postgres_url)
    with_old.give_up_lead()
    postgres.query(postgres_url, "UPDATE job_exporter_meta SET value = '99' WHERE key = 'version'")
    assert f"it has version 99, this program knows version {len(MIGRATIONS)}" in refusal(postgres_url)
    with pytest.raises(LedgerError, match="version 99"):
        with_old.take_lead(now=NOW)
    assert not with_old.leads
    with_old.close()


def test_a_ledger_with_what_the_program_never_wrote_is_refused(postgres: Postgres, postgres_url: str) -> None:
    """A ledger with a value that the program never wrote is refused."""
    opened(postgres_url).close()
    postgres.query(
        postgres_url,
        "INSERT INTO job_exporter_followed VALUES ('x', 'nonsense')",
        "UPDATE job_exporter_leader SET until = 0",
    )
    assert "contains a value that this program did not write" in refusal(postgres_url)


def test_without_psycopg_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without psycopg, the error names the extra to install."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    assert "install job-exporter[postgresql]" in refusal("postgresql+psycopg://me@127.0.0.1:9/ledger")


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE x; --",
        "a\\\\b'\\",
        "%s %(rows)s :rows",
        '{"a": [1]}\n\r\t\x01',
        "杭州 \U0001f4a9 \ufffd",
    ],
)
@pytest.mark.parametrize("conforming", ["on", "off"])
def test_any_text_is_kept_as_it_is(postgres: Postgres, postgres_url: str, text: str, conforming: str) -> None:
    """Any text is stored unchanged, although values are part of the statements."""
    name = sa.make_url(postgres_url).database
    postgres.execute(f"ALTER DATABASE {name} SET standard_conforming_strings = {conforming}")
    odd = series("job_idc_records_total", idc=text, outcome="failed")
    with closing(opened(postgres_url)) as ledger:
        changes = replace(
            COUNTED,
            found=(Tracked(id="open" + text, found=NOW, due=NOW),),
            settlements=(
                Settlement(id=text, outcome=Outcome.SETTLED, found=NOW, increments=(Increment(series=odd),)),
            ),
        )
        state = ledger.commit(changes, now=NOW)
        assert ledger.known([text, "open" + text, "other"]) == {text, "open" + text}
        ledger.refresh()
        assert ledger.state == state
        assert ledger.state.counters[odd].value == 1


# -- what goes wrong later


def commit_refused(ledger: Ledger) -> str:
    """Try to commit; what is said."""
    with pytest.raises(LedgerError) as caught:
        ledger.commit(COUNTED, now=NOW)
    return str(caught.value)


def test_a_full_disk_of_the_server_is_told_and_lived_through(postgres: Postgres, postgres_url: str) -> None:
    """A commit that fails because the disk is full changes nothing; the next commit works."""
    with closing(opened(postgres_url)) as ledger:
        postgres.query(
            postgres_url,
            """CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$""",
            """CREATE TRIGGER no_room BEFORE UPDATE ON job_exporter_meta
            FOR EACH ROW WHEN (NEW.key = 'progress') EXECUTE FUNCTION no_room()""",
            """INSERT INTO job_exporter_meta VALUES ('progress', '{"time":1e6,"wall":0,"tail":{}}')""",
        )
        assert "make room on its disk; nothing is lost meanwhile" in commit_refused(ledger)
        assert postgres.query(postgres_url, "SELECT count(*) FROM job_exporter_counters") == [(0,)]
        postgres.query(postgres_url, "DROP TRIGGER no_room ON job_exporter_meta")
        ledger.refresh()
        ledger.commit(COUNTED, now=NOW)
        assert postgres.query(postgres_url, "SELECT value FROM job_exporter_counters") == [(1.0,)]


def test_a_connection_that_the_server_ends_is_told_with_what_to_do(
    postgres: Postgres, postgres_url: str
) -> None:
    """If the server ends the connection, as at a restart, the error says what to do."""
    with closing(opened(postgres_url)) as ledger:

        def end(*_: object) -> None:
            ours = "pid <> pg_backend_pid() AND datname = current_database()"
            postgres.query(
                postgres_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"
            )

        sa.event.listen(ledger._database.engine, "commit", end)
        assert "check that the server runs and can be reached" in commit_refused(ledger)


def test_an_id_that_is_there_already_is_refused_by_the_database(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary key refuses an id a second time, and with it the whole commit."""
    with closing(opened(postgres_url)) as ledger:
        monkeypatch.setattr(writing, "outcomes", lambda *_: {})
        settled = replace(COUNTED, settlements=(Settlement(id="a", outcome=Outcome.SETTLED, found=NOW),))
        ledger.commit(settled, now=NOW)
        with pytest.raises(LedgerError, match="duplicate key"):
            ledger.commit(settled, now=NOW)
        assert postgres.query(postgres_url, "SELECT value FROM job_exporter_counters") == [(1.0,)]
