"""The page in a real browser: every state at every width, light and dark, and names that attack it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.discovery.gaps import open_gap
from exporter.discovery.tail import Tail, Unreadable
from exporter.model import IdcFailure, ResultStatus, Snapshot
from exporter.page.handlers import Landing, routes
from exporter.page.render import render_reference
from exporter.simulator.fleet import make_fleet
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from exporter.tracking.state import State
from exporter.tracking.tallies import Recent, Tally
from exporter.tracking.values import Tracked
from tests.harness.chromium import Tab, browser
from tests.harness.inprocess import Clock, Daemon, WorldApi
from tests.harness.page import NOW, SETTINGS, ended, failed, keeping, snapshot
from tests.harness.web import serving

pytestmark = pytest.mark.xdist_group("browser")
MARK = "window.__attacked = 1"
HOSTILE = (
    f"<script>{MARK}</script>",
    f"</style></title><script>{MARK}</script>",
    f'"><img src=x onerror="{MARK}">',
    f"<svg/onload='{MARK}'>",
    "<style>body { display: none }</style>",
    "\u202e\u2066gnol\u202e",
    "W" * 10_000,
    "界" * 10_000,
    "é́̂̃̄" * 300,
    "' onfocus='" + MARK + "' autofocus='",
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def six_hours() -> Recent:
    """Six hours with a quiet hour and an IDC that failed for a while."""
    tallies = {}
    for stretch in range(72):
        if 30 <= stretch < 42:
            continue
        sick = 12 <= stretch < 18
        results = {
            "success": 40 + stretch * 7 % 23,
            "fail": 20 if sick else stretch % 3,
            "timeout": stretch % 2,
        }
        hosts = {
            "杭州": {"success": 300, "fail": 90 if sick else 2, "unreported": 9 if sick else 0},
            "北京": {"success": 200, "cancelled": 1},
            "guangzhou-01": {"success": 150, "timeout": stretch % 4},
        }
        tallies[5.0 * stretch] = Tally(results=results, hosts=hosts, lag=40.0, lagged=10)
    return ended(tallies)


TOTALS = {idc: {"success": 90_000, "fail": 1_234} for idc in ("杭州", "北京", "guangzhou-01", "深圳")}
FAILURES = [
    failed(
        f"{number:08x}-9d17-4c39-a6b0-3e0c2f1d5a77",
        ended=NOW - 90 * number,
        result=list(ResultStatus)[1 + number % 4],
        idcs=(
            IdcFailure(idc="杭州", failed=1 + number, hosts=40),
            IdcFailure(idc="guangzhou-01", failed=number % 3, hosts=8),
        ),
    )
    for number in range(40)
]
FULL = keeping(failures=FAILURES, recent=six_hours())
GROWN = Tail(gaps=(open_gap(0, 1201, missing=1200, now=0.0),))
TROUBLED = replace(
    FULL,
    tail=Tail(unreadable=(Unreadable(position=12_034, due=4000.0, tries=7, reason="界" * 300),)),
    followed={
        record_id: Tracked(id=record_id, found=0.0, due=1200.0, unread=3) for record_id in ("0b1e", "x" * 64)
    },
)
DOWN = snapshot(up=False, polled=NOW - 840, polls=240, poll_failures=41, hosts=TOTALS)
STATES: Mapping[str, tuple[Snapshot, State, str | None]] = {
    "working": (snapshot(overdue=2, hosts=TOTALS), FULL, None),
    "down": (DOWN, FULL, "cannot reach http://jobs.example:6868: connection refused"),
    "catching-up": (snapshot(catching_up=True, hosts=TOTALS), replace(FULL, tail=GROWN), None),
    "trouble": (snapshot(hidden=30, unreadable=3, hosts=TOTALS), TROUBLED, None),
    "stale": (snapshot(polled=NOW - 400, hosts=TOTALS), FULL, None),
    "starting": (Snapshot(), keeping(), "the first poll has not ended yet"),
    "empty": (snapshot(polls=1), keeping(), None),
}


@asynccontextmanager
async def shown(
    kept: State, snapshot_: Snapshot, error: str | None, folder: Path
) -> AsyncIterator[tuple[Tab, str]]:
    """Serve the page of these facts, and open a browser; gives its tab and the server's URL."""
    landing = Landing(SETTINGS, state=lambda: kept, error=lambda: error, clock=lambda: NOW)
    landing.publish(snapshot_)
    others = routes(landing, render_reference(SETTINGS))
    async with serving(routes=others) as web, browser(folder) as tab:
        yield tab, f"http://127.0.0.1:{web.ports[0]}"


@pytest.mark.parametrize("state", STATES)
async def test_each_state_reads_well(state: str, tmp_path: Path) -> None:
    """Light and dark, wide and narrow: nothing overflows, nothing is blocked, nothing else is asked for."""
    snapshot_, kept, error = STATES[state]
    async with shown(kept, snapshot_, error, tmp_path) as (tab, url):
        for width, dark in ((1280, False), (1280, True), (360, False), (360, True)):
            await tab.show(url + "/", width=width, dark=dark)
            assert await tab.value(OVERFLOW) == 0
            assert (
                await tab.value("getComputedStyle(document.querySelector('.status')).borderLeftWidth")
                == "5px"
            )
            await tab.picture(f"{state}-{width}-{'dark' if dark else 'light'}")
        assert tab.said == []
        assert {asked for asked in tab.asked if not asked.endswith("/favicon.ico")} == {url + "/"}


