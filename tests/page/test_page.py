"""The page at `/` in each state, its wording, and the failures as JSON."""

import base64
import hashlib
import json
from dataclasses import replace

import pytest

from exporter.metrics.families import FAMILIES
from exporter.model import IdcFailure, ResultStatus, Series, Snapshot
from exporter.page.data import Health, bad
from exporter.page.format import clock, count, iso, number, percent, record_link, seconds
from exporter.page.handlers import Landing, failures_json, routes
from exporter.page.render import (
    SHOWN_FAILURES,
    SHOWN_IDCS,
    SHOWN_PLACES,
    STATES,
    policy,
    render_reference,
    stylesheet,
)
from exporter.settings import SettingsError
from exporter.tracking.tallies import Tally
from grafana.src.style import COLOURS
from tests.harness.page import (
    NOW,
    SETTINGS,
    Reader,
    ended,
    failed,
    html,
    keeping,
    page_data,
    settings,
    snapshot,
)
from tests.harness.web import get, serving

DOWN = snapshot(up=False, polled=NOW - 600, polls=140, poll_failures=40)
# What Grafana makes of the names of colours, in its light and in its dark theme.
GRAFANA = {
    "semi-dark-green": ("#37872d", "#56a64b"),
    "semi-dark-red": ("#c4162a", "#e02f44"),
    "semi-dark-orange": ("#fa6400", "#ff780a"),
    "semi-dark-yellow": ("#e0b400", "#f2cc0c"),
    "semi-dark-purple": ("#8f3bb8", "#a352cc"),
    "semi-dark-blue": ("#1f60c4", "#3274d9"),
}


@pytest.mark.parametrize(
    ("shown", "error", "health"),
    [
        (Snapshot(), "the first poll has not ended yet", Health.STARTING),
        (snapshot(polls=0), "the first poll has not ended yet", Health.STARTING),
        (snapshot(polls=0, leader=False, polled=0), "no replica has ended a poll yet", Health.STARTING),
        (snapshot(polls=0, leader=False), None, Health.WORKING),
        (snapshot(), None, Health.WORKING),
        (snapshot(catching_up=True, polled=NOW - 600), None, Health.CATCHING_UP),
        (snapshot(polled=NOW - 74), None, Health.WORKING),
        (snapshot(polled=NOW - 76), None, Health.STALE),
        (snapshot(catching_up=True), "no room on the disk", Health.FAILING),
        (DOWN, "cannot reach http://jobs.example:6868: connection refused", Health.DOWN),
    ],
)
def test_the_page_says_how_it_stands(shown: Snapshot, error: str | None, health: Health) -> None:
    """Each state has its headline, and a failure shows the error of the poll."""
    told = Reader(html(shown, error=error))
    (status,) = told.find("section", "status")
    assert str(health) in status.attributes["class"].split()
    assert told.find("h1")[0].text == STATES[health][0]
    wanted = health in {Health.FAILING, Health.DOWN}
    assert ((error or "")[1:] in status.text) is (wanted or not error)


def test_a_replica_says_that_it_follows() -> None:
    """A follower, which has no poll of its own, shows the counts."""
    told = Reader(html(snapshot(polls=0, leader=False)))
    (status,) = told.find("section", "status")
    assert "follower: it shows the leader's counts" in status.text
    assert "12,345" in told.find("main")[0].text
    assert "follows" not in html(snapshot())


def test_while_the_platform_is_down_its_numbers_are_not_shown() -> None:
    """While the platform is down its gauges are not shown; counts stay."""
    kept = keeping(failures=[failed()], recent=ended({20: Tally(results={"success": 7})}))
    told = Reader(html(DOWN, kept, error="cannot reach it"))
    text = told.find("main")[0].text
    assert "Cannot reach it." in text
    assert "Not known until the platform answers." in text
    assert "12,345" not in text
    assert "07:50:00 UTC, 10 min ago" in text
    assert "140, 40 failed" in text
    assert "success 7" in text
    assert "9f2c" in text


def test_before_the_first_poll_the_page_is_empty_and_comes_again() -> None:
    """Before the first poll the page says what is missing, and reloads itself."""
    source = html(Snapshot(), error="the first poll has not ended yet")
    told = Reader(source)
    text = told.find("main")[0].text
    for words in (
        "none yet",
        "Known once the first poll has ended.",
        "No record has been counted.",
        "None so far.",
    ):
        assert words in text
    assert 'http-equiv="refresh" content="5"' in source
    assert "refresh" not in html()
    assert 'content="15"' in html(snapshot(catching_up=True))


