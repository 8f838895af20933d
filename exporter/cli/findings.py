"""Judges the platform's answers for `check`: one finding each, with advice. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ApiError, RecordNotFound
from exporter.model import ExecuteStatus, Page, PageItem, Record, Results
from exporter.page.format import seconds as duration

SLOW_PAGE = 1.0  # seconds; with slower pages, new records are seen only after several polls
SKEW = 5.0  # seconds; durations stay right, but lag and overdue are wrong by the skew
AHEAD = 300.0  # seconds that a record may be ahead of the platform's clock: its masters' clocks differ
# Times of a wrong zone are off by whole half hours, 14 h at most. A job and its check take some minutes.
ZONES, ZONE_STEP, ZONE_SLACK = 14 * 3600.0, 1800.0, 180.0
NEWEST_FIRST = "newest first"
TIMES = {"start_time", "end_time"}  # fields of a record


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. It is a note if it has advice, and bad if the exporter would miscount."""

    what: str
    found: str
    advice: str = ""
    is_bad: bool = False

    @property
    def verdict(self) -> str:
        """The severity: ok, note or bad."""
        return "bad" if self.is_bad else "note" if self.advice else "ok"


def failure(what: str, error: ApiError) -> Finding:
    """A failed request."""
    if isinstance(error, RecordNotFound):
        advice = "the record was deleted between two requests: check again"
        return Finding(what, "record not found", advice, is_bad=True)
    return Finding(what, f"{error.reason}: {error.message}", error.advice, is_bad=True)


def clock(skew: float | None) -> Finding:
    """The platform's clock, compared with ours."""
    if skew is None:
        return Finding("clock", "no Date header", "overdue records and lag are computed with our clock")
    advice = "synchronise both clocks with NTP; until then the exporter corrects the difference"
    return Finding("clock", f"{skew:+.1f} s from our clock", advice if abs(skew) >= SKEW else "")


def cost(page: Page, cost: PageCost, *, duty: float, page_bytes: float) -> Finding:
    """The cost of the last page, at this `duty` and the usual size of pages."""
    advice = ""
    if cost.seconds > SLOW_PAGE:
        pause = cost.seconds / duty
        advice = f"one page each {pause:.0f} s (api.duty {duty:g}): an index on the start time helps"
    elif cost.size > page_bytes:
        advice = "records are large: the exporter will request smaller pages"
    found = f"{cost.size} bytes for {len(page.items)} records in {cost.seconds:.2f} s"
    return Finding("last page", found, advice)


def order(first: Page, last: Page) -> Finding:
    """The order of pages: oldest first or newest first."""
    begun = [item.start for item in first.items if item.start is not None]
    ended = [item.start for item in last.items if item.start is not None]
    if not begun or not ended or begun[0] == max(ended):
        return Finding("order", "unknown yet", "the exporter finds it when newer records arrive")
    return Finding("order", "oldest first" if begun[0] < max(ended) else NEWEST_FIRST)


def visible(page: Page, total: int) -> Finding:
    """Positions of a page that show no record."""
    positions = min(page.size, max(0, total - (page.number - 1) * page.size))
    hidden = positions - len(page.items)
    if hidden <= 0:
        return Finding("visible", f"all {positions} of the last page")
    advice = "no page shows records without host rows; they are counted once they have rows"
    if page.bad_items:
        advice = (
            f"{page.bad_items} items of the page have no id of at most 64 characters: they are not counted"
        )
    found = f"{hidden} of {positions} of the last page are not"
    return Finding("visible", found, advice, is_bad=page.bad_items > 0)


def capped(shown: int, size: int) -> Finding:
    """A platform that returns fewer records than requested, without an error."""
    found = f"{shown} records instead of the {size} requested"
    return Finding("page size", found, f"set api.page-size to {shown}", is_bad=True)


def record(read: Record) -> Finding:
    """Unknown values in one record."""
    odd = [name for name in read.unknown_fields if name not in TIMES]
    if odd:
        advice = "such values are counted in job_exporter_unknown_values_total"
        return Finding("record", f"unknown values in {', '.join(odd)}", advice)
    return Finding("record", f"understood, {read.execute_status}")


def times(read: Record, items: Iterable[PageItem], *, now: float) -> Finding:
    """Times of the newest records: present, readable, and in the zone of the platform's clock `now`."""
    bad = partial(Finding, "times", is_bad=True)
    if odd := [name for name in read.unknown_fields if name in TIMES]:
        return bad(
            f"{' and '.join(odd)} in an unknown format",
            "use RFC 3339 or another common format; without times no durations are counted",
        )
    if read.start is None or (read.end is None and read.execute_status is ExecuteStatus.DONE):
        missing = "start" if read.start is None else "end"
        return bad(f"the newest record has no {missing}", "without times no durations are counted")
    newest = max(
        moment for moment in (read.start, read.end, *(item.start for item in items)) if moment is not None
    )
    age = now - newest
    zone = "set api.timezone to the zone of the platform's times, and check the clocks of all its masters"
    if age < -AHEAD:
        return bad(f"the newest are {duration(-age)} ahead of the platform's clock", zone)
    if ZONE_STEP <= age <= ZONES + ZONE_SLACK and age % ZONE_STEP <= ZONE_SLACK:
        return bad(
            f"the newest are {duration(age)} behind the platform's clock, as if from another time zone",
            f"{zone}; if no job ran during that time, run one and check again",
        )
    return Finding("times", f"the newest are {duration(age)} old")


def results(read: Record, rows: Results) -> Finding:
    """The host rows of a record, compared with its expected hosts."""
    hosts = len({row.host_id for row in rows.rows})
    expected = "an unknown number" if read.expected_hosts is None else str(len(read.expected_hosts))
    found = f"{hosts} hosts, {expected} expected"
    if not rows.bad_rows:
        return Finding("result", found)
    advice = "unreadable fields are ignored; rows without a host are skipped"
    return Finding("result", f"{found}, {rows.bad_rows} odd rows", advice)
