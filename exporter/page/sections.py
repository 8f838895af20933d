"""The parts of the page, from the facts. PURE: the same facts make the same bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from exporter.model import FailedRecord, HostStatus, IdcFailure, ResultStatus
from exporter.page import plot
from exporter.page.data import Health, Idc, PageData
from exporter.page.format import NONE, clock, count, number, percent, seconds
from exporter.page.markup import Markup, el, join
from exporter.tracking.tallies import KEPT, WIDTH, results_of

LONGEST_NAME = 48  # characters of a name that are shown; an id of the platform has 36
LONGEST_TIP = 300  # and of the rest, when it is pointed at
SHOWN_IDCS = 50  # lines; more are for a dashboard
SHOWN_FAILURES = 25  # lines; all that are kept are in the JSON
SHOWN_PLACES = 6  # IDCs in the line of one failure
HOURS = KEPT * WIDTH // 3600
ALWAYS = (ResultStatus.SUCCESS, ResultStatus.FAIL, ResultStatus.TIMEOUT)  # in the legend even at 0
HOST_COLUMNS = tuple(status for status in plot.HOST_STACK if status is not HostStatus.SUCCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What does not change while the exporter runs."""

    version: str
    platform: str  # base URL of the job API
    telemetry_path: str = "/metrics"
    record_url: str = ""  # link to a record, with {id}; "": none
    interval: float = 15.0  # seconds between polls


# What each state is called, and what it means for the numbers.
STATES: Mapping[Health, tuple[str, str]] = {
    Health.STARTING: (
        "Starting",
        "The first poll is under way; what the ledger holds from before is shown already.",
    ),
    Health.WORKING: ("Working", "Every record that finishes is counted once."),
    Health.CATCHING_UP: (
        "Catching up",
        "What finished meanwhile is being counted: until that is done counters grow faster than life.",
    ),
    Health.STALE: ("No poll has ended for a while", "The numbers are those of the last good poll."),
    Health.FAILING: (
        "The last poll failed",
        "The platform answers. Nothing is lost: all is counted once polls are good again.",
    ),
    Health.DOWN: (
        "The platform cannot be read",
        "Nothing is lost: what finishes meanwhile is counted once it is back.",
    ),
}


def name(value: str) -> Markup:
    """Show a name from the platform: kept apart from the text around it, and cut where it is endless."""
    if not value:
        return el("bdi", "(none)", class_="none")
    short = value if len(value) <= LONGEST_NAME else value[: LONGEST_NAME - 1] + "…"
    return el("bdi", short, title=value[:LONGEST_TIP] if short is not value else None)


def header(site: Site) -> Markup:
    """The program, what it watches, and where else to look."""
    links = (
        (site.telemetry_path, "Metrics"),
        ("/api/failures", "Failures as JSON"),
        ("/-/healthy", "Health"),
        ("/-/ready", "Readiness"),
        ("/reference", "Reference"),
    )
    return el(
        "header",
        el(
            "div",
            el("p", el("strong", "job-exporter"), " ", el("span", site.version), class_="program"),
            el("p", "watches ", name(site.platform), class_="quiet"),
        ),
        # Relative, so that they hold behind a proxy that puts a prefix before the page.
        el("nav", *(el("a", words, href="." + path) for path, words in links), aria_label="Elsewhere"),
        class_="top",
    )


def status(data: PageData) -> Markup:
    """Whether it works, in plain words."""
    title, meaning = STATES[data.health]
    error = data.error if data.health in {Health.FAILING, Health.DOWN} else None
    return el(
        "section",
        el("h1", title),
        el("p", _sentence(error), class_="error") if error else None,
        el("p", meaning),
        el("dl", *(el("div", el("dt", word), el("dd", value)) for word, value in _vitals(data))),
        class_=f"status {data.health}",
    )


