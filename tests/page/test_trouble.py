"""Hidden, unreadable and uncounted records on the page."""

from dataclasses import replace

import pytest
from msgspec import structs

from exporter.discovery.gaps import open_gap
from exporter.discovery.tail import Tail, Unreadable, first_reading
from exporter.model import Snapshot
from exporter.page.data import Backlog, Pace, backlog
from exporter.page.handlers import Landing
from exporter.page.render import SHOWN_UNREADABLE
from exporter.tracking.tallies import Tally
from exporter.tracking.values import Stage, Tracked
from tests.harness.page import NOW, SETTINGS, Reader, ended, html, keeping, page_data, settings, snapshot


def tracked(record_id: str, **given: object) -> Tracked:
    """Make a followed record."""
    return Tracked(**{"id": record_id, "found": 0.0, "due": 0.0} | given)  # type: ignore[arg-type]


def test_hidden_records_are_shown() -> None:
    """Hidden records have a red tile and an explanation."""
    page = Reader(html(snapshot(hidden=30)))
    assert [tile.text for tile in page.find("div", "bad")] == ["Hidden30in the total, on no page"]
    assert "The platform counts 30 records that no page shows" in page.find("main")[0].text
    assert "that no page shows" not in html()


def test_unreadable_records_and_positions_are_listed() -> None:
    """Unreadable records and positions are listed, the next attempt first, with their reason."""
    kept = keeping(
        tail=Tail(
            unreadable=(Unreadable(position=1234, due=1600.0, tries=3, reason="HTTP 500 <b>", after=0.0),)
        ),
        followed={
            "a/b": tracked("a/b", unread=2, reason="no answer within 10 s", due=990.0),
            "recent": tracked("recent", unread=1),
            "good": tracked("good"),
        },
        time=1000.0,
    )
    page = Reader(html(snapshot(unreadable=2), kept))
    (section,) = page.find("section", "unreadable")
    assert section.text.startswith("Records that cannot be read2")
    assert page.rows("a/b") == ["a/b2at the next pollno answer within 10 s"]
    assert page.rows("position 1,234") == ["position 1,234 of the platform's pages3in 10 minHTTP 500 <b>"]
    assert "recent" not in section.text
    (link,) = [one for one in page.find("a") if one.text == "a/b"]
    assert link.attributes["href"] == "http://jobs.example/r/a%2Fb"
    assert not Reader(html()).find("section", "unreadable")


def test_many_unreadable_records_are_cut() -> None:
    """The page lists the next ones to be tried and counts the rest."""
    items = tuple(Unreadable(position=number, due=2000.0) for number in range(SHOWN_UNREADABLE + 2))
    page = Reader(html(snapshot(unreadable=len(items)), keeping(tail=Tail(unreadable=items))))
    assert len([row for row in page.rows("position") if row.startswith("position ")]) == SHOWN_UNREADABLE
    assert "2 more: see the log." in page.find("section", "unreadable")[0].text


def test_a_following_replica_knows_only_the_number() -> None:
    """A follower shows the number of unreadable records from the leader, and no list."""
    kept = keeping(followed={"old": tracked("old", unread=5)})
    text = Reader(html(snapshot(leader=False, unreadable=3), kept)).find("section", "unreadable")[0].text
    assert text.startswith("Records that cannot be read3")
    assert text.endswith("The leader's page lists them.")
    assert "old" not in text


def test_history_is_no_lag() -> None:
    """A stretch that began before counting began is left out of the mean."""
    recent = ended({1: Tally(lag=30.0, lagged=2), 8: Tally(lag=9e3, lagged=20)})
    shown = snapshot()
    began = {key: structs.replace(one, born=NOW - 320) for key, one in shown.counters.items()}
    assert page_data(replace(shown, counters=began), keeping(recent=recent)).lag == 15.0
    assert page_data(shown, keeping(recent=recent)).lag == pytest.approx(9030 / 22)


