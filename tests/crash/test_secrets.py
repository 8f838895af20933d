"""Nothing secret is put out: canaries in every place that may hold a secret, and a search everywhere."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import pytest

from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.dialect import CANARY
from exporter.simulator.faults import FaultSettings
from exporter.simulator.server import serve
from tests.crash.harness import Program, attempts, ran, running, started

PASSWORD = f"{CANARY}-passw0rd"
TOKEN = f"{CANARY}-t0ken"
HEADER = f"{CANARY}-header"
USER = "canary-user"
SHORTEST = 8  # characters of a canary that a cut or a changed text would still hold
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}

# All of what may not be put out: as it was given, and as it is sent.
NEVER = tuple(
    text.encode()
    for text in (
        CANARY,
        CANARY[:SHORTEST],
        base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
        base64.b64encode(PASSWORD.encode()).decode(),
        "mysql -u root",  # of the simulator's scripts
    )
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A way to give the secrets, and a platform that wants them."""

    dialect: Literal["observed", "documented"]
    form: str  # of the log
    flags: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    file: str = ""  # the settings file
    wants_token: bool = False

    def config(self) -> SimulatorConfig:
        """The platform that wants these credentials; its records hold canaries too."""
        return SimulatorConfig(
            port=0,
            dialect=self.dialect,
            scenario="traps",
            rate=20.0,
            history=20,
            stdout_bytes=500,
            username=None if self.wants_token else USER,
            password=None if self.wants_token else PASSWORD,
            token=TOKEN if self.wants_token else None,
        )


GIVEN = {
    "flags": Given(
        dialect="observed",
        form="logfmt",
        flags=(f"--api.username={USER}", f"--api.password={PASSWORD}", f"--api.headers=X-Key: {HEADER}"),
    ),
    "variables": Given(
        dialect="documented",
        form="json",
        env=(
            ("JOB_EXPORTER_API__USERNAME", USER),
            ("JOB_EXPORTER_API__PASSWORD", PASSWORD),
            ("JOB_EXPORTER_API__HEADERS", f"X-Key: {HEADER}"),
        ),
    ),
    "settings-file": Given(
        dialect="observed",
        form="json",
        flags=("--config=config.yml",),
        file=f"api: {{username: {USER}, password: {PASSWORD}, headers: ['X-Key: {HEADER}']}}\n",
    ),
    "token-file": Given(
        dialect="observed",
        form="logfmt",
        flags=("--api.token-file=token", f"--api.headers=X-Key: {HEADER}"),
        wants_token=True,
    ),
    "header": Given(
        dialect="documented",
        form="logfmt",
        flags=(f"--api.headers=Authorization: Bearer {TOKEN}",),
        wants_token=True,
    ),
}


def prepare(folder: Path, given: Given) -> None:
    """Write the files that hold secrets, which are searched neither."""
    (folder / "token").write_text(TOKEN)
    (folder / "config.yml").write_text(given.file)


def found(folder: Path, *texts: str) -> list[str]:
    """Where a canary is: in which file of the folder, or in a text."""
    places = {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in {"token", "config.yml"}
    }
    places |= {text[:40]: text.encode() for text in texts}
    return [
        f"{secret!r} in {place}: …{content[max(0, content.find(secret) - 200) :][:400]!r}…"
        for place, content in places.items()
        for secret in NEVER
        if secret in content
    ]


async def put_out(program: Program) -> list[str]:
    """All that is served."""
    client = await program.client()
    texts = [(await client.get("/metrics", headers=OPENMETRICS)).text]
    for path in ("/metrics", "/", "/api/failures", "/reference", "/-/ready", "/-/healthy", "/none"):
        texts.append((await client.get(path)).text)  # noqa: PERF401  (awaits)
    return texts


