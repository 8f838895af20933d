"""Each scenario of the simulator, through the real programs: the right alert comes and goes, and no other.

All play side by side, each on a platform of its own (label `platform`), under one Prometheus and one
Alertmanager with the shipped rules. The times that it took are written to .output/alerts.md.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.report import Told, table
from tests.e2e.stage import FACTOR, Site, stage
from tests.e2e.stories import STORIES, Times, perform
from tests.rules.tools import ROOT, program

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("scenarios")]
REPORT = ROOT / ".output" / "alerts.md"


async def tell_all(folder: Path) -> Mapping[str, Told]:
    """Play all stories at once; what was told of a site is looked at when the last of them has ended."""
    async with stage(folder, list(STORIES)) as sites:
        played = await asyncio.gather(*(_tell(site) for site in sites))
        return {
            site.name: Told(
                times=times,
                error=error,
                pages=tuple(site.pages),
                fired=frozenset(site.fired),
                inhibited=frozenset(site.inhibited),
            )
            for site, (times, error) in zip(sites, played, strict=True)
        }


async def _tell(site: Site) -> tuple[Mapping[str, Times], str]:
    """Play one story; gives the times, and why it did not come to its end: the others go on to theirs."""
    times: dict[str, Times] = {}
    try:
        await perform(STORIES[site.name], site, times)
    except AssertionError as error:
        return times, str(error)
    return times, ""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    """How every story went; written to the report, and printed."""
    for name in ("prometheus", "promtool", "alertmanager"):
        program(name)
    stories = asyncio.run(tell_all(tmp_path_factory.mktemp("scenarios")))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table(stories, factor=FACTOR), encoding="utf-8")
    print(REPORT.read_text(encoding="utf-8"))  # noqa: T201
    return stories


@pytest.mark.parametrize("name", STORIES)
def test_the_right_alert_comes_and_goes(name: str, told: Mapping[str, Told]) -> None:
    """Trouble is told by its alert, and its end too; what follows from it is inhibited."""
    assert told[name].error == ""
    assert set(told[name].times) == {act.alert for act in STORIES[name].acts}


@pytest.mark.parametrize("name", STORIES)
def test_nothing_else_is_told(name: str, told: Mapping[str, Told]) -> None:
    """No other critical or warning alert reaches anybody, but those that the story says are right."""
    story = STORIES[name]
    unwanted = [page for page in told[name].pages if not story.allows(page)]
    assert unwanted == []
