"""What is measured of `backfill`, in a process of its own that prints one JSON object.

`python -m tests.benchmarks.backfilling command URL FOLDER` runs the command for all that a platform has.
`… memory FOLDER RECORDS` reads so many finished records of one host, a month of them, from a platform inside
the process (HTTP would take most of the time and hold nothing), and writes the output.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from exporter.backfill.command import backfill
from exporter.backfill.reader import Reader, ReadingConfig
from exporter.backfill.samples import grid
from exporter.backfill.workfile import WorkFile
from exporter.backfill.writer import Text, output, summed
from exporter.discovery.pages import Order, covered
from exporter.jobapi.client import PageCost
from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    Page,
    PageItem,
    Record,
    Results,
    ResultStatus,
)
from exporter.settings.time_range import Window
from tests.benchmarks.measuring import peak, resident
from tests.benchmarks.simulated import METRICS, RULES

MONTH = 30 * 86_400.0
BEGIN = 1_690_000_000.0
STEP = 300.0  # seconds between two samples: a fifth of the text that the default step makes
RUN = 20.0  # seconds of each record


class LongPlatform:
    """A month of records at even distances; none exists until it is asked for."""

    def __init__(self, records: int) -> None:
        self._records = records

    def platform_now(self) -> None:
        """As `JobApi.platform_now`: not known."""

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """As `JobApi.page`: host rows, so that each record is looked at."""
        lo, hi = covered(
            Page(number=number, size=size, total=self._records, items=()), self._records, Order.ASC
        )
        items = tuple(PageItem(id=f"{place:08x}", start=self._start(place)) for place in range(lo, hi))
        return Page(number=number, size=size, total=self._records, items=items), PageCost(
            seconds=0.0, size=400 * len(items)
        )

    async def record(self, record_id: str) -> Record:
        """As `JobApi.record`."""
        place = int(record_id, 16)
        return Record(
            id=record_id,
            execute_status=ExecuteStatus.DONE,
            result_status=ResultStatus.FAIL if place % 20 == 0 else ResultStatus.SUCCESS,
            start=self._start(place),
            end=self._start(place) + RUN,
            provider="salt",
            script_type="bash",
        )

    async def results(self, record_id: str) -> Results:
        """As `JobApi.results`."""
        idc = f"idc-{int(record_id, 16) % 5}"
        return Results(rows=(HostResult(host_id="h", idc=idc, status=HostStatus.SUCCESS),))

    def _start(self, place: int) -> float:
        return BEGIN + place * (MONTH - RUN) / self._records


def command(url: str, folder: str) -> dict[str, float]:
    """Run the command as a user does; seconds, and MB of resident memory at the highest."""
    flags = (f"--api.base-url={url}", "--api.duty=1", f"--state.url=sqlite:///{folder}/none.db")
    began = time.perf_counter()
    backfill((*flags, "--from=2023-11-01", "--to=2023-12-01", f"--output={folder}/command.txt"), {})
    return {"seconds": time.perf_counter() - began, "peak": peak()}


def memory(folder: str, records: int) -> dict[str, float]:
    """Read and write a month; seconds of each, and MB of resident memory on the way and at the highest."""
    window = Window(begin=BEGIN - 1.0, end=BEGIN + MONTH)
    path = Path(folder) / "memory.txt"
    early: list[float] = []

    def tell(share: float, _count: int) -> None:
        if share >= 0.1 and not early:
            early.append(resident())

    work = WorkFile(Path(folder) / "memory.partial", {})
    reader = Reader(
        api=LongPlatform(records),
        work=work,
        window=window,
        config=ReadingConfig(duty=1.0, buckets=RULES.buckets),
        tell=tell,
    )
    began = time.perf_counter()
    asyncio.run(reader.read())
    read = time.perf_counter()
    counted, samples = work.counted(), grid(window, step=STEP)
    sums = summed(work, samples, window, METRICS, label_limit=500)
    with output(path) as write:
        for piece in Text(work, samples, sums, METRICS, ()).lines():
            write(piece)
    written = time.perf_counter()
    kept = (Path(folder) / "memory.partial").stat().st_size / 1e6
    work.remove()
    return {
        "counted": counted,
        "reading": read - began,
        "writing": written - read,
        "early": early[0],
        "peak": peak(),
        "work": kept,
        "text": path.stat().st_size / 1e6,
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["command", url, folder]:
            answer = command(url, folder)
        case ["memory", folder, records]:
            answer = memory(folder, int(records))
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