async def test_the_page_needs_no_script(tmp_path: Path) -> None:
    """Without JavaScript the page is the same, and its table of hours opens."""
    async with shown(FULL, STATES["working"][0], None, tmp_path) as (tab, url):
        text = "document.body.innerText"
        await tab.show(url + "/")
        with_script = await tab.value(text)
        await tab.show(url + "/", script=False)
        assert await tab.value(text) == with_script
        assert await tab.value("document.querySelectorAll('.bars g').length") == 60
        assert await tab.value("document.querySelector('details').open") is False


async def test_a_failure_can_be_linked_to(tmp_path: Path) -> None:
    """A link to /#record-ID highlights the row."""
    async with shown(FULL, STATES["working"][0], None, tmp_path) as (tab, url):
        await tab.show(f"{url}/#record-{FAILURES[3].id}")
        assert await tab.value("document.querySelector('tr:target .record').innerText") == FAILURES[3].id


async def test_words_can_be_read(tmp_path: Path) -> None:
    """All text has the contrast that WCAG asks for (4.5), in both themes."""
    async with shown(FULL, DOWN, STATES["down"][2], tmp_path) as (tab, url):
        for dark in (False, True):
            await tab.show(url + "/", dark=dark)
            assert await tab.value(CONTRAST) == []


# The elements with text of their own whose colour stands out too little from what lies behind them.
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *:not(svg *)')].filter((e) =>
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
  ).filter((e) => {
    const style = getComputedStyle(e), back = behind(e), opacity = Number(style.opacity);
    const front = rgb(style.color).slice(0, 3).map((v, i) => v * opacity + back[i] * (1 - opacity));
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  }).map((e) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 20));
})()"""


async def test_the_reference_reads_well(tmp_path: Path) -> None:
    """It has the look of the page, and holds at any width."""
    async with shown(FULL, STATES["working"][0], None, tmp_path) as (tab, url):
        for width in (1280, 360):
            await tab.show(url + "/reference", width=width)
            assert await tab.value(OVERFLOW) == 0
            await tab.picture(f"reference-{width}")
        assert tab.said == []


def attacked(folder: Path) -> tuple[Snapshot, State]:
    """A platform all of whose IDCs have hostile names, as a real poller and ledger have seen it."""
    clock = Clock()
    world = World(order="asc")
    daemon = Daemon(WorldApi(world), folder, clock)
    daemon.poll()
    clock.now += 2
    hosts = [host for hosts in make_fleet(dict.fromkeys(HOSTILE, 2)).values() for host in hosts]
    for number, record_id in enumerate([None, f'"><script>{MARK}</script>', "' onclick='" + MARK, "x" * 64]):
        record = world.add(RecordSpec(hosts=tuple(hosts), id=record_id), clock.now)
        statuses = {host.id: ("fail", "success")[(place + number) % 2] for place, host in enumerate(hosts)}
        world.finish(record, "fail", clock.now, statuses=statuses)
    daemon.poll(times=3)
    state = daemon.ledger.state
    seen = replace(daemon.snapshot, version=1), keeping(failures=state.failures, recent=state.recent)
    daemon.close()
    return seen


async def test_hostile_names_stay_names(tmp_path: Path) -> None:
    """IDCs and records whose names are attacks: nothing runs, nothing is blocked, and the layout holds."""
    snapshot_, kept = await asyncio.to_thread(attacked, tmp_path)
    assert len(kept.failures) == 4
    kept = replace(kept, recent={int(NOW // 300): tally for tally in kept.recent.values()})
    async with shown(kept, snapshot_, f"<script>{MARK}</script>", tmp_path / "profile") as (tab, url):
        for width in (1280, 360):
            await tab.show(url + "/", width=width)
            assert await tab.value("window.__attacked") is None
            assert (
                await tab.value(
                    "document.querySelectorAll('script, img, iframe, [onload], [onerror]').length"
                )
                == 0
            )
            assert await tab.value("document.querySelectorAll('style').length") == 1
            assert await tab.value(OVERFLOW) == 0
            assert await tab.value(TALLEST) < 400
            await tab.picture(f"hostile-{width}")
        names = await tab.value("[...document.querySelectorAll('.idcs tbody th')].map((e) => e.textContent)")
        assert f"<script>{MARK}</script>" in names
        assert tab.said == []
        assert {asked for asked in tab.asked if not asked.endswith("/favicon.ico")} == {url + "/"}


TALLEST = (
    "Math.max(...[...document.querySelectorAll('.idcs tr')].map((e) => e.getBoundingClientRect().height))"
)


async def test_the_policy_would_stop_what_got_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Content-Security-Policy blocks a script that is put into the page."""
    kept, snapshot_ = FULL, STATES["working"][0]
    landing = Landing(SETTINGS, state=lambda: kept, error=lambda: None, clock=lambda: NOW)
    landing.publish(snapshot_)

    page = landing.page()
    attack = f"<script>{MARK}</script><img src=x onerror='{MARK}'><style>body {{ display: none }}</style>"
    forced = page.replace("<main>", attack + "<main>")
    monkeypatch.setattr(landing, "page", lambda: forced)
    async with serving(routes=routes(landing, forced)) as web, browser(tmp_path) as tab:
        await tab.show(f"http://127.0.0.1:{web.ports[0]}/")
        assert await tab.value("window.__attacked") is None
        assert await tab.value("getComputedStyle(document.body).display") == "block"
        assert any("Content Security Policy" in words for words in tab.said)