def _vitals(data: PageData) -> Iterator[tuple[str, Markup]]:
    now = data.now
    if data.polled is None:
        yield "Last good poll", el("span", "none yet")
    else:
        ago = seconds(max(0.0, now - data.polled))
        yield "Last good poll", join(clock(data.polled, now=now), f" UTC, {ago} ago")
    if data.follows:
        yield "This replica", el("span", "follows: it shows what the one that polls has counted")
    failed = f", {number(data.poll_failures)} failed" if data.poll_failures else ""
    yield "Polls since the start", join(number(data.polls) + failed)
    if data.polls:
        yield "The last one took", join(seconds(data.poll_seconds))
    if data.lag is not None:
        yield "A record is counted", join(f"{seconds(data.lag)} after its end")
    if data.skew is not None and abs(data.skew) >= 1:
        side = "ahead" if data.skew > 0 else "behind"
        yield "Platform's clock", join(f"{seconds(abs(data.skew))} {side}")


def platform(data: PageData) -> Markup:
    """What the platform does now."""
    seen = data.platform
    tiles: list[tuple[str, str, Markup | str, str]] = []
    if seen is not None:
        skew = data.skew or 0.0
        age = NONE if seen.oldest is None else seconds(max(0.0, data.now + skew - seen.oldest), rough=True)
        since: Markup | str = "nothing is open"
        if seen.oldest is not None:
            since = join("since ", clock(seen.oldest, now=data.now))
        tiles = [
            ("Waiting", number(seen.init), "init: not started yet", ""),
            ("Running", number(seen.doing), "doing", ""),
            ("Overdue", number(seen.overdue), "past their own timeout", "bad" if seen.overdue else ""),
            ("Oldest open", age, since, ""),
            ("Finishing", number(data.pending), "hosts not complete yet", ""),
            ("Done", number(seen.done), "all that the platform has", ""),
        ]
    cells = (
        el(
            "div",
            el("dt", word),
            el("dd", value),
            el("dd", note, class_="quiet"),
            class_=f"tile {kind}".strip(),
        )
        for word, value, note, kind in tiles
    )
    empty = (
        "Not known until the platform answers."
        if data.polls or data.polled
        else "Known once the first poll has ended."
    )
    return el(
        "section",
        el("h2", "On the platform now"),
        el("dl", *cells, class_="tiles") if seen else el("p", empty, class_="empty"),
    )


def results(data: PageData) -> Markup:
    """How records ended in the last hours."""
    counts = results_of(tally for _, tally in data.window)
    whole = sum(counts.values())
    heading = el(
        "h2", f"Records that ended in the last {HOURS} hours", el("span", number(whole), class_="total")
    )
    if not whole:
        began = join(" Counting began ", clock(data.since, now=data.now, precise=False), ".")
        told = el("p", "None that was counted.", began if data.since else None, class_="empty")
        return el("section", heading, told)
    legend = (
        el(
            "li",
            el("span", class_=f"swatch {status_}", aria_hidden="true"),
            status_,
            " ",
            el("strong", number(counts.get(status_, 0))),
            " ",
            el("span", percent(counts.get(status_, 0), whole), class_="quiet"),
        )
        for status_ in reversed(plot.STACK)
        if status_ in ALWAYS or counts.get(status_)
    )
    return el(
        "section",
        heading,
        el("ul", *legend, class_="legend"),
        plot.plot(data.window, now=data.now),
        el(
            "details",
            el("summary", "As a table"),
            el("div", plot.table(data.window, now=data.now), class_="wide"),
        ),
    )


def idcs(data: PageData) -> Markup:
    """How hosts ended, by IDC, the worst first."""
    heading = el("h2", "IDCs")
    if not data.idcs:
        return el("section", heading, el("p", "No record with hosts was counted yet.", class_="empty"))
    since = join("since ", clock(data.since, now=data.now, precise=False)) if data.since else "in all"
    head = el(
        "tr",
        el("th", "IDC", scope="col"),
        el("th", "Not successful", scope="col", colspan=2),
        el("th", "Hosts", scope="col"),
        *(el("th", status_, scope="col") for status_ in HOST_COLUMNS),
        el("th", "Hosts ", since, scope="col", class_="all"),
        el("th", "not successful", scope="col", class_="all"),
    )
    shown, more = data.idcs[:SHOWN_IDCS], len(data.idcs) - SHOWN_IDCS
    return el(
        "section",
        heading,
        el(
            "p",
            f"Hosts of the records that ended in the last {HOURS} hours, the worst IDC first.",
            class_="quiet",
        ),
        el(
            "div",
            el("table", el("thead", head), el("tbody", *map(_idc, shown)), class_="idcs"),
            class_="wide",
            role="region",
            aria_label="IDCs",
            tabindex=0,
        ),
        el("p", f"{count(more, 'more IDC')}: see the metrics.", class_="quiet") if more > 0 else None,
    )


