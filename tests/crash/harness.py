"""The program as a process of its own: started, watched, scraped, stopped or killed.

Nothing here reaches into the process: what tests learn comes from its exit status, its two outputs, its
web pages and, once it is dead, the file of its ledger.
"""

import asyncio
import json
import os
import re
import resource
import sqlite3
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

PATIENCE = 30.0  # seconds until a test that waits in vain fails: two cores are shared with other tests
STEP = 0.02  # seconds between two looks at a condition
PROMISED_STOP = 2.0  # seconds in which a signal ends the process

LISTENING = r'(?m)^(?=.*\blistening\b).*?\bport"?[=:] ?([0-9]+)'  # in either form of the log

# What a short test needs; everything else stays as it is for a user.
QUICK = ("--poll.interval=1s", "--metrics.zero-hold=0", "--web.listen-address=127.0.0.1:0")

Key = tuple[str, tuple[tuple[str, str], ...]]  # name of a sample, its labels sorted by name
Scrape = Mapping[Key, float]


def key(name: str, **labels: str) -> Key:
    """Name a sample."""
    return name, tuple(sorted(labels.items()))


async def attempts(what: str, *, patience: float = PATIENCE) -> AsyncIterator[None]:
    """Go round until the caller breaks off; AssertionError naming `what` when that takes too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(STEP)
    raise AssertionError(f"waited {patience:g} s in vain for: {what}")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What is left of a process: its exit status (negative: the signal), outputs, and how long its end took.

    `seconds` are those on which it had a core or waited for something else: tests share the machine.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float


class Program:
    """A running `job-exporter`; made by `started`."""

    def __init__(self, process: Process, folder: Path, log_from: int) -> None:
        self._process, self._folder, self._log_from = process, folder, log_from
        self._client: httpx.AsyncClient | None = None

    @property
    def log(self) -> str:
        """What this process has written to standard error so far."""
        return (self._folder / "stderr").read_bytes()[self._log_from :].decode()

    @property
    def stdout(self) -> str:
        """What was written to standard output in this folder so far."""
        return (self._folder / "stdout").read_text()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def memory(self) -> int:
        """Bytes that it holds resident."""
        return psutil.Process(self._process.pid).memory_info().rss

    @property
    def descriptors(self) -> int:
        """Files and sockets that it has open."""
        return psutil.Process(self._process.pid).num_fds()

    async def logged(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log that matches."""
        try:
            async for _ in attempts(f"{pattern!r} in the log"):
                if match := re.search(pattern, self.log):
                    return match
                assert self.alive, f"it ended with status {self._process.returncode}"
        except AssertionError as error:
            error.add_note(f"its log:\n{self.log[-10_000:]}")
            raise
        raise AssertionError  # pragma: no cover  (attempts never ends by itself)

    async def url(self) -> str:
        """Where it serves, once it does."""
        return f"http://127.0.0.1:{(await self.logged(LISTENING))[1]}"

    async def client(self) -> httpx.AsyncClient:
        """A client of its pages, with keep-alive."""
        if self._client is None:
            self._client = httpx.AsyncClient(base_url=await self.url(), trust_env=False, timeout=PATIENCE)
        return self._client

    async def get(self, path: str) -> httpx.Response:
        """Ask for a page."""
        return await (await self.client()).get(path)

    async def scrape(self) -> Scrape:
        """What a Prometheus server reads."""
        answer = await self.get("/metrics")
        assert answer.status_code == 200, answer.text
        return parsed(answer.text)

    async def value(self, name: str, **labels: str) -> float:
        """The sum of a family's samples that have these labels."""
        return total(await self.scrape(), name, **labels)

    async def ready(self) -> None:
        """Wait for the first good poll."""
        async for _ in attempts("ready"):
            if (await self.get("/-/ready")).status_code == 200:
                return

    async def begun(self) -> None:
        """Wait for the end of the first reading: what ends from now on is no baseline."""
        await self.logged("first reading ended")
        await self.ready()

    def limit(self, which: int, soft: int) -> None:
        """Change a limit of the running process, one of `resource.RLIMIT_…`."""
        _, hard = resource.prlimit(self._process.pid, which)
        resource.prlimit(self._process.pid, which, (soft, hard))

    @property
    def cpu_seconds(self) -> float:
        """What it has computed so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def signal(self, number: Signals) -> None:
        """Send a signal; from any thread, so not by asyncio, which would reap the process on the way."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    async def lives(self, seconds: float) -> bool:
        """Whether it is still there after so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._process.wait()), seconds)
        return self.alive

    async def kill(self) -> None:
        """SIGKILL: nothing of it runs any more when this returns."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def stop(self, number: Signals = SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        self.signal(number)
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait for the end."""
        began, starved_before = time.monotonic(), self._starved()
        starved = starved_before
        async for _ in attempts("the end of the process"):
            if not self.alive:
                break
            starved = max(starved, self._starved())
        seconds = time.monotonic() - began - (starved - starved_before)
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        return Ended(status=await self._process.wait(), stdout=self.stdout, stderr=self.log, seconds=seconds)

    def _starved(self) -> float:
        """Seconds that its threads were ready to run, and others had the cores; 0 where no kernel tells."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        try:
            return sum(int(told.read_text().split()[1]) for told in tasks.glob("*/schedstat")) / 1e9
        except (OSError, IndexError):
            return 0.0


