"""The ledger alone, on PostgreSQL and on SQLite: settled records a second, by commits like a poll's."""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from exporter.discovery.tail import Tail
from exporter.ledger.ledger import Ledger
from exporter.metrics.families import layout
from exporter.model import ExecuteStatus, Record, ResultStatus, Series
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Increment
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes, Outcome, Settlement
from tests.benchmarks.figures import Figure, Section, plain, shown
from tests.harness.postgres import server

ROUNDS = 60  # commits of each size on each database, in turns
SIZES = (1, 50, 400)  # records a commit: a quiet poll, a busy one, a full round
HOSTS = Series("job_host_results_total", (("idc", "idc-1"), ("status", "success")))
FINISHED = Series(
    "job_records_finished_total",
    (("result_status", "success"), ("provider", "salt"), ("script_type", "bash")),
)


def measure() -> Section:
    """Commit the same records to both, in turns; both confirm what is on the disk only."""
    with tempfile.TemporaryDirectory() as folder, server({}) as postgres:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'ledger.db'}", "PostgreSQL": postgres.url()}
        ledgers = {name: _opened(url) for name, url in urls.items()}
        figures: list[Figure] = []
        for size in SIZES:
            seconds = _committed(ledgers, size)
            rates = {name: ROUNDS * size / spent for name, spent in seconds.items()}
            figures += [
                plain(f"{name}, {size} records a commit", shown(rate, "records/s"))
                for name, rate in rates.items()
            ]
            ratio = rates["PostgreSQL"] / rates["SQLite"]
            figures.append(plain(f"PostgreSQL ÷ SQLite, {size} records a commit", f"{ratio:.2f}"))
        for ledger in ledgers.values():
            ledger.close()
    return Section(
        title="PostgreSQL beside SQLite",
        method=f"The ledger alone: {ROUNDS} commits of each size, of one host a record, in turns on both. "
        "PostgreSQL on a Unix socket of the same machine, fsync on in both.",
        figures=tuple(figures),
    )


def _opened(url: str) -> Ledger:
    chosen = layout(MetricsSettings(zero_hold=0.0))
    return Ledger(url, platform="http://platform.test", now=time.time(), layout=chosen, lease=60.0)


def _committed(ledgers: dict[str, Ledger], size: int) -> dict[str, float]:
    """Seconds that the commits took on each."""
    spent = dict.fromkeys(ledgers, 0.0)
    for number in range(ROUNDS):
        changes = _changes(f"{size}-{number}-{index}" for index in range(size))
        for name, ledger in ledgers.items():
            began = time.perf_counter()
            ledger.commit(changes, now=time.time())
            spent[name] += time.perf_counter() - began
    return spent


def _changes(ids: Iterable[str]) -> Changes:
    now = time.time()
    return Changes(
        tail=Tail(),
        counting_start=CountingStart(baseline_end=now, floor=now),
        settlements=tuple(
            Settlement(
                id=id_,
                outcome=Outcome.SETTLED,
                found=now,
                record=Record(
                    id=id_,
                    execute_status=ExecuteStatus.DONE,
                    result_status=ResultStatus.SUCCESS,
                    start=now - 5,
                    end=now,
                ),
                increments=(Increment(series=FINISHED), Increment(series=HOSTS)),
            )
            for id_ in ids
        ),
    )
