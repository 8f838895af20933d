"""Requests without a poll: what one asked, asked again by the clients that a poll is compared with."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from httpx_aiohttp import AiohttpTransport

from exporter.jobapi.client import PATHS, JobApi, PageCost
from exporter.jobapi.errors import Endpoint
from exporter.jobapi.transport import Requests, transport_of
from exporter.metrics.process import ProcessMetrics
from exporter.model import Page, Record, Results
from exporter.settings import ApiSettings

IN_FLIGHT = 8
Question = tuple[Endpoint, Mapping[str, str]]
Ask = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How long a run took: wall and CPU seconds."""

    wall: float
    cpu: float
    parts: Mapping[str, float] = field(default_factory=dict)  # CPU seconds of these parts of it


class NotingApi(JobApi):
    """Notes what was asked, for the floor to ask the same."""

    asked: list[Question]

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """Note, and ask."""
        self.asked.append(("page", {"pageNo": str(number), "pageSize": str(size)}))
        return await super().page(number, size, patient=patient, retry=retry)

    async def record(self, record_id: str) -> Record:
        """Note, and ask."""
        self.asked.append(("record", {"id": record_id}))
        return await super().record(record_id)

    async def results(self, record_id: str) -> Results:
        """Note, and ask."""
        self.asked.append(("result", {"id": record_id}))
        return await super().results(record_id)


def api_config(url: str) -> ApiSettings:
    """The client's defaults, without retries."""
    return ApiSettings(base_url=url, timeout=60.0, concurrency=IN_FLIGHT, retries=0)


@asynccontextmanager
async def plain_httpx() -> AsyncIterator[Ask]:
    """Open httpx on httpx-aiohttp, both as they come."""
    transport = AiohttpTransport(trust_env=False)
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
        yield lambda url, query: client.stream("GET", url, params=query)


@asynccontextmanager
async def own_client(config: ApiSettings) -> AsyncIterator[Ask]:
    """Open what the exporter has made of them."""
    transport = transport_of(config)
    requests = Requests(config)

    @asynccontextmanager
    async def ask(url: str, query: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        request = requests.get(url, query, first_byte=config.timeout)
        async with aclosing(await transport.handle_async_request(request)) as response:
            yield response

    yield ask
    await transport.aclose()


async def fetch_all(opened: AbstractAsyncContextManager[Ask], url: str, asked: Iterable[Question]) -> Run:
    """Fetch all that is asked, as many at once as the exporter, and drop it."""
    questions = iter(asked)
    async with opened as ask:

        async def fetch() -> None:
            for endpoint, query in questions:
                async with ask(url + PATHS[endpoint], query) as response:
                    async for _ in response.aiter_bytes():
                        pass

        watch = started()
        await asyncio.gather(*(fetch() for _ in range(IN_FLIGHT)))
        return watch()


async def decode_all(url: str, asked: list[Question]) -> Run:
    """Ask the same by the exporter's API client, which decodes the answers, and do nothing with them."""
    api = JobApi(api_config(url), ProcessMetrics(version="0", python="3"))
    questions = iter(asked)

    async def ask() -> None:
        for endpoint, query in questions:
            match endpoint:
                case "page":
                    await api.page(int(query["pageNo"]), int(query["pageSize"]))
                case "record":
                    await api.record(query["id"])
                case "result":
                    await api.results(query["id"])

    watch = started()
    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    took = watch()
    await api.aclose()
    return took


def started() -> Callable[[], Run]:
    """Start a watch; what it shows when asked."""
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda: Run(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
