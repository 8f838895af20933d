"""How fast records settle over HTTP, beside the same client that fetches the same and drops it."""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.jobapi.client import JobApi
from exporter.ledger.ledger import Ledger
from exporter.metrics.exposition import Exposition
from exporter.metrics.families import layout
from exporter.metrics.process import ProcessMetrics
from exporter.metrics.publisher import Publisher
from exporter.model import Snapshot
from exporter.polling.config import PollConfig
from exporter.polling.poller import Poller
from exporter.tracking.state import State
from exporter.tracking.values import Changes
from tests.benchmarks.asking import (
    NotingApi,
    Question,
    Run,
    api_config,
    decode_all,
    fetch_all,
    own_client,
    plain_httpx,
    started,
)
from tests.benchmarks.children import canned
from tests.benchmarks.figures import Figure, Section, at_least, plain
from tests.benchmarks.measuring import median
from tests.benchmarks.simulated import METRICS, RULES

REPEAT = 3
STDOUT = 2000  # bytes a host: what the recorded platform was measured with
# Hosts, records (of the larger ones as many as the canned platform can hold), aim.
SIZES = ((1, 2000, 0.6), (50, 900, 0.6), (1000, 60, 0.8))
# Tail pages may take all of the time here: what is measured is our speed, not the platform's rest.
CONFIG = PollConfig(rules=RULES, history=None, duty=1.0)
LEAN = (
    "The difference to the floor is CPU. The rows of a page are the results of its records, so that the "
    "floor has little more than one request a record to make; what else a record costs (decoding, counting, "
    "its share of a commit) is compared with that. The notes say where it goes. Larger rounds, with a "
    "commit for several pages, would bring it nearer, and lose more of a crash's work."
)
REASONS = (
    ("1 host:", LEAN),
    ("50 hosts:", LEAN),
    (
        "1000 hosts:",
        (
            "The difference to the floor is CPU. A record's rows are 3.2 MB. msgspec reads them in a single "
            "pass at some 3 GB/s, but they come faster than that: the client with decoding, without any "
            "poll, has less than half of the floor's speed. On top come counting and a transaction for each "
            "record, since a page of 4 MB holds one. Not to be reached without pages that leave outputs out, "
            "which the platform does not offer."
        ),
    ),
)


class Spent(defaultdict[str, float]):
    """CPU seconds of threads, by what they were spent on."""

    def __init__(self) -> None:
        super().__init__(float)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Add what the block spends."""
        began = time.thread_time()
        yield
        self[what] += time.thread_time() - began


class TimedLedger(Ledger):
    """Tells what its transactions spend."""

    spent: Spent

    def known(self, ids: Collection[str]) -> set[str]:
        """Look, and tell."""
        with self.spent.on("look-ups of known ids"):
            return super().known(ids)

    def commit(self, changes: Changes, *, now: float) -> State:
        """Commit, and tell."""
        with self.spent.on("commits"):
            return super().commit(changes, now=now)


class TimedExposition(Exposition):
    """Tells what rendering spends."""

    def __init__(self, spent: Spent) -> None:
        super().__init__()
        self._spent = spent

    def show(self, snapshot: Snapshot, **options: Any) -> None:
        """Render, and tell."""
        with self._spent.on("rendering"):
            super().show(snapshot, **options)


@contextmanager
def open_ledger(url: str, *, label_limit: int = 500) -> Iterator[TimedLedger]:
    """An empty ledger on disk."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = TimedLedger(
            f"sqlite:///{Path(folder) / 'ledger.db'}",
            platform=url,
            now=time.time(),
            layout=layout(METRICS.model_copy(update={"label_limit": label_limit, "zero_hold": 0.0})),
        )
        ledger.spent = Spent()
        try:
            yield ledger
        finally:
            ledger.close()


def settle(
    url: str, records: int, *, asked: list[Question] | None = None, config: PollConfig = CONFIG
) -> Run:
    """Let an exporter without its web server count all that the platform has, from an empty ledger."""

    async def run() -> Run:
        process, publisher = ProcessMetrics(version="0", python="3"), Publisher(TimedExposition(ledger.spent))
        noting = asked is not None
        api = (NotingApi if noting else JobApi)(api_config(url), process)
        if isinstance(api, NotingApi) and asked is not None:
            api.asked = asked

        poller = Poller(api=api, ledger=ledger, config=config, process=process, publish=publisher.publish)
        publisher.start()
        watch = started()
        while ledger.state.records < records:
            await poller.poll()
            if poller.last_error:
                raise RuntimeError(poller.last_error)
        took = watch()
        publisher.stop()
        await api.aclose()
        return replace(took, parts=ledger.spent)

    with open_ledger(url) as ledger:
        return asyncio.run(run())


