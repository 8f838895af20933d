"""Nothing secret is put out by the commands beside the daemon, nor left in the files that they write."""

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.cli.main import COMMANDS, main
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.simulator.dialect import CANARY
from exporter.simulator.server import serve
from tests.crash.harness import attempts, ran, started
from tests.crash.test_secrets import GIVEN, PASSWORD, found, prepare
from tests.crash.test_secrets_echoed import answers, echoing

LEDGER = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/ledger"
SOME = 30  # requests after which a backfill has read some pages, and far from all
BACKFILL = ("backfill", "--from=1d", "--output=out.txt", "--api.duty=1", "--state.url=sqlite:///none.db")
WINDOW = ("audit", "--since=1h")


@pytest.mark.parametrize("name", ["flags", "token-file"])  # refused credentials are asked for some seconds
async def test_a_backfill_puts_out_no_secret(name: str, tmp_path: Path) -> None:
    """Killed, with its work file; to its end, with its output; and where the credentials are refused."""
    given = GIVEN[name]
    prepare(tmp_path, given)
    config = replace(given.config(), history=400, traffic=False)
    async with await serve(config) as platform:
        arguments = (*BACKFILL, f"--api.base-url={platform.url}", *given.flags)
        async with started(tmp_path, *arguments, env=dict(given.env)) as program:
            async for _ in attempts("some requests"):
                if platform.platform.stats.requests.total() >= SOME:
                    break
            await program.kill()
        assert (tmp_path / "out.txt.partial").exists()
        assert not found(tmp_path)
        platform.platform.faults.change({"reject_credentials": True})
        assert (await ran(tmp_path, *arguments, env=dict(given.env))).status == 2
        platform.platform.faults.change({"reject_credentials": False})
        ended = await ran(tmp_path, *arguments, env=dict(given.env))
        assert ended.status == 0, ended.stderr
    assert "job_records_finished_total" in (tmp_path / "out.txt").read_text()
    assert not found(tmp_path)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
async def test_an_audit_of_a_window_puts_out_no_secret(form: tuple[str, ...], tmp_path: Path) -> None:
    """Its findings name records whose scripts and outputs hold some."""
    given = GIVEN["flags"]
    config = replace(given.config(), history=100, traffic=False)
    async with await serve(config) as platform:
        ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
        Ledger(ledger, platform=platform.url, now=0.0, layout=Layout()).close()
        address = (f"--api.base-url={platform.url}", f"--state.url={ledger}")
        ended = await ran(tmp_path, *WINDOW, *form, *address, *given.flags)
    assert ended.status in {0, 1}, ended.stderr
    assert ended.stdout
    assert not found(tmp_path)


@pytest.mark.parametrize("way", range(len(answers(""))))
async def test_no_command_repeats_what_a_platform_echoes(way: int, tmp_path: Path) -> None:
    """A platform that quotes what it was sent, in whatever way: one line, without it."""
    given = GIVEN["flags"]
    async with echoing(way) as url:
        ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
        Ledger(ledger, platform=url, now=0.0, layout=Layout()).close()
        address = (f"--api.base-url={url}", "--api.retries=0", f"--state.url={ledger}")
        ended = await ran(tmp_path, *(BACKFILL, WINDOW)[way % 2], *address, *given.flags)
    assert ended.status == 2, ended.stdout
    assert "Traceback" not in ended.stderr
    assert not found(tmp_path)


REFUSED = {
    "misspelt": (f"--api.pasword={PASSWORD}",),
    "two-words": ("--api.password", "one", PASSWORD),
    "no-user": (f"--api.password={PASSWORD}",),
    "unknown-kind": (f"--state.url=mongo://me:{PASSWORD}@127.0.0.1:9/ledger",),
    "address-for-action": (LEDGER,),
    "three": ("copy", "sqlite:///none.db", LEDGER, LEDGER),
    "source": ("copy", LEDGER, "sqlite:///none.db"),
}
CASES = [
    pytest.param(command, arguments, id=f"{command}-{name}")
    for command in sorted({*COMMANDS} - {"run"})
    for name, arguments in REFUSED.items()
    if (command, name) != ("assets", "address-for-action")  # any text is the name of a folder
]


@pytest.mark.parametrize(("command", "arguments"), CASES)
def test_no_command_repeats_a_secret_that_it_refuses(
    command: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where it knows the flag, nor where it does not; it never takes a wrong one for right."""
    wanted = {"backfill": BACKFILL, "audit": WINDOW}.get(command, (command,))
    with pytest.raises(SystemExit) as ended:
        main((*wanted, *arguments), {})
    said = capsys.readouterr()
    assert ended.value.code == (1 if command == "healthcheck" else 2)  # Docker reserves 2
    assert CANARY not in said.out + said.err
    assert (said.out + said.err).count("\n") == 1
