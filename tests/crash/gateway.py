"""A proxy before the simulator: holds the requests that a test picks, so that a moment lasts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from tests.crash.harness import attempts

Holds = Callable[[str], bool]


def everything(_target: str) -> bool:
    """Hold every request."""
    return True


def tail_pages(target: str) -> bool:
    """Hold pages, but not the small question for the total."""
    return "/page?" in target and not target.endswith("pageNo=1&pageSize=1")


def looks(target: str) -> bool:
    """Hold look-ups of records."""
    return "/record?" in target


@dataclass(kw_only=True)
class Gateway:
    """A proxy that listens at `url`; `holds` says, by path and query, which requests get no answer yet."""

    url: str = ""
    holds: Holds = lambda _target: False
    held: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    async def holding(self, part: str = "") -> None:
        """Wait until a request that has `part` in its path or query is held."""
        async for _ in attempts(f"a request with {part!r} that is held"):
            if any(part in target for target in self.held):
                return

    async def has_answered(self, part: str) -> None:
        """Wait until such a request was answered."""
        async for _ in attempts(f"a request with {part!r} that is answered"):
            if any(part in target for target in self.answered):
                return


@asynccontextmanager
async def gateway(platform: str, holds: Holds | None = None) -> AsyncIterator[Gateway]:
    """Serve on a free port of the loopback until the block ends."""
    gate, released = Gateway(), asyncio.Event()
    if holds is not None:
        gate.holds = holds

    async def handle(request: web.Request) -> web.Response:
        target = request.path_qs
        if gate.holds(target):
            gate.held.append(target)
            await released.wait()
        answer = await client.get(target, headers={"Content-Type": "application/json"})
        gate.answered.append(target)
        return web.Response(body=answer.content, status=answer.status_code)

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    async with httpx.AsyncClient(base_url=platform, trust_env=False) as client:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield gate
        finally:
            released.set()
            await runner.cleanup()