FAULTS = (
    FaultSettings(),
    FaultSettings(rate=0.5, slow_seconds=0.1),
    FaultSettings(reject_credentials=True),
    FaultSettings(forbid=True),
)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
async def test_no_secret_is_put_out_anywhere(given: Given, tmp_path: Path) -> None:
    """Log at level debug, metrics in both formats, pages, the ledger's files, under every kind of fault."""
    prepare(tmp_path, given)
    flags = (
        "--log.level=debug",
        f"--log.format={given.form}",
        "--poll.history=all",
        "--poll.settle-grace=0",
        "--state.url=sqlite:///ledger.db",
        *given.flags,
    )
    async with await serve(given.config()) as platform:
        for faults in FAULTS:  # a process each: one that backs off would take its time
            platform.platform.faults.settings = faults
            arguments = running(platform.url, *flags)
            async with started(tmp_path, *arguments, env=dict(given.env)) as program:
                async for _ in attempts("a poll, and failed records that are counted"):
                    failed = await program.value("job_records_finished_total", result_status="fail")
                    if failed >= 3 and await program.value("job_exporter_polls_total"):
                        break
                texts = await put_out(program)
                assert not found(tmp_path, *texts)  # with SQLite's log beside the ledger
                ended = await program.stop()
            assert ended.status == 0
            assert "api request" in ended.stderr  # it was debug
            assert not found(tmp_path)


async def test_the_search_finds_what_the_platform_sends(tmp_path: Path) -> None:
    """The canaries are there to be found: a page of the platform is full of them."""
    given = GIVEN["flags"]
    async with (
        await serve(given.config()) as platform,
        httpx.AsyncClient(auth=(USER, PASSWORD), trust_env=False) as client,
    ):
        url = f"{platform.url}/api/v1/job/record/page?pageNo=1&pageSize=9"
        page = await client.get(url, headers={"Content-Type": "application/json"})
    assert found(tmp_path, page.text)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
async def test_a_check_puts_out_no_secret(given: Given, tmp_path: Path) -> None:
    """Neither where all is well nor where the credentials are refused."""
    prepare(tmp_path, given)
    async with await serve(given.config()) as platform:
        for status, refuse in enumerate((False, True)):
            platform.platform.faults.change({"reject_credentials": refuse})
            address = f"--api.base-url={platform.url}"
            ended = await ran(tmp_path, "check", address, *given.flags, env=dict(given.env))
            assert ended.status == status, ended.stdout
    assert not found(tmp_path)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
async def test_an_audit_puts_out_no_secret(given: Given, tmp_path: Path) -> None:
    """Of a record whose script and outputs hold some, and where the credentials are refused."""
    prepare(tmp_path, given)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    async with await serve(given.config()) as platform:
        Ledger(ledger, platform=platform.url, now=0.0, layout=Layout()).close()
        record = next(one.id for one in platform.platform.world if one.done)
        for refuse, status in ((False, 0), (True, 2)):
            platform.platform.faults.change({"reject_credentials": refuse})
            arguments = (record, f"--api.base-url={platform.url}", f"--state.url={ledger}", *given.flags)
            ended = await ran(tmp_path, "audit", "--json", *arguments, env=dict(given.env))
            assert ended.status == status, ended.stderr
            assert record in ended.stdout  # of the first run, at least
    assert not found(tmp_path)


WRONG = {
    "flag misspelt": (f"--api.pasword={PASSWORD}",),
    "flag with a colon": (f"--api.password:{PASSWORD}",),
    "flag in two words": ("--api.password", "one", PASSWORD),
    "password without a user": (f"--api.password={PASSWORD}",),
    "user in the address": (f"--api.base-url=http://me:{PASSWORD}@platform",),
    "header without a name": (f"--api.headers={HEADER}",),
    "header that breaks a line": (f"--api.headers=X-Key: {HEADER}\r\nfurther",),
    "password of the ledger": (f"--state.url=postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/ledger",),
    "ledger of an unknown kind": (f"--state.url=mongo://me:{PASSWORD}@127.0.0.1:9/ledger",),
    "token for a file": (f"--api.token-file={TOKEN}",),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=[name.replace(" ", "-") for name in WRONG])
async def test_a_refusal_repeats_no_secret(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """What is wrong with a secret is said without it; a path is no secret, and is named."""
    ended = await ran(tmp_path, "run", "--api.base-url=http://127.0.0.1:9", *arguments)
    assert ended.status == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    is_path = arguments[0].startswith("--api.token-file")
    assert is_path or not found(tmp_path)
