"""What is measured of memory, in a process of its own that prints one JSON object.

`python -m tests.benchmarks.filling ledger FILE RECORDS` commits so many finished records of one host, a
poll's worth at a time, over sixty simulated days with a retention of thirty. `… start FILE` opens that
ledger.
`… body URL` reads the first record of a platform: its page, itself, its results.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from exporter.discovery.tail import Tail
from exporter.jobapi.client import JobApi
from exporter.ledger.ledger import Ledger
from exporter.metrics.families import layout
from exporter.metrics.process import ProcessMetrics
from exporter.model import ExecuteStatus, HostResult, HostStatus, Record, Results, ResultStatus
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Counting
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes, Outcome, Settlement
from tests.benchmarks.asking import api_config
from tests.benchmarks.measuring import peak, quiet, resident
from tests.benchmarks.simulated import RULES

BATCH = 400  # the poller's round
DAY = 86_400.0
DAYS, RETENTION = 60, 30
START = 1_800_000_000.0


def opened(path: str) -> Ledger:
    """Open the ledger at a path."""
    url = f"sqlite:///{path}"
    return Ledger(
        url, platform="http://platform.test", now=START, layout=layout(MetricsSettings(zero_hold=0.0))
    )


def fill(path: str, records: int) -> dict[str, float]:
    """Commit records; resident MB at a tenth and at the end, the largest file in MB, seconds."""
    ledger = opened(path)
    began, early, largest, day = time.perf_counter(), 0.0, 0.0, 0
    for first in range(0, records, BATCH):
        now = START + DAYS * DAY * first / records
        ledger.commit(_batch(first, min(BATCH, records - first), now), now=now)
        early = early or (resident() if first >= records / 10 else 0.0)
        if now > START + day * DAY:
            day += 1
            ledger.prune(before=now - RETENTION * DAY)
            largest = max(largest, _size(path))
    seconds = time.perf_counter() - began
    result = {"early": early, "end": resident(), "file": max(largest, _size(path)), "seconds": seconds}
    result["kept"] = float(ledger.state.records)
    ledger.close()
    return result


def _size(path: str) -> float:
    return sum(file.stat().st_size for file in Path(path).parent.iterdir()) / 1e6


def _batch(first: int, count: int, now: float) -> Changes:
    counting = Counting(now=now, platform_now=now, buckets=RULES.buckets)
    settlements = []
    for number in range(first, first + count):
        record = Record(
            id=f"{number:08x}-9c44-9d1c-6040-5eed76689dd2",
            execute_status=ExecuteStatus.DONE,
            result_status=ResultStatus.SUCCESS if number % 20 else ResultStatus.FAIL,
            start=now - 20.0,
            end=now - 10.0 + number % 7,
            provider="salt",
            script_type="bash",
        )
        row = HostResult(host_id="h", idc=f"idc-{number % 5}", status=HostStatus.SUCCESS)
        settlements.append(
            Settlement(
                id=record.id,
                outcome=Outcome.SETTLED,
                found=now - 15.0,
                increments=counting.record(record, Results(rows=(row,))),
                record=record,
            )
        )
    counting_start = CountingStart(baseline_end=START, floor=START)
    return Changes(tail=Tail(), counting_start=counting_start, settlements=tuple(settlements))


def start(path: str) -> dict[str, float]:
    """Open the ledger; seconds, and resident MB then."""
    began = time.perf_counter()
    ledger = opened(path)
    result = {"seconds": time.perf_counter() - began, "resident": resident()}
    ledger.close()
    return result


def body(url: str) -> dict[str, float]:
    """Read a heavy record; how far the peak of resident memory grew, MB, and seconds."""

    async def run() -> float:
        api = JobApi(api_config(url), ProcessMetrics(version="0", python="3"))
        page, _ = await api.page(1, 1)
        record = await api.record(page.items[0].id)
        results = await api.results(record.id)
        await api.aclose()
        return float(len(results.rows))

    before, began = peak(), time.perf_counter()
    hosts = asyncio.run(run())
    return {"grown": peak() - before, "hosts": hosts, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    quiet()
    match sys.argv[1:]:
        case ["ledger", path, records]:
            answer = fill(path, int(records))
        case ["start", path]:
            answer = start(path)
        case ["body", url]:
            answer = body(url)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
