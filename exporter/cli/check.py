"""`job-exporter check`: requests each endpoint once and prints a table of findings with advice."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter import logs
from exporter.cli import findings
from exporter.cli.findings import Finding
from exporter.discovery.pages import PAGE_BYTES
from exporter.jobapi.client import JobApi, PageCost
from exporter.jobapi.errors import ApiError
from exporter.model import Page
from exporter.settings import ApiSettings, load

SAMPLE = 10  # positions of the newest page that is read: enough to meet records without rows
STYLE = {"ok": "green", "note": "yellow", "bad": "bold red"}
PATIENCE = 3.0  # seconds without a table, after which one line says why
WAITING = "job-exporter: waiting for the platform; a request may take api.timeout, a page six times as long"


def check(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Check the platform; return 0 if counts would be correct, else 1. Raises the errors in REFUSALS."""
    settings = load(argv, environ)
    logs.configure(level="error", form=settings.log.format)
    settings.require_platform()
    return asyncio.run(examine(settings.api))


async def examine(
    settings: ApiSettings, *, console: Console | None = None, wall: Callable[[], float] = time.time
) -> int:
    """Run the checks and print the table; return 0 if the exporter would count correctly, else 1."""
    api = JobApi(settings, wall=wall)
    run = _Check(api, settings, wall)
    waiting = asyncio.get_running_loop().call_later(PATIENCE, partial(print, WAITING, file=sys.stderr))
    try:
        await run.run()
    except ApiError as error:  # the remaining checks cannot run
        run.found.append(findings.failure(run.asked, error))
    finally:
        waiting.cancel()
        await api.aclose()
    _print(run.found, console or Console())
    return 1 if any(finding.is_bad for finding in run.found) else 0


class _Check:
    """One run of the command: `found` so far, and what was `asked` last."""

    def __init__(self, api: JobApi, settings: ApiSettings, wall: Callable[[], float]) -> None:
        self._api, self._settings, self._wall = api, settings, wall
        self._sample = min(SAMPLE, settings.page_size)
        self.asked, self.found = "", list[Finding]()

    async def run(self) -> None:
        """Run the checks. Raises ApiError."""
        probe, cost = await self._page("reachable", 1, 1)
        total = probe.total or 0
        self.found += [
            Finding("reachable", f"answers in {cost.seconds * 1000:.0f} ms"),
            Finding("credentials", "accepted for pages"),
            Finding("records", str(total)),
            findings.clock(self._api.clock_skew),
        ]
        if not total:
            self.found.append(Finding("tail", "no records", "nothing to check: run a job, then check again"))
            return
        last, last_cost = await self._page("last page", -(-total // self._sample), self._sample)
        order = findings.order(probe, last)
        self.found += [
            findings.cost(last, last_cost, duty=self._settings.duty, page_bytes=PAGE_BYTES),
            order,
            findings.visible(last, total),
        ]
        await self._width(total, max(cost.size, last_cost.size / max(1, len(last.items))))
        newest = last
        if order.found == findings.NEWEST_FIRST:
            newest, _ = await self._page("first page", 1, self._sample)
        if items := newest.items or probe.items:
            await self._look_up(max(items, key=lambda item: item.start or 0.0).id, newest)

    async def _width(self, total: int, weight: float) -> None:
        """Check that pages as large as the daemon's are complete, given the size of a record in bytes."""
        size = min(self._settings.page_size, int(PAGE_BYTES / max(1.0, weight)))
        if min(size, total) <= self._sample:
            return
        wide, _ = await self._page("page size", 1, size)
        number = min(size, total) // self._sample
        if len(wide.items) > (number - 1) * self._sample:
            return
        # Some records may be hidden. Check whether a small page shows the last positions of the large one.
        small, _ = await self._page("page size", number, self._sample)
        if not {item.id for item in small.items} <= {item.id for item in wide.items}:
            self.found.append(findings.capped(len(wide.items), size))

    async def _look_up(self, record_id: str, newest: Page) -> None:
        """Both look-ups of one record."""
        self.asked = "record"
        read = await self._api.record(record_id)
        now = self._api.platform_now()
        self.found += [
            findings.record(read),
            findings.times(read, newest.items, now=self._wall() if now is None else now),
        ]
        self.asked = "result"
        self.found.append(findings.results(read, await self._api.results(record_id)))

    async def _page(self, what: str, number: int, size: int) -> tuple[Page, PageCost]:
        self.asked = what
        return await self._api.page(number, size)


def _print(found: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "", "found", "advice"):
        table.add_column(column, overflow="fold")
    for finding in found:
        verdict = Text(finding.verdict, style=STYLE[finding.verdict])
        table.add_row(finding.what, verdict, Text(finding.found), Text(finding.advice))
    console.print(table)