def test_what_the_platform_does_is_told() -> None:
    """Open records by stage, the overdue in colour, the age of the oldest by the platform's clock."""
    told = Reader(html(snapshot(overdue=4, skew=90.0)))
    tiles = [tile.text for tile in told.find("div", "tile")]
    assert tiles == [
        "Waiting1init: not started yet",
        "Running23doing",
        "Overdue4past their own timeout",
        "Oldest open1 hsince 06:53:20",
        "Finishing2hosts not complete yet",
        "Hidden0in the total, on no page",
        "Done12,345on the platform",
    ]
    assert [tile.text[:7] for tile in told.find("div", "bad")] == ["Overdue"]
    assert "1 min 30 s ahead" in told.find("section", "status")[0].text
    assert "Platform's clock" not in html()
    assert "20 s behind" in html(snapshot(skew=-20))


def test_nothing_open_has_no_age() -> None:
    """Without an open record there is no oldest one."""
    full = snapshot()
    gauges = {series: value for series, value in full.gauges.items() if "oldest" not in series.family}
    tiles = [tile.text for tile in Reader(html(replace(full, gauges=gauges))).find("div", "tile")]
    assert "Oldest open–nothing is open" in tiles


def test_the_lag_is_that_of_the_last_minutes() -> None:
    """The lag is the mean of the last three stretches; without records it is not shown."""
    recent = ended({1: Tally(lag=30.0, lagged=2), 8: Tally(lag=6.0, lagged=2), 40: Tally(lag=9e9, lagged=1)})
    assert page_data(kept=keeping(recent=recent)).lag == 9.0
    assert "9 s after its end" in html(kept=keeping(recent=recent))
    assert page_data().lag is None
    assert "after its end" not in html()
    assert "No record has been counted. Counting began 14 Jan 08:00." in Reader(html()).find("main")[0].text


def test_idcs_are_told_worst_first() -> None:
    """IDCs are sorted by their share of failed hosts; `unknown` and those without recent hosts come last."""
    recent = ended(
        {
            5: Tally(hosts={"good": {"success": 10}, "bad": {"success": 1, "fail": 3}}),
            300: Tally(hosts={"bad": {"timeout": 4}, "unknown": {"unreported": 5}}),
        }
    )
    hosts = {name: {"success": 90, "fail": 10} for name in ("quiet", "bad", "good")}
    seen = page_data(snapshot(hosts=hosts), keeping(recent=recent))
    assert [(idc.name, bad(idc.recent), idc.recent.total()) for idc in seen.idcs] == [
        ("bad", 7, 8),
        ("good", 0, 10),
        ("unknown", 5, 5),
        ("quiet", 0, 0),
    ]
    told = Reader(html(snapshot(hosts=hosts), keeping(recent=recent)))
    assert told.rows("bad")[0].startswith("bad87.5 %8340")
    assert told.rows("quiet") == ["quiet–00000010010 %"]


def test_many_idcs_are_cut() -> None:
    """The worst fifty have a line, the others are counted."""
    hosts = {f"idc-{number}": {"success": 1} for number in range(SHOWN_IDCS + 1)}
    assert "1 more IDC: see the metrics." in html(snapshot(hosts=hosts))
    assert "more IDC" not in html(snapshot(hosts=dict(list(hosts.items())[1:])))


def test_failures_are_told_newest_first() -> None:
    """Failures are sorted by their end; an end in the future is taken as now."""
    kept = keeping(failures=[failed("old", ended=NOW - 900), failed("new"), failed("none", ended=None)])
    assert [item.id for item in page_data(kept=kept).failures] == ["none", "new", "old"]
    odd = keeping(failures=[failed("future", ended=NOW + 9e6), failed("new", ended=NOW)])
    assert [item.id for item in page_data(kept=odd).failures] == ["future", "new"]


def test_a_failure_has_all_that_leads_to_its_cause() -> None:
    """Result, end, link, duration, and the hosts that did not succeed by IDC, most first."""
    places = [IdcFailure(idc=f"i{number}", failed=number, hosts=9) for number in range(9)]
    told = Reader(html(kept=keeping(failures=[failed("a/b?c", idcs=places)])))
    row = next(element for element in told.find("tr") if "a/b?c" in element.text)
    assert row.text.startswith("fail07:59:00a/b?c42 si8 8 of 9i7 7 of 9")
    assert row.text.endswith("and 2 IDCs more")
    assert "i0" not in row.text
    assert row.attributes["id"] == "record-a%2Fb%3Fc"
    (link,) = [element for element in told.find("a") if element.text == "a/b?c"]
    assert link.attributes == {"href": "http://jobs.example/r/a%2Fb%3Fc", "rel": "noreferrer"}
    assert SHOWN_PLACES == 6


