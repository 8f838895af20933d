"""`job-exporter check`: requests each endpoint once and prints a table of findings with advice."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.cli import findings
from exporter.cli.findings import Finding, Verdict
from exporter.discovery.weights import PAGE_BYTES
from exporter.jobapi.client import JobApi, NullObserver, PageCost
from exporter.jobapi.errors import ApiError, RecordNotFound
from exporter.model import Page
from exporter.settings import ApiSettings

SAMPLE = 10  # positions of the newest page that is read: enough to meet records without rows
STYLE = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.BAD: "bold red"}

T = TypeVar("T")


class _FailedError(Exception):
    """A request failed; the remaining checks cannot run."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


async def check(
    settings: ApiSettings,
    *,
    console: Console | None = None,
    wall: Callable[[], float] = time.time,
) -> int:
    """Run the checks and print the table; return 0 if the exporter would count correctly, else 1."""
    api = JobApi(settings, NullObserver(), rng=random.Random(), wall=wall)  # noqa: S311  (spreads retries)
    found: list[Finding] = []
    try:
        async for finding in _Check(api, settings, wall=wall).findings():
            found.append(finding)  # noqa: PERF401  (what came before a failure is kept)
    except _FailedError as error:
        found.append(error.finding)
    finally:
        await api.aclose()
    _print(found, console or Console())
    return 1 if any(finding.verdict is Verdict.BAD for finding in found) else 0


class _Check:
    """One run of the command."""

    def __init__(self, api: JobApi, settings: ApiSettings, *, wall: Callable[[], float]) -> None:
        self._api, self._wall = api, wall
        self._page_size, self._duty = settings.page_size, settings.duty
        self._sample = min(SAMPLE, settings.page_size)

    async def findings(self) -> AsyncIterator[Finding]:
        """Run the checks and yield the findings. Raises _FailedError."""
        probe, cost = await self._page("reachable", 1, 1)
        total = probe.total or 0
        ok = Verdict.OK
        yield Finding(what="reachable", verdict=ok, found=f"answers in {cost.seconds * 1000:.0f} ms")
        yield Finding(what="credentials", verdict=ok, found="accepted for pages")
        yield Finding(what="records", verdict=ok, found=str(total))
        yield findings.clock(self._api.clock_skew)
        if not total:
            advice = "nothing to check: run a job, then check again"
            yield Finding(what="tail", verdict=Verdict.NOTE, found="no records", advice=advice)
            return
        last, last_cost = await self._page("last page", -(-total // self._sample), self._sample)
        yield findings.cost(last, last_cost, duty=self._duty, page_bytes=PAGE_BYTES)
        order = findings.order(probe, last)
        yield order
        yield findings.visible(last, total)
        weight = max(cost.size, last_cost.size / max(1, len(last.items)))
        if (finding := await self._width(total, weight)) is not None:
            yield finding
        newest = last
        if order.found == findings.NEWEST_FIRST:
            newest, _ = await self._page("first page", 1, self._sample)
        for item in sorted(newest.items or probe.items, key=lambda item: item.start or 0.0)[-1:]:
            async for finding in self._look_up(item.id, newest):
                yield finding

    async def _width(self, total: int, weight: float) -> Finding | None:
        """Check that pages as large as the daemon's are complete, given the size of a record in bytes."""
        size = min(self._page_size, int(PAGE_BYTES / max(1.0, weight)))
        if min(size, total) <= self._sample:
            return None
        wide, _ = await self._page("page size", 1, size)
        number = min(size, total) // self._sample
        if len(wide.items) > (number - 1) * self._sample:
            return None
        # Some records may be hidden. Check whether a small page shows the last positions of the large one.
        small, _ = await self._page("page size", number, self._sample)
        if {item.id for item in small.items} <= {item.id for item in wide.items}:
            return None
        return findings.capped(len(wide.items), size)

    async def _look_up(self, record_id: str, newest: Page) -> AsyncIterator[Finding]:
        """Both look-ups of one record."""
        read = await _tried("record", lambda: self._api.record(record_id))
        yield findings.record(read)
        now = self._api.platform_now()
        yield findings.times(read, newest.items, now=self._wall() if now is None else now)
        rows = await _tried("result", lambda: self._api.results(record_id))
        yield findings.results(read, rows)

    async def _page(self, what: str, number: int, size: int) -> tuple[Page, PageCost]:
        return await _tried(what, lambda: self._api.page(number, size))


async def _tried(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await ask()
    except RecordNotFound:
        gone = "the record was deleted between two requests: check again"
        found = Finding(what=what, verdict=Verdict.BAD, found="record not found", advice=gone)
        raise _FailedError(found) from None
    except ApiError as error:
        raise _FailedError(findings.failure(what, error)) from None


def _print(found: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "", "found", "advice"):
        table.add_column(column, overflow="fold")
    for finding in found:
        verdict = Text(finding.verdict, style=STYLE[finding.verdict])
        table.add_row(finding.what, verdict, Text(finding.found), Text(finding.advice))
    console.print(table)
