"""`job-exporter check`: ask each endpoint once, and say in a table what was found, with advice."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.discovery.tail import PAGE_BYTES
from exporter.jobapi.client import JobApi, NullObserver, PageCost
from exporter.jobapi.errors import ApiError, RecordNotFound
from exporter.jobapi.transport import ApiConfig
from exporter.model import Page, Record

SLOW_PAGE = 1.0  # seconds: such a page is asked at most each ten, new records are seen no sooner
SKEW = 5.0  # seconds: durations are right all the same, lag and overdue are off by it
T = TypeVar("T")
SAMPLE = 10  # positions of the newest page that is read: enough to meet records without rows


class Verdict(StrEnum):
    """How a line of the table is to be taken."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


STYLE = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.BAD: "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


async def check(config: ApiConfig, *, console: Console | None = None) -> int:
    """Ask and print; 0 if the exporter would work, else 1. Raises ConfigError."""
    api = JobApi(config, NullObserver(), rng=random.Random())  # noqa: S311  (spreads retries)
    try:
        findings = await _ask(api)
    finally:
        await api.aclose()
    _print(findings, console or Console())
    return 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0


async def _ask(api: JobApi) -> list[Finding]:
    first = await _tried("reachable", lambda: api.page(1, 1))
    if isinstance(first, Finding):
        return [first]
    probe, cost = first
    total = probe.total or 0
    findings = [
        Finding(what="reachable", verdict=Verdict.OK, found=f"answers in {cost.seconds * 1000:.0f} ms"),
        Finding(what="credentials", verdict=Verdict.OK, found="accepted for pages"),
        Finding(what="records", verdict=Verdict.OK, found=str(total)),
        _skew(api.clock_skew),
    ]
    if not total:
        nothing = "nothing to look at: run a job, then check again"
        return [*findings, Finding(what="tail", verdict=Verdict.NOTE, found="no records", advice=nothing)]
    number = -(-total // SAMPLE)
    last = await _tried("last page", lambda: api.page(number, SAMPLE))
    if isinstance(last, Finding):
        return [*findings, last]
    page, cost = last
    findings += [_cost(page, cost), _order(probe, page, total), _invisible(page, total)]
    items = page.items or probe.items
    if items:
        findings += await _look_up(api, items[0].id)
    return findings


async def _look_up(api: JobApi, record_id: str) -> list[Finding]:
    """Both look-ups of one record."""
    record = await _tried("record", lambda: api.record(record_id))
    if isinstance(record, Finding):
        return [record]
    results = await _tried("result", lambda: api.results(record_id))
    if isinstance(results, Finding):
        return [_record(record), results]
    hosts = len({row.host_id for row in results.rows})
    expected = "not told" if record.expected_hosts is None else str(len(record.expected_hosts))
    return [
        _record(record),
        Finding(what="result", verdict=Verdict.OK, found=f"{hosts} hosts, {expected} expected"),
    ]


async def _tried(what: str, ask: Callable[[], Awaitable[T]]) -> T | Finding:
    try:
        return await ask()
    except RecordNotFound:
        gone = "the record went away between two requests: check again"
        return Finding(what=what, verdict=Verdict.BAD, found="record not found", advice=gone)
    except ApiError as error:
        return Finding(
            what=what, verdict=Verdict.BAD, found=f"{error.reason}: {error}", advice=_ADVICE[error.reason]
        )


_ADVICE = {
    "connect": "check api.base-url, the network, a firewall",
    "timeout": "is the platform overloaded? else raise api.timeout",
    "http": "check api.base-url: the job API must follow it directly",
    "auth": "check api.username with api.password-file, or api.token-file, and the user's role",
    "api": "the platform itself failed: look at its log",
    "decode": "is api.base-url the job API, and not a web page or a proxy?",
    "too_large": "raise api.max-response-bytes",
}


def _record(record: Record) -> Finding:
    if record.unknown_fields:
        fields = ", ".join(record.unknown_fields)
        advice = "such values are counted in job_exporter_unknown_values_total"
        return Finding(
            what="record", verdict=Verdict.NOTE, found=f"unknown values in {fields}", advice=advice
        )
    return Finding(what="record", verdict=Verdict.OK, found=f"understood, {record.execute_status}")


def _skew(skew: float | None) -> Finding:
    if skew is None:
        advice = "overdue records and lag are told by our clock"
        return Finding(what="clock", verdict=Verdict.NOTE, found="no Date header", advice=advice)
    verdict = Verdict.OK if abs(skew) < SKEW else Verdict.NOTE
    advice = "" if verdict is Verdict.OK else "set both clocks by NTP; it is corrected for meanwhile"
    return Finding(what="clock", verdict=verdict, found=f"{skew:+.1f} s to ours", advice=advice)


def _cost(page: Page, cost: PageCost) -> Finding:
    found = f"{cost.size} bytes for {len(page.items)} records in {cost.seconds:.2f} s"
    advice = ""
    if cost.seconds > SLOW_PAGE:
        advice = f"one at most each {cost.seconds / 0.1:.0f} s (api.duty): an index on the start time helps"
    elif cost.size > PAGE_BYTES:
        advice = "records are heavy: pages will be smaller"
    return Finding(
        what="last page", verdict=Verdict.NOTE if advice else Verdict.OK, found=found, advice=advice
    )


def _order(probe: Page, page: Page, total: int) -> Finding:
    first = [item.start for item in probe.items if item.start is not None]
    last = [item.start for item in page.items if item.start is not None]
    if total < 2 or not first or not last or first[0] == max(last):
        return Finding(what="order", verdict=Verdict.NOTE, found="not to be told yet", advice="it will be")
    order = "oldest first" if first[0] < max(last) else "newest first"
    return Finding(what="order", verdict=Verdict.OK, found=order)


def _invisible(page: Page, total: int) -> Finding:
    positions = min(SAMPLE, total - (page.number - 1) * SAMPLE)
    hidden = positions - len(page.items)
    if hidden <= 0:
        return Finding(what="visible", verdict=Verdict.OK, found=f"all {positions} of the last page")
    advice = "records without host rows are in no page; they are counted once they have rows"
    return Finding(
        what="visible", verdict=Verdict.NOTE, found=f"{hidden} of {positions} are not", advice=advice
    )


def _print(findings: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "", "found", "advice"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        verdict = Text(finding.verdict, style=STYLE[finding.verdict])
        table.add_row(finding.what, verdict, Text(finding.found), Text(finding.advice))
    console.print(table)
