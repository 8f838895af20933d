"""What cannot work ends at once: status 2, and one line on standard error that says what to do."""

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.harness import QUICK, Ended, ran, running, started

NOBODY = "http://127.0.0.1:9"  # nothing listens on the port of "discard"
ADDRESS = f"--api.base-url={NOBODY}"
LEDGER = "--state.url=sqlite:///ledger.db"


def refused(ended: Ended, *says: str) -> None:
    """Status 2, nothing on standard output, one line on standard error that says all this."""
    assert ended.status == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("job-exporter: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    for words in says:
        assert words in ended.stderr


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Arguments that are refused, and what the line says; `prepare` works on the folder before."""

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[Path], None] = lambda _folder: None


def file(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Write a file into the folder."""

    def write(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def folder(name: str) -> Callable[[Path], None]:
    """Make a folder in the folder."""
    return lambda base: (base / name).mkdir()


def foreign_database(base: Path) -> None:
    """Put the database of another program where the ledger should be."""
    with closing(sqlite3.connect(base / "ledger.db")) as connection:
        connection.execute("CREATE TABLE holidays (day TEXT)")
        connection.commit()


def run(*arguments: str) -> tuple[str, ...]:
    """The arguments of `run` at a platform."""
    return ("run", ADDRESS, *QUICK, *arguments)


WRONG = {
    "no command": Wrong(arguments=("rnu",), says=("unknown command 'rnu'", "run, check, healthcheck")),
    "no base URL": Wrong(
        arguments=("run",),
        says=("address of the job platform is missing", "--api.base-url=URL", "JOB_EXPORTER_API__BASE_URL"),
    ),
    "no base URL to check": Wrong(arguments=("check",), says=("address of the job platform is missing",)),
    "malformed base URL": Wrong(arguments=("run", "--api.base-url=platform:6868"), says=("--api.base-url",)),
    "base URL with a user": Wrong(
        arguments=("run", "--api.base-url=http://me:secret@platform"), says=("--api.base-url",)
    ),
    "unknown flag": Wrong(
        arguments=("run", "--api.base-ulr=http://a"),
        says=("unknown flag --api.base-ulr", "nearest known one is --api.base-url"),
    ),
    "unknown flag of check": Wrong(
        arguments=("check", "--api.timeuot=3s"), says=("unknown flag --api.timeuot", "--api.timeout")
    ),
    "unknown flag of metrics": Wrong(
        arguments=("metrics", "--metrics.record-label=provider"), says=("--metrics.record-labels",)
    ),
    "unknown flag of demo": Wrong(
        arguments=("demo", "--poll.intervall=3s"), says=("unknown flag --poll.intervall", "--poll.interval")
    ),
    "unknown flag of simulate": Wrong(
        arguments=("simulate", "--fault-rat=0.1"), says=("unknown flag --fault-rat:", "--fault-rate")
    ),
    "unknown variable": Wrong(
        arguments=("run",),
        env=(("JOB_EXPORTER_API__BASEURL", NOBODY),),
        says=("unknown variable", "JOB_EXPORTER_API__BASEURL", "JOB_EXPORTER_API__BASE_URL"),
    ),
    "unknown key": Wrong(
        arguments=("run", "--config=config.yml"),
        prepare=file("config.yml", "api: {bas_url: http://a}\n"),
        says=("config.yml", "unknown key api.bas_url", "api.base_url"),
    ),
    "no settings file": Wrong(arguments=run("--config=none.yml"), says=("none.yml", "--config")),
    "bad value": Wrong(arguments=run("--poll.interval=soon"), says=("--poll.interval",)),
    "bad value in a variable": Wrong(
        arguments=run(), env=(("JOB_EXPORTER_API__TIMEOUT", "-1s"),), says=("JOB_EXPORTER_API__TIMEOUT",)
    ),
    "no password file": Wrong(
        arguments=run("--api.username=me", "--api.password-file=none"), says=("--api.password-file", "none")
    ),
    "password file is a folder": Wrong(
        arguments=run("--api.username=me", "--api.password-file=there"),
        prepare=folder("there"),
        says=("password-file",),
    ),
    "empty password file": Wrong(
        arguments=run("--api.username=me", "--api.password-file=empty"),
        prepare=file("empty", ""),
        says=("password-file",),
    ),
    "no token file": Wrong(arguments=run("--api.token-file=none"), says=("--api.token-file", "none")),
    "no certificate": Wrong(arguments=run("--api.ca-file=none"), says=("--api.ca-file", "none")),
    "not a certificate": Wrong(
        arguments=run("--api.ca-file=ca.pem"), prepare=file("ca.pem", "no certificate"), says=("ca-file",)
    ),
    "no web configuration": Wrong(
        arguments=run("--web.config-file=none"), says=("--web.config-file", "none")
    ),
    "broken web configuration": Wrong(
        arguments=run("--web.config-file=web.yml"),
        prepare=file("web.yml", "basic_auth_users: {me: secret}\n"),
        says=("web.yml", "basic_auth_users.me", "bcrypt"),
    ),
    "certificate of the web that is not there": Wrong(
        arguments=run("--web.config-file=web.yml"),
        prepare=file("web.yml", "tls_server_config: {cert_file: none.crt, key_file: none.key}\n"),
        says=("web.yml", "none.crt"),
    ),
    "address not ours": Wrong(
        arguments=("run", ADDRESS, "--web.listen-address=192.0.2.1:0"), says=("cannot listen on 192.0.2.1",)
    ),
    "ledger in no folder": Wrong(
        arguments=run("--state.url=sqlite:///none/ledger.db"), says=("none/ledger.db", "state.url")
    ),
    "ledger is a folder": Wrong(
        arguments=run(LEDGER), prepare=folder("ledger.db"), says=("ledger.db", "state.url")
    ),
    "ledger is no database": Wrong(
        arguments=run(LEDGER),
        prepare=file("ledger.db", "this is a text, and by no means a database\n" * 100),
        says=("ledger.db", "not a database", "name another file in state.url"),
    ),
    "ledger of another program": Wrong(
        arguments=run(LEDGER), prepare=foreign_database, says=("database of another program", "state.url")
    ),
    "ledger on a server that is away": Wrong(
        arguments=run("--state.url=postgresql+psycopg://me:secret@127.0.0.1:9/ledger"),
        says=(
            "ledger postgresql+psycopg://me:***@127.0.0.1:9/ledger",
            "refused",
            "check that the server runs",
        ),
    ),
    "state that is no database": Wrong(arguments=run("--state.url=mongo:///a"), says=("--state.url",)),
    "simulator at no address": Wrong(
        arguments=("simulate", "--listen-address=here"), says=("--listen-address 'here'",)
    ),
    "simulator of an unknown scenario": Wrong(
        arguments=("simulate", "--scenario=quiet"), says=("--scenario", "'quiet'")
    ),
    "demo of an unknown dialect": Wrong(arguments=("demo", "--dialect=klingon"), says=("--dialect",)),
    "faults above all": Wrong(arguments=("simulate", "--fault-rate=2"), says=("fault_rate",)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=[name.replace(" ", "-") for name in WRONG])
async def test_what_cannot_work_is_refused_in_one_line(wrong: Wrong, tmp_path: Path) -> None:
    """Status 2 and one line, which names the culprit and what to write instead, and holds no secret."""
    wrong.prepare(tmp_path)
    ended = await ran(tmp_path, *wrong.arguments, env=dict(wrong.env))
    refused(ended, *wrong.says)
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("command", ["run", "demo", "simulate"])
async def test_a_port_in_use_is_refused(command: str, tmp_path: Path) -> None:
    """Whoever listens there already goes on; the line names the address and what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = {
            "run": ("run", ADDRESS, f"--web.listen-address={address}"),
            "demo": ("demo", f"--web.listen-address={address}"),
            "simulate": ("simulate", f"--listen-address={address}"),
        }
        ended = await ran(tmp_path, *arguments[command])
    refused(ended, f"cannot listen on {address}", "in use")


async def test_a_ledger_of_another_platform_is_refused(tmp_path: Path) -> None:
    """The line names both platforms."""
    await make_ledger(tmp_path)
    ended = await ran(
        tmp_path / "again", "run", *OTHER, *QUICK, f"--state.url=sqlite:///{tmp_path}/ledger.db"
    )
    refused(ended, f"belongs to the platform {NOBODY}, not http://other.test", "state.url", "api.base-url")


async def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The line says which program to start again; the file is byte for byte what it was."""
    await make_ledger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("UPDATE job_exporter_meta SET value = '99' WHERE key = 'version'")
        connection.commit()
    before = (tmp_path / "ledger.db").read_bytes()
    ended = await ran(tmp_path / "again", *run(f"--state.url=sqlite:///{tmp_path}/ledger.db"))
    refused(ended, "has version 99", "use the newer program")
    assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_ledger_with_what_the_program_never_wrote_is_refused(tmp_path: Path) -> None:
    """A row that cannot be read is no reason to count wrongly: the line says what can be done."""
    await make_ledger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("INSERT INTO job_exporter_followed VALUES ('a', 'nonsense')")
        connection.commit()
    ended = await ran(tmp_path / "again", *run(f"--state.url=sqlite:///{tmp_path}/ledger.db"))
    refused(ended, "restore it from a backup")


async def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    """Half of a file is not counted on."""
    await make_ledger(tmp_path)
    content = (tmp_path / "ledger.db").read_bytes()
    (tmp_path / "ledger.db").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    ended = await ran(tmp_path / "again", *run(f"--state.url=sqlite:///{tmp_path}/ledger.db"))
    refused(ended, "restore it from a backup")


OTHER = ("--api.base-url=http://other.test",)


async def make_ledger(base: Path) -> None:
    """Leave a ledger of the platform NOBODY in the folder, and another folder to start in."""
    async with started(base, *running(NOBODY, LEDGER)) as program:
        await program.logged("poll failed")
        assert (await program.stop()).status == 0
    assert names(base) == {"ledger.db", "ledger.db.lock", "stdout", "stderr"}  # SQLite's log is merged
    (base / "again").mkdir()


def names(base: Path) -> set[str]:
    """Name what is in a folder."""
    return {path.name for path in base.iterdir()}