def test_what_is_not_known_of_a_failure_is_a_dash() -> None:
    """A record without times or hosts still has its line; hosts may all have succeeded."""
    bare = failed("bare", ended=None, duration=None, idcs=(), result=ResultStatus.UNKNOWN)
    well = failed("well", idcs=(IdcFailure(idc="x", failed=0, hosts=12),), result=ResultStatus.TIMEOUT)
    told = Reader(html(kept=keeping(failures=[bare, well])))
    assert told.rows("bare") == ["unknown–bare–not known"]
    assert told.rows("well")[0].endswith("none of 12")


def test_more_failures_are_in_the_json() -> None:
    """The page shows the newest, and links to all."""
    kept = keeping(failures=[failed(f"r{number}") for number in range(SHOWN_FAILURES + 2)])
    told = Reader(html(kept=kept))
    assert len([row for row in told.find("tr") if row.attributes.get("id", "").startswith("record-r")]) == 25
    assert [link.attributes["href"] for link in told.find("a") if link.text == "2 more records as JSON"] == [
        "./api/failures"
    ]


def test_links_hold_behind_a_prefix() -> None:
    """Links are relative, so that a proxy may add a prefix to the path."""
    told = Reader(render_reference(settings("--web.telemetry-path=/x/metrics")))
    links = [link.attributes["href"] for link in told.find("nav") for link in told.find("a")]
    assert links == ["./x/metrics", "./api/failures", "./-/healthy", "./-/ready", "./reference"]


def test_the_reference_tells_every_metric() -> None:
    """Name, type, labels and help, from the catalog itself."""
    told = Reader(render_reference(SETTINGS))
    for family in FAMILIES:
        assert told.rows(family.name)
        assert family.help in told.find("main")[0].text


def test_the_policy_allows_the_one_style_only() -> None:
    """The policy allows the style sheet by its hash and nothing else, and the page has nothing else."""
    made = Landing(SETTINGS, state=keeping, error=lambda: None, clock=lambda: NOW).page()
    style = made.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy()
    assert "url(" not in style
    assert "@import" not in style
    told = Reader(made)
    assert not [
        element.tag for element in told.elements if element.tag in {"script", "img", "link", "iframe"}
    ]
    assert not [
        name for element in told.elements for name in element.attributes if name.startswith(("on", "style"))
    ]


def test_colours_are_those_of_the_dashboards() -> None:
    """Each status has the colour that Grafana gives it, in the light and in the dark theme."""
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)", 1)
    for status in ("success", "fail", "timeout", "unreported", "cancelled", "unknown", "doing"):
        given = COLOURS[status]
        wanted = GRAFANA.get(given, (given, given))
        assert (f"--{status}: {wanted[0]};" in light, f"--{status}: {wanted[1]};" in dark) == (True, True)


def test_the_page_is_made_once_a_second_at_most() -> None:
    """Within a second the page is rendered again only if the snapshot or the error changed."""
    moment, error = [NOW], [""]
    landing = Landing(SETTINGS, state=keeping, error=lambda: error[0] or None, clock=lambda: moment[0])
    landing.publish(snapshot())
    first = landing.page()
    moment[0] += 0.9
    assert landing.page() is first
    landing.publish(replace(snapshot(), version=2))
    second = landing.page()
    assert second is not first
    error[0] = "gone"
    third = landing.page()
    assert third is not second
    moment[0] += 1
    assert landing.page() is not third


async def test_the_routes_are_served() -> None:
    """Failures as JSON and the reference, each with its type and policy."""
    landing = Landing(
        SETTINGS, state=lambda: keeping(failures=[failed(ended=NOW - 60), failed("b", ended=NOW)]), error=str,
        clock=lambda: NOW,
    )  # fmt: skip
    made = render_reference(SETTINGS)
    async with serving(routes=routes(landing, made)) as web:
        answer, told, page = [await get(web, path) for path in ("/api/failures", "/reference", "/")]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert [item["id"] for item in json.loads(answer.text)["failures"]] == ["b", "9f2c"]
    assert (told.text, told.headers["content-security-policy"]) == (made, policy())
    assert page.headers["content-security-policy"] == policy()
    assert page.headers["content-type"] == "text/html; charset=utf-8"