async def spawn(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
    """Start `job-exporter` with `folder` as its working directory; the caller ends it."""
    with (folder / "stdout").open("ab") as stdout, (folder / "stderr").open("ab") as stderr:
        log_from = stderr.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "exporter",
            *arguments,
            cwd=folder,
            env={**_environment(), **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    return Program(process, folder, log_from)


@asynccontextmanager
async def started(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Start `job-exporter`; it is killed at the end of the block if it still runs."""
    program = await spawn(folder, *arguments, env=env)
    try:
        yield program
    finally:
        await program.kill()


async def ran(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run `job-exporter` to its end."""
    async with started(folder, *arguments, env=env) as program:
        return await program.ended()


def running(base_url: str, *arguments: str) -> tuple[str, ...]:
    """The arguments of a quick exporter of this platform."""
    return ("run", f"--api.base-url={base_url}", *QUICK, *arguments)


def preloaded(folder: Path, code: str) -> Mapping[str, str]:
    """Give the environment of programs that run this code first; what Python finds otherwise stays."""
    (folder / "sitecustomize.py").write_text(code)
    paths = (str(folder), os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def parsed(text: str) -> Scrape:
    """Read the text format, by prometheus-client's parser; no sample stands twice."""
    scrape: dict[Key, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = key(sample.name, **sample.labels)
            assert name not in scrape, name
            scrape[name] = sample.value
    return scrape


def total(scrape: Scrape, name: str, **labels: str) -> float:
    """The sum of a family's samples that have these labels."""
    return sum(
        value
        for (sample, found), value in scrape.items()
        if sample == name and labels.items() <= dict(found).items()
    )


@dataclass(frozen=True, kw_only=True)
class LedgerRows:
    """What the tables of a ledger hold of records."""

    settled: Mapping[str, tuple[str, float | None]]  # id → (result, end) of what was counted
    baseline: frozenset[str]
    vanished: frozenset[str]
    followed: frozenset[str]
    begun: bool  # the first reading has ended


NO_ROWS = LedgerRows(
    settled={}, baseline=frozenset(), vanished=frozenset(), followed=frozenset(), begun=False
)


def ledger_rows(path: Path) -> LedgerRows:
    """Read an SQLite ledger beside (or after) its process."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "job_exporter_settled" not in tables:
            return NO_ROWS
        connection.execute("BEGIN")
        return rows_of(lambda query: list(connection.execute(query)))


def rows_of(select: Callable[[str], list[tuple[Any, ...]]]) -> LedgerRows:
    """Read a ledger, of either kind; all answers of `select` are of one moment."""
    rows = select("SELECT id, outcome, result, ended FROM job_exporter_settled")
    meta = dict(select("SELECT key, value FROM job_exporter_meta"))
    start = json.loads(meta.get("progress", "{}")).get("counting_start")

    def ids(wanted: str) -> frozenset[str]:
        return frozenset(id_ for id_, outcome, _, _ in rows if outcome == wanted)

    return LedgerRows(
        settled={id_: (result, ended) for id_, outcome, result, ended in rows if outcome == "settled"},
        baseline=ids("baseline"),
        vanished=ids("vanished"),
        followed=frozenset(id_ for (id_,) in select("SELECT id FROM job_exporter_followed")),
        begun=start is not None and start["floor"] is not None,
    )


def _environment() -> dict[str, str]:
    """Give ours, without settings of an exporter and proxies that a developer may have set."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("JOB_EXPORTER_") and not name.lower().endswith("_proxy")
    }
    return env | {"PYTHONWARNINGS": "default::ResourceWarning"}
