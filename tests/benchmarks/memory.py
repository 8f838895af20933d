"""Memory: heavy bodies, and many records through the ledger."""

import json
import tempfile
from pathlib import Path

from tests.benchmarks.children import canned, child, heard
from tests.benchmarks.figures import Figure, Section, at_most, plain

FILLING = ("-m", "tests.benchmarks.filling")
MEGABYTE = 1_000_000
HOSTS, HOSTS_FULL = 100, 1000
RECORDS, RECORDS_FULL = 200_000, 1_000_000


def measure(full: bool) -> Section:
    """Read a heavy record, and fill a ledger; the whole of the aim with `full`."""
    hosts, records = (HOSTS_FULL, RECORDS_FULL) if full else (HOSTS, RECORDS)
    return Section(
        title="Memory",
        method=f"A record of {hosts:,} hosts with 1 MB of stdout each, read by the client over HTTP: its "
        "page of one record, itself, its results, with the default api.max-response-bytes. "
        f"{records:,} finished records of one host committed 400 at a time over 60 simulated days, "
        "with a retention of 30. Each in a process of its own.",
        figures=(*_body(hosts), *_ledger(records)),
    )


def _ask(*arguments: str | int) -> dict[str, float]:
    with child(*FILLING, *arguments) as process:
        answer: dict[str, float] = json.loads(heard(process))
    return answer


def _body(hosts: int) -> list[Figure]:
    with canned(records=1, hosts=hosts, stdout_bytes=MEGABYTE) as url:
        answer = _ask("body", url)
    name = f"{hosts:,} hosts of 1 MB"
    return [
        at_most(f"{name}: growth of resident memory", answer["grown"], 100.0, "MB"),
        plain(f"{name}: seconds for page and results", f"{answer['seconds']:.2f}"),
    ]


def _ledger(records: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ledger.db")
        filled = _ask("ledger", path, records)
        started = _ask("start", path)
    name = f"{records:,} records"
    return [
        plain(f"{name}: committed a second", f"{records / filled['seconds']:,.0f}"),
        at_most(f"{name}: resident at the end", filled["end"], 150.0, "MB"),
        plain(f"{name}: resident at a tenth of them", f"{filled['early']:.0f} MB"),
        at_most(f"{name}: start with that ledger", started["seconds"], 2.0, "s"),
        plain(f"{name}: kept, largest file", f"{filled['kept']:,.0f}, {filled['file']:.0f} MB"),
    ]
