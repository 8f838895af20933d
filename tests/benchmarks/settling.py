"""How fast records settle over HTTP, beside the same client that fetches the same and drops it."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

from exporter.api import PATHS, ApiConfig, Endpoint, JobApi, PageCost
from exporter.app import layout
from exporter.connection import aiohttp_transport, http_client
from exporter.exposition import Exposition
from exporter.ledger import Ledger
from exporter.metrics import ProcessMetrics
from exporter.model import Page, Record, Results
from exporter.poller import PollConfig, Poller
from tests.benchmarks.children import canned
from tests.benchmarks.figures import Figure, Section, at_least, plain
from tests.benchmarks.measuring import median
from tests.benchmarks.profiling import Profile, profiled
from tests.benchmarks.simulated import METRICS, RULES

IN_FLIGHT = 8
REPEAT = 3
STDOUT = 2000  # bytes a host: what the recorded platform was measured with
# Hosts, records, aim (0.5 was the first one for small records).
SIZES = ((1, 2000, 0.6), (50, 300, 0.6), (1000, 24, 0.8))
# Tail pages may take all of the time here: what is measured is our speed, not the platform's rest.
CONFIG = PollConfig(rules=RULES, history=None, duty=1.0)
REASONS = (
    (
        "50 hosts",
        (
            "The difference to the floor is CPU. What a record costs beyond its bytes (its own answer, "
            "counting, its share of a commit) is as for one host, and its rows come on top."
        ),
    ),
    (
        "1000 hosts",
        (
            "The difference to the floor is CPU. Each row arrives twice, on the page and as a result: with "
            "decoding the client alone takes the second figure of CPU a record, and the poll adds the rest: "
            "rows that become objects, counting, and a commit for each record, since a page of 4 MB holds "
            "one. Not to be reached without pages that leave outputs out, which the platform does not offer; "
            "what a faster scan of strings would bring was not tried."
        ),
    ),
)
Question = tuple[Endpoint, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How long a run took: wall and CPU seconds."""

    wall: float
    cpu: float


class NotingApi(JobApi):
    """Notes what was asked, for the floor to ask the same."""

    asked: list[Question]

    async def page(self, number: int, size: int) -> tuple[Page, PageCost]:
        """Note, and ask."""
        self.asked.append(("page", {"pageNo": str(number), "pageSize": str(size)}))
        return await super().page(number, size)

    async def record(self, record_id: str) -> Record:
        """Note, and ask."""
        self.asked.append(("record", {"id": record_id}))
        return await super().record(record_id)

    async def results(self, record_id: str) -> Results:
        """Note, and ask."""
        self.asked.append(("result", {"id": record_id}))
        return await super().results(record_id)


def api_config(url: str) -> ApiConfig:
    """The client's defaults."""
    return ApiConfig(
        base_url=url,
        timeout=60.0,
        concurrency=IN_FLIGHT,
        max_response_bytes=64 << 20,
        retries=0,
        zone=UTC,
    )


@contextmanager
def open_ledger(url: str, *, label_limit: int = 500) -> Iterator[Ledger]:
    """An empty ledger on disk."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(
            f"sqlite:///{Path(folder) / 'ledger.db'}",
            platform=url,
            now=time.time(),
            layout=layout(METRICS, label_limit=label_limit),
        )
        try:
            yield ledger
        finally:
            ledger.close()


def settle(
    url: str, records: int, *, asked: list[Question] | None = None, config: PollConfig = CONFIG
) -> Run:
    """Let an exporter without its web server count all that the platform has, from an empty ledger."""

    async def run() -> Run:
        process, exposition = ProcessMetrics(version="0", python="3"), Exposition(zero_hold=60.0)
        noting = asked is not None
        api = (NotingApi if noting else JobApi)(api_config(url), process)
        if isinstance(api, NotingApi) and asked is not None:
            api.asked = asked
        poller = Poller(api=api, ledger=ledger, config=config, process=process, publish=exposition.publish)
        watch = _watch()
        while ledger.state.records < records:
            await poller.poll()
            if poller.last_error:
                raise RuntimeError(poller.last_error)
        took = watch()
        await api.aclose()
        return took

    with open_ledger(url) as ledger:
        return asyncio.run(run())


async def fetch_all(url: str, asked: Iterable[Question]) -> Run:
    """Fetch all that is asked with the exporter's client, as many at once, and drop it."""
    client = http_client(aiohttp_transport(api_config(url)))
    questions = iter(asked)

    async def fetch() -> None:
        for endpoint, query in questions:
            async with client.stream("GET", url + PATHS[endpoint], params=dict(query)) as response:
                async for _ in response.aiter_bytes():
                    pass

    watch = _watch()
    await asyncio.gather(*(fetch() for _ in range(IN_FLIGHT)))
    took = watch()
    await client.aclose()
    return took


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

    watch = _watch()
    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    took = watch()
    await api.aclose()
    return took


def _watch() -> Callable[[], Run]:
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda: Run(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def measure() -> Section:
    """Settle small, middle and large records, in turns with the floor."""
    figures: list[Figure] = []
    notes: list[str] = []
    gc.collect()
    gc.freeze()  # as the daemon does
    for hosts, records, aim in SIZES:
        with canned(records=records, hosts=hosts, stdout_bytes=STDOUT) as url:
            more, profile = _compared(url, hosts, records, aim)
        figures += more
        notes += profile.lines(f"{hosts} host{'s' * (hosts > 1)} a record", top=8)
    return Section(
        title="Settling",
        method=f"Records a second from the first request to the last commit, {STDOUT} bytes of stdout a "
        "host, from a process of canned answers; the floor asks the same questions with the same "
        "client and drops the answers. api.duty is 1, so that pages need not wait. The profile is "
        "of the CPU time of all threads, by the innermost function of ours and the libraries it "
        "called into; what `api.JobApi._open` and `_read` take is nearly all the floor's too.",
        figures=tuple(figures),
        notes=tuple(notes),
        reasons=REASONS,
    )


def _compared(url: str, hosts: int, records: int, aim: float) -> tuple[list[Figure], Profile]:
    asked: list[Question] = []
    settle(url, records, asked=asked)  # warms up the platform too
    ours, floors, clients = [], [], []
    for _ in range(REPEAT):
        floors.append(asyncio.run(fetch_all(url, asked)))
        clients.append(asyncio.run(decode_all(url, asked)))
        ours.append(settle(url, records))
    name = f"{hosts} host{'s' * (hosts > 1)}"
    wall = median([low.wall / our.wall for our, low in zip(ours, floors, strict=True)])
    cpu = [median([run.cpu / records * 1e3 for run in runs]) for runs in (floors, clients, ours)]
    with profiled() as profile:
        settle(url, records)
    more = []
    if hosts == 1:
        usual = settle(url, records, config=replace(CONFIG, duty=PollConfig().duty))
        more = [plain(f"{name}: records a second with the default api.duty", f"{records / usual.wall:,.0f}")]
    return [
        plain(f"{name}: records a second", f"{records / median([run.wall for run in ours]):,.0f}"),
        at_least(f"{name}: of the floor's speed", wall, aim),
        plain(
            f"{name}: CPU a record: floor, client with decoding, poll",
            f"{cpu[0]:.2f}, {cpu[1]:.2f}, {cpu[2]:.2f} ms",
        ),
        plain(f"{name}: CPU, floor ÷ ours", f"{cpu[0] / cpu[2]:.2f}"),
        plain(f"{name}: requests a record", f"{len(asked) / records:.2f}"),
        *more,
    ], profile