def _idc(idc: Idc) -> Markup:
    whole = sum(idc.total.values())
    bad = whole - idc.total.get(HostStatus.SUCCESS, 0)
    statuses = (_count(idc.recent.get(status_, 0)) for status_ in HOST_COLUMNS)
    return el(
        "tr",
        el("th", name(idc.name), scope="row"),
        el("td", percent(idc.bad, idc.hosts), class_="ratio"),
        el("td", plot.share_bar(idc.recent)),
        el("td", number(idc.hosts)),
        *statuses,
        el("td", number(whole), class_="all"),
        el("td", percent(bad, whole), class_="all"),
    )


def _count(value: int) -> Markup:
    return el("td", number(value), class_=None if value else "none")


def failures(data: PageData, site: Site) -> Markup:
    """The records that did not succeed, the newest first."""
    heading = el("h2", "Records that did not succeed")
    if not data.failures:
        return el("section", heading, el("p", "None so far.", class_="empty"))
    columns = ("Result", "Ended", "Record", "Took", "Hosts that did not succeed")
    head = el("tr", *(el("th", word, scope="col", role="columnheader") for word in columns), role="row")
    shown, more = data.failures[:SHOWN_FAILURES], len(data.failures) - SHOWN_FAILURES
    # Roles, because the style sheet makes cards of the rows where the page is narrow, and no table is left.
    return el(
        "section",
        heading,
        el(
            "table",
            el("thead", head, role="rowgroup"),
            el("tbody", *(_failure(item, site, data.now) for item in shown), role="rowgroup"),
            class_="failures",
            role="table",
        ),
        _rest(more) if more > 0 else None,
    )


def _rest(more: int) -> Markup:
    return el("p", el("a", f"{count(more, 'more record')} as JSON", href="./api/failures"), class_="rest")


def _failure(item: FailedRecord, site: Site, now: float) -> Markup:
    return el(
        "tr",
        el("td", badge(item.result), role="cell"),
        el("td", clock(item.finished, now=now), role="cell", class_="when"),
        el("td", _record(item.id, site.record_url), role="cell", class_="record"),
        el("td", NONE if item.duration is None else seconds(item.duration), role="cell", class_="took"),
        el("td", *_places(item), role="cell", class_="places"),
        # For links from elsewhere, such as a dashboard's: /#record-ID
        id="record-" + _quoted(item.id),
        role="row",
    )


def badge(result: str) -> Markup:
    """Show a status: its colour, and its word."""
    return el("span", el("span", class_=f"swatch {result}", aria_hidden="true"), result, class_="badge")


def record_link(template: str, record_id: str) -> str | None:
    """The link to a record; None where none is set, or for an id of dots, which would climb a folder."""
    if not template or not record_id.strip("."):
        return None
    return template.replace("{id}", _quoted(record_id))


def _quoted(record_id: str) -> str:
    return quote(record_id, safe="", errors="replace")


def _record(record_id: str, template: str) -> Markup:
    link = record_link(template, record_id)
    shown = name(record_id)
    return el("a", shown, href=link, rel="noreferrer") if link else shown


def _places(item: FailedRecord) -> Iterator[Markup]:
    if not item.idcs:
        yield el("span", "not known", class_="none")
        return
    bad = sorted((place for place in item.idcs if place.failed), key=lambda place: (-place.failed, place.idc))
    if not bad:
        hosts = sum(place.hosts for place in item.idcs)
        yield el("span", f"none of {number(hosts)}", class_="quiet")
    for place in bad[:SHOWN_PLACES]:
        yield _place(place)
    if len(bad) > SHOWN_PLACES:
        yield el("span", f"and {count(len(bad) - SHOWN_PLACES, 'IDC')} more", class_="quiet")


def _place(place: IdcFailure) -> Markup:
    of = el("span", f"{number(place.failed)} of {number(place.hosts)}", class_="of")
    return el("span", name(place.idc), " ", of, class_="place")


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "?", "!")) else words + "."