LANDING = Landing(SETTINGS, state=keeping, error=str, clock=lambda: NOW)


@pytest.mark.parametrize("path", [path for path in routes(LANDING, "") if path != "/"])
def test_no_path_of_a_page_is_taken_for_the_metrics(path: str) -> None:
    """The setting names the pages; this fails when a page is added only here."""
    with pytest.raises(SettingsError, match="no page of the exporter"):
        settings(f"--web.telemetry-path={path}")


def test_failures_as_json() -> None:
    """The names are fixed, times are RFC 3339, and what is not known is null."""
    known = failed("a b", idc='北京"')
    bare = failed("..", ended=None, duration=None, idcs=(), result=ResultStatus.CANCELLED)
    assert json.loads(failures_json([known, bare], SETTINGS.web.record_url)) == {
        "failures": [
            {
                "id": "a b",
                "result": "fail",
                "finished": "2027-01-15T07:59:00Z",
                "duration_seconds": 42.0,
                "url": "http://jobs.example/r/a%20b",
                "idcs": [{"idc": '北京"', "failed": 3, "hosts": 10}],
            },
            {
                "id": "..",
                "result": "cancelled",
                "finished": None,
                "duration_seconds": None,
                "url": None,
                "idcs": [],
            },
        ]
    }


def test_links_to_records() -> None:
    """The id is quoted in the link; there is no link without a template, or for an id of dots."""
    assert (
        record_link("http://x/{id}?q={id}", "a/../b&c#d")
        == "http://x/a%2F..%2Fb%26c%23d?q=a%2F..%2Fb%26c%23d"
    )
    assert record_link("http://x/{id}", "杭") == "http://x/%E6%9D%AD"
    assert record_link("http://x/{id}", "\ud800") == "http://x/%3F"
    assert record_link("", "a") is None
    assert record_link("http://x/{id}", "..") is None
    assert record_link("http://x/{id}", "") is None


@pytest.mark.parametrize(
    ("value", "written", "roughly"),
    [
        (-1, "0 s", "0 s"),
        (0, "0 s", "0 s"),
        (0.0123, "12 ms", "12 ms"),
        (0.44, "0.4 s", "0.4 s"),
        (9.94, "9.9 s", "9.9 s"),
        (9.96, "10 s", "10 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1 min", "1 min"),
        (185, "3 min 5 s", "3 min"),
        (3600, "1 h", "1 h"),
        (7290, "2 h 1 min", "2 h"),
        (90_000, "1 d 1 h", "1 d"),
        (1e9, "11,574 d 1 h", "11,574 d"),
    ],
)
def test_durations(value: float, written: str, roughly: str) -> None:
    """A duration has at most two units, a rough one a single unit."""
    assert (seconds(value), seconds(value, rough=True)) == (written, roughly)


@pytest.mark.parametrize(
    ("part", "whole", "written"),
    [
        (0, 0, "–"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 1_000_000, "< 0.1 %"),
        (999_999, 1_000_000, "> 99.9 %"),
    ],
)
def test_shares(part: int, whole: int, written: str) -> None:
    """Only none is 0 %, and only all is 100 %."""
    assert percent(part, whole) == written


def test_moments() -> None:
    """Times are in UTC, with the date of another day; a dash outside the calendar."""
    assert clock(NOW, now=NOW) == (
        '<time datetime="2027-01-15T08:00:00Z" title="2027-01-15 08:00:00 UTC">08:00:00</time>'
    )
    assert ">08:00<" in clock(NOW, now=NOW, precise=False)
    assert ">14 Jan 08:00:00<" in clock(NOW - 86_400, now=NOW)
    assert ">31 Dec 2026 23:59:59<" in clock(NOW - 14 * 86_400 - 28_801, now=NOW)
    for beyond in (None, 1e30, float("nan")):
        assert iso(beyond) is None
        assert clock(beyond, now=NOW) == '<span class="none">–</span>'


def test_numbers() -> None:
    """Thousands are separated, and nouns agree with their number."""
    assert number(1_234_567) == "1,234,567"
    assert [count(value, "IDC") for value in (0, 1, 2)] == ["0 IDCs", "1 IDC", "2 IDCs"]


def test_an_unknown_family_is_no_matter() -> None:
    """An unknown family in the snapshot does not change the page."""
    more = replace(snapshot(), gauges={**snapshot().gauges, Series("other"): 1.0})
    assert html(more) == html()
