"""For the tests of the page: snapshots of an exporter in each state, and a strict reader of HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from exporter.model import FailedRecord, IdcFailure, ResultStatus, Sample, Series, Snapshot
from exporter.page.data import Backlog, PageData
from exporter.page.render import render_page
from exporter.settings import Settings, load
from exporter.tracking.state import State
from exporter.tracking.tallies import WIDTH, Recent, Tally

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC, the beginning of a stretch


def settings(*flags: str) -> Settings:
    """Make the settings of an exporter with links to records."""
    url = "--api.base-url=http://jobs.example:6868"
    return load([url, "--web.record-url=http://jobs.example/r/{id}", *flags], {})


SETTINGS = settings()


def keeping(**given: Any) -> State:
    """Make the ledger's state, at ledger time 1000."""
    return State(**{"time": 1000.0} | given)


def snapshot(
    *,
    polls: int = 100,
    poll_failures: int = 0,
    up: bool = True,
    polled: float = NOW - 3,
    catching_up: bool = False,
    overdue: int = 0,
    hosts: Mapping[str, Mapping[str, int]] | None = None,
    skew: float = 0.2,
    leader: bool = True,
    hidden: int = 0,
    unreadable: int = 0,
    swept: float = NOW - 1200,
) -> Snapshot:
    """Make the snapshot of an exporter that has polled; without `up` it has no gauges of the platform."""
    process = {
        "job_exporter_platform_up": float(up),
        "job_exporter_last_successful_poll_timestamp_seconds": polled,
        "job_exporter_poll_duration_seconds": 0.25,
        "job_exporter_pending_results": 2.0,
        "job_exporter_catching_up": float(catching_up),
        "job_exporter_leader": float(leader),
        "job_exporter_unreadable_records": float(unreadable),
        "job_exporter_last_sweep_timestamp_seconds": swept,
    }
    platform = {
        Series("job_records", (("execute_status", "init"),)): 1.0,
        Series("job_records", (("execute_status", "doing"),)): 23.0,
        Series("job_records", (("execute_status", "done"),)): 12_345.0,
        Series("job_records_overdue"): float(overdue),
        Series("job_records_hidden"): float(hidden),
        Series("job_record_oldest_open_start_timestamp_seconds", (("execute_status", "doing"),)): NOW - 4000,
        Series("job_record_oldest_open_start_timestamp_seconds", (("execute_status", "init"),)): NOW - 40,
        Series("job_exporter_clock_skew_seconds"): skew,
    }
    counters = {
        Series("job_exporter_polls_total"): float(polls),
        Series("job_exporter_poll_failures_total"): float(poll_failures),
        Series("job_records_discovered_total"): 12_000.0,
    }
    for idc, statuses in (hosts or {}).items():
        for status, value in statuses.items():
            counters[Series("job_host_results_total", (("idc", idc), ("status", status)))] = float(value)
    return Snapshot(
        counters={series: Sample(value=value, born=NOW - 86_400) for series, value in counters.items()},
        gauges={Series(name): value for name, value in process.items()} | (platform if up else {}),
        version=1,
    )


def failed(
    record_id: str = "9f2c", *, idc: str = "杭州", ended: float | None = NOW - 60, **given: object
) -> FailedRecord:
    """Make a record that did not succeed, 3 of 10 hosts in one IDC."""
    values = {
        "id": record_id,
        "result": ResultStatus.FAIL,
        "finished": ended,
        "duration": 42.0,
        "idcs": (IdcFailure(idc=idc, failed=3, hosts=10),),
    }
    return FailedRecord(**(values | given))  # type: ignore[arg-type]


def ended(minutes: Mapping[float, Tally]) -> Recent:
    """Make tallies by how many minutes ago they were."""
    return {int((NOW - 60 * ago) // WIDTH): tally for ago, tally in minutes.items()}


def page_data(
    shown: Snapshot | None = None,
    kept: State | None = None,
    error: str | None = None,
    backlog: Backlog | None = None,
) -> PageData:
    """Read the data of a snapshot; without one, of an exporter that works."""
    return PageData(
        snapshot=shown or snapshot(),
        state=kept or keeping(),
        error=error,
        interval=SETTINGS.poll.interval,
        now=NOW,
        backlog=backlog,
    )


def html(
    shown: Snapshot | None = None,
    kept: State | None = None,
    error: str | None = None,
    backlog: Backlog | None = None,
) -> str:
    """Make the page of a snapshot."""
    return render_page(page_data(shown, kept, error, backlog), SETTINGS)


@dataclass
class Element:
    """An element that was read, with all the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """Reads HTML and fails on errors that a browser would correct."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice: {names}"
        element = Element(tag=tag, attributes={name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag != "meta":
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop().tag == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        if "\n" in data and not data.strip():
            return  # the layout of a template
        for element in self._open:
            element.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    def find(self, tag: str, class_: str = "") -> list[Element]:
        """Every element of a tag, with this class if one is given."""
        return [
            element
            for element in self.elements
            if element.tag == tag and (not class_ or class_ in element.attributes.get("class", "").split())
        ]

    def rows(self, class_: str) -> list[str]:
        """The texts of the lines of a table's body, found by a class that only its cells have."""
        return [element.text for element in self.find("tr") if class_ in element.text]