def measure() -> Section:
    """Settle small, middle and large records, in turns with the floor."""
    figures: list[Figure] = []
    notes: list[str] = []
    for hosts, records, aim in SIZES:
        with canned(records=records, hosts=hosts, stdout_bytes=STDOUT) as url:
            more, note = _compared(url, hosts, records, aim)
        figures += more
        notes.append(note)
    return Section(
        title="Settling",
        method=f"Records a second from the first request to the last commit, {STDOUT} bytes of stdout a "
        "host, from a process of canned answers. The floor asks the same questions with httpx on "
        "httpx-aiohttp as they come, as many at once, and drops the answers; the own client is what the "
        "exporter has made of these two (requests made without merging, no cookies, large pieces), and "
        "drops them too. A floor with results asks for those of each record besides: the rows of a page "
        "spare the exporter that. api.duty is 1, so that pages need not wait.",
        figures=tuple(figures),
        notes=tuple(notes),
        reasons=REASONS,
    )


def _compared(url: str, hosts: int, records: int, aim: float) -> tuple[list[Figure], str]:
    asked: list[Question] = []
    settle(url, records, asked=asked)  # warms up the platform too
    results: list[Question] = [("result", query) for endpoint, query in asked if endpoint == "record"]
    floors, fuller, owns, clients, ours = [], [], [], [], []
    for _ in range(REPEAT):
        floors.append(asyncio.run(fetch_all(plain_httpx(), url, asked)))
        fuller.append(asyncio.run(fetch_all(plain_httpx(), url, [*asked, *results])))
        owns.append(asyncio.run(fetch_all(own_client(api_config(url)), url, asked)))
        clients.append(asyncio.run(decode_all(url, asked)))
        ours.append(settle(url, records))
    name = f"{hosts} host{'s' * (hosts > 1)}"
    cpu = [median([run.cpu / records * 1e3 for run in runs]) for runs in (floors, owns, clients, ours)]
    more = []
    if hosts == 1:
        usual = settle(url, records, config=replace(CONFIG, duty=PollConfig().duty))
        more = [plain(f"{name}: records a second with the default api.duty", f"{records / usual.wall:,.0f}")]
    return [
        plain(f"{name}: records a second", f"{records / median([run.wall for run in ours]):,.0f}"),
        at_least(f"{name}: of the floor's speed", _share(floors, ours), aim),
        plain(f"{name}: of the speed of a floor with results", f"{_share(fuller, ours):.3f}"),
        plain(f"{name}: of the own client's speed", f"{_share(owns, ours):.3f}"),
        plain(
            f"{name}: CPU a record: floor, own client, with decoding, poll",
            f"{', '.join(f'{spent:.2f}' for spent in cpu)} ms",
        ),
        plain(
            f"{name}: CPU, floor ÷ ours, own client ÷ ours", f"{cpu[0] / cpu[3]:.2f}, {cpu[1] / cpu[3]:.2f}"
        ),
        plain(f"{name}: requests a record", f"{len(asked) / records:.2f}"),
        *more,
    ], _where(
        name, cpu, {part: median([run.parts[part] / records * 1e3 for run in ours]) for part in ours[0].parts}
    )


def _where(name: str, cpu: list[float], parts: Mapping[str, float]) -> str:
    """Tell where the CPU of a record goes, milliseconds."""
    _, own, decoding, poll = cpu
    spent = {
        "asking and receiving": own,
        "decoding": decoding - own,
        **parts,
        "deciding, and the tasks of a round": poll - decoding - sum(parts.values()),
    }
    places = ", ".join(f"{what} {took:.2f}" for what, took in spent.items())
    return f"{name}: where the {poll:.2f} ms of CPU a record go: {places}."


def _share(floors: list[Run], ours: list[Run]) -> float:
    """How fast ours is, beside each floor of the same turn."""
    return median([floor.wall / our.wall for floor, our in zip(floors, ours, strict=True)])