def test_the_last_sweep_is_dated() -> None:
    """Before the first sweep ends the page says so; with sweeps turned off there is no line."""
    assert "Last sweep ended07:40:00" in Reader(html()).find("dl")[0].text
    assert "Last sweep endednone yet" in Reader(html(snapshot(swept=0))).find("dl")[0].text
    landing = Landing(settings("--poll.sweep=0"), state=keeping, error=lambda: None, clock=lambda: NOW)
    landing.publish(snapshot(swept=0))
    assert "sweep" not in Reader(landing.page()).find("dl")[0].text


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (Backlog(records=0), "Nothing is left to read."),
        (Backlog(records=1), "About 1 record left to read."),
        (
            Backlog(records=1200, seconds=185.0),
            "About 1,200 records left to read, in about 3 min at the current pace.",
        ),
        (Backlog(records=1200, at_most=True), "At most 1,200 records left to read."),
    ],
)
def test_catching_up_says_how_much_is_left(left: Backlog, words: str) -> None:
    """While catching up the page shows the number of records left and, once known, the time."""
    page = Reader(html(snapshot(catching_up=True), backlog=left))
    assert [one.text for one in page.find("p", "backlog")] == [words]
    assert not Reader(html(backlog=left)).find("p", "backlog")


def test_the_backlog_is_what_is_missing_and_not_looked_up() -> None:
    """Records of due gaps, positions that the first reading still reads, and records found but not read."""
    growth = open_gap(100, 180, missing=79, now=10.0)
    later = replace(open_gap(200, 210, missing=10, now=10.0), due=500.0)
    followed = {"a": tracked("a"), "b": tracked("b", stage=Stage.DOING)}
    assert backlog(Tail(gaps=(growth, later)), followed, now=20.0) == Backlog(records=80)
    whole = first_reading(1000, now=10.0)
    assert backlog(Tail(gaps=whole), {}, now=20.0) == Backlog(records=1000)
    half = (replace(whole[0], at=400),)
    assert backlog(Tail(gaps=half), {}, now=20.0) == Backlog(records=400)
    some = first_reading(1000, now=10.0, since=5.0)
    assert backlog(Tail(gaps=some), {}, now=20.0) == Backlog(records=1000, at_most=True)


def test_the_pace_is_measured() -> None:
    """The pace is unknown at first, while the backlog grows, and after the clock was set back."""
    pace = Pace()
    assert pace.seconds(10) is None
    for at, records in ((0.0, 5000), (100.0, 1000), (160.0, 900), (390.0, 450)):
        pace.add(records, now=NOW + at)
    assert pace.seconds(450) == pytest.approx(450 * 290 / 550)
    pace.add(2000, now=NOW + 395)
    assert pace.seconds(2000) is None
    pace.add(1000, now=NOW)
    assert pace.seconds(1000) is None
    pace.add(0, now=NOW + 60)
    assert pace.seconds(1000) is None


def test_the_page_estimates_the_end() -> None:
    """If 600 of 1,000 records take a minute, the page estimates 40 seconds for the other 400."""
    moment, gaps = [NOW], [open_gap(0, 1000, missing=1000, now=0.0)]
    landing = Landing(
        SETTINGS,
        state=lambda: keeping(tail=Tail(gaps=tuple(gaps))),
        error=lambda: None,
        clock=lambda: moment[0],
    )

    def told(shown: Snapshot) -> list[str]:
        landing.publish(shown)
        return [one.text for one in Reader(landing.page()).find("p", "backlog")]

    busy = snapshot(catching_up=True)
    assert told(busy) == ["About 1,000 records left to read."]
    moment[0] += 60
    gaps[0] = replace(gaps[0], missing=400)
    assert told(busy) == ["About 400 records left to read, in about 40 s at the current pace."]
    assert told(replace(snapshot(), version=2)) == []
    moment[0] += 60
    gaps[0] = replace(gaps[0], missing=300)
    assert told(replace(busy, version=3)) == ["About 300 records left to read."]
