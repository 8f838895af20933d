"""Backfill: records a second over HTTP, and the memory of a month of records."""

import json
import tempfile

from tests.benchmarks.children import canned, child, heard
from tests.benchmarks.figures import Figure, Section, at_most, plain

BACKFILLING = ("-m", "tests.benchmarks.backfilling")
ASKED = 5_000  # records over HTTP
RECORDS, RECORDS_FULL = 100_000, 1_000_000


def measure(full: bool) -> Section:
    """Run the command over HTTP, and read and write a month; a million records of it with `full`."""
    records = RECORDS_FULL if full else RECORDS
    return Section(
        title="Backfill",
        method=f"The command for {ASKED:,} records of one host from a process of canned answers, with "
        f"api.duty=1, so that pages need not wait. Then a month of {records:,} records from a platform "
        "inside the process, a sample each five minutes. Each in a process of its own.",
        figures=(*_command(), *_month(records)),
    )


def _ask(*arguments: str | int, says: str = "") -> dict[str, float]:
    with child(*BACKFILLING, *arguments) as process:
        told = heard(process) if says else ""  # the command says how it went
        if says not in told:
            raise RuntimeError(f"it did not say {says!r}: {told}")
        answer: dict[str, float] = json.loads(heard(process))
    return answer


def _command() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, canned(records=ASKED, hosts=1) as url:
        answer = _ask("command", url, folder, says=f" {ASKED:,} records that ended")
    return [
        plain("over HTTP: records a second, the output included", f"{ASKED / answer['seconds']:,.0f}"),
        plain("over HTTP: highest resident memory", f"{answer['peak']:.0f} MB"),
    ]


def _month(records: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        answer = _ask("memory", folder, records)
    if answer["counted"] != records:
        raise RuntimeError(f"{answer['counted']:,.0f} of {records:,} records were counted")
    name = f"{records:,} records"
    return [
        plain(f"{name}: read a second, without HTTP", f"{records / answer['reading']:,.0f}"),
        plain(f"{name}: resident at a tenth of them", f"{answer['early']:.0f} MB"),
        at_most(f"{name}: highest resident memory", answer["peak"], 150.0, "MB"),
        plain(
            f"{name}: work file, output",
            f"{answer['work']:.0f} MB, {answer['text']:,.0f} MB in {answer['writing']:.0f} s",
        ),
    ]
