"""Replicas as processes, each with its own cable to the database, and what may happen to one that leads."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from tests.crash.cable import Cable
from tests.crash.harness import Program, running, spawn

INTERVAL = 1.0  # seconds between polls, and the shortest lease there is
FLAGS = (
    f"--poll.interval={INTERVAL:g}s",
    "--poll.recheck-interval=3s",
    "--poll.settle-grace=4s",
    "--api.duty=1",
)


@dataclass(kw_only=True)
class Member:
    """One replica: its folder, its cable to the database, its process."""

    folder: Path
    line: Cable
    url: str
    program: Program | None = None

    @property
    def running(self) -> Program:
        """Its process."""
        assert self.program is not None
        return self.program

    async def start(self, platform: str) -> None:
        """Start it, and wait until it serves."""
        self.program = await spawn(self.folder, *running(platform, *FLAGS, f"--state.url={self.url}"))
        await self.program.url()

    async def leads(self) -> bool:
        """Whether it says that it polls."""
        return await self.running.value("job_exporter_leader") == 1


@asynccontextmanager
async def killed(leader: Member, platform: str) -> AsyncIterator[None]:
    """SIGKILL, and another start."""
    await leader.running.kill()
    yield
    await leader.start(platform)


@asynccontextmanager
async def paused(leader: Member, platform: str) -> AsyncIterator[None]:
    """SIGSTOP; when it goes on, it believes for a moment to lead."""
    leader.running.signal(SIGSTOP)
    try:
        yield
    finally:
        leader.running.signal(SIGCONT)


@asynccontextmanager
async def cut_off(leader: Member, platform: str) -> AsyncIterator[None]:
    """Nothing gets through to the database, and nobody says so."""
    leader.line.cut("silent")
    try:
        yield
    finally:
        leader.line.mend()


@asynccontextmanager
async def disconnected(leader: Member, platform: str) -> AsyncIterator[None]:
    """Connections to the database break, and new ones are refused."""
    leader.line.cut("reset")
    try:
        yield
    finally:
        leader.line.mend()


@asynccontextmanager
async def stopped(leader: Member, platform: str) -> AsyncIterator[None]:
    """SIGTERM, as in a rolling restart."""
    ended = await leader.running.stop()
    assert ended.status == 0, ended.stderr
    yield
    await leader.start(platform)


Trouble = Callable[[Member, str], AbstractAsyncContextManager[None]]
TROUBLES: Mapping[str, Trouble] = {
    "killed": killed,
    "paused": paused,
    "cut off": cut_off,
    "disconnected": disconnected,
    "stopped": stopped,
}
