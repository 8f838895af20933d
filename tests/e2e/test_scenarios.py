"""Each scenario of the simulator, through the real programs: the right alert comes and goes, and no other.

All run side by side, each on a platform of its own (label `platform`), under one Prometheus and one
Alertmanager with the shipped rules. The times that it took are written to .output/alerts.md.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.alert_scenarios import ALERT_SCENARIOS, Times, run_scenario
from tests.e2e.environment import FACTOR, Site, environment
from tests.e2e.report import Told, table
from tests.rules.tools import ROOT, program

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("scenarios")]
REPORT = ROOT / ".output" / "alerts.md"


async def tell_all(folder: Path) -> Mapping[str, Told]:
    """Run all scenarios at once; what was told of a site is looked at when the last of them has ended."""
    async with environment(folder, list(ALERT_SCENARIOS)) as sites:
        ended = await asyncio.gather(*(_tell(site) for site in sites))
        return {
            site.name: Told(
                times=times,
                error=error,
                pages=tuple(site.pages),
                fired=frozenset(site.fired),
                inhibited=frozenset(site.inhibited),
            )
            for site, (times, error) in zip(sites, ended, strict=True)
        }


async def _tell(site: Site) -> tuple[Mapping[str, Times], str]:
    """Run one scenario; gives the times, and why it failed: the others go on."""
    times: dict[str, Times] = {}
    try:
        await run_scenario(ALERT_SCENARIOS[site.name], site, times)
    except AssertionError as error:
        return times, str(error)
    return times, ""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    """How every scenario went; written to the report, and printed."""
    for name in ("prometheus", "promtool", "alertmanager"):
        program(name)
    scenarios = asyncio.run(tell_all(tmp_path_factory.mktemp("scenarios")))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table(scenarios, factor=FACTOR), encoding="utf-8")
    print(REPORT.read_text(encoding="utf-8"))  # noqa: T201
    return scenarios


@pytest.mark.parametrize("name", ALERT_SCENARIOS)
def test_the_right_alert_comes_and_goes(name: str, told: Mapping[str, Told]) -> None:
    """Trouble is told by its alert, and its end too; what follows from it is inhibited."""
    assert told[name].error == ""
    assert set(told[name].times) == {incident.alert for incident in ALERT_SCENARIOS[name].incidents}


@pytest.mark.parametrize("name", ALERT_SCENARIOS)
def test_nothing_else_is_told(name: str, told: Mapping[str, Told]) -> None:
    """No other critical or warning alert reaches anybody, but those that the scenario says are right."""
    scenario = ALERT_SCENARIOS[name]
    unwanted = [page for page in told[name].pages if not scenario.allows(page)]
    assert unwanted == []
