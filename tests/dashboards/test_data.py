"""The dashboards' queries on a real Prometheus that holds a known hour, in both versions."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboards.queries import (
    VARIABLES,
    Target,
    annotations,
    ask,
    exactly,
    label_queries,
    label_values,
    substitute,
    targets,
)
from tests.dashboards.server import running
from tests.dashboards.world import END, OPEN_VALUES, START, openmetrics
from tests.rules.tools import MAJORS, program

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("dashboards")]
TARGETS = [target for target in targets() if not target.needs_rules]  # the others: see test_demo
CHOSEN = OPEN_VALUES["idc"][0]
each_target = pytest.mark.parametrize("target", TARGETS, ids=str)
# About each replica by its name: these show both, on purpose.
PER_REPLICA = re.compile(
    r"\bup\{|job_exporter_leader|\binstance, version\b|^(avg_over_time\()?job_exporter_\w+\{"
)


@pytest.fixture(scope="module", params=MAJORS)
def prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that holds the hour of dashboard_world."""
    folder = tmp_path_factory.mktemp(f"prometheus-{request.param}")
    (folder / "world.txt").write_text(openmetrics(), encoding="utf-8")
    blocks = ["tsdb", "create-blocks-from", "openmetrics", "world.txt", "data"]
    subprocess.run([program("promtool", request.param), *blocks], cwd=folder, check=True, capture_output=True)
    with running(folder, request.param, config={}) as url:
        yield url


def answer(url: str, target: Target, job: str, **variables: str) -> list[dict[str, Any]]:
    """Ask a query of a panel for one scrape job, as Grafana would within the last half of the hour."""
    chosen = {**VARIABLES, "job": job, **({"idc": exactly(CHOSEN)} if "the others" in target.legend else {})}
    return ask(url, target, target.bound({**chosen, **variables}), start=END - 1800, end=END)


def figures(found: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the numbers of each series under its labels, the job left out."""
    return {
        str(sorted((k, v) for k, v in one["metric"].items() if k != "job")): [
            float(value) for _, value in one.get("values", [one.get("value")])
        ]
        for one in found
    }


@each_target
def test_every_query_returns_data(prometheus: str, target: Target) -> None:
    """Each query of each panel gives at least one series, of numbers, with the labels of its legend."""
    found = answer(prometheus, target, ".+")
    assert found
    for one in found:
        assert set(re.findall(r"{{(\w+)}}", target.legend)) <= set(one["metric"])
        assert all(abs(float(value)) < 1e12 for _, value in one.get("values", [one.get("value")]))


@each_target
def test_two_replicas_count_as_one(prometheus: str, target: Target) -> None:
    """An exporter in two replicas shows the same figures as the same exporter alone."""
    one, two = (figures(answer(prometheus, target, job)) for job in ("one", "two"))
    if PER_REPLICA.search(target.expr):
        assert one
    else:
        assert two.keys() == one.keys()
        for labels, values in one.items():
            assert two[labels] == pytest.approx(values)


@each_target
def test_a_single_replica_can_be_chosen(prometheus: str, target: Target) -> None:
    """With one instance picked, every panel still answers."""
    assert answer(prometheus, target, "two", instance=exactly("10.0.0.2:16868"))


def one_value(url: str, panel: str, ref: str = "A") -> float:
    """Return the number of a tile for the exporter that stands alone."""
    target = next(target for target in TARGETS if (str(target.panel), target.ref) == (panel, ref))
    (found,) = answer(url, target, "one")
    return float(found["value"][1])


def test_tiles_say_what_the_world_is(prometheus: str) -> None:
    """A share, a count, an age and a state are what the world was made with."""
    # With shares 1, 1/2, 1/3 and so on, of four combinations for each status.
    by_status = [sum(1 / (4 * status + kind + 1) for kind in range(4)) for status in range(5)]
    assert one_value(prometheus, "jobs: Finished") == pytest.approx(1800 * sum(by_status), rel=0.01)
    assert one_value(prometheus, "jobs: Went wrong") == pytest.approx(1800 * sum(by_status[1:3]), rel=0.01)
    assert one_value(prometheus, "jobs: Oldest open") == 90
    assert one_value(prometheus, "jobs: Platform") == 1
    assert one_value(prometheus, "exporter: Leaders") == 1


def test_an_idc_is_compared_with_all_other_places(prometheus: str) -> None:
    """The share of the others leaves out the IDC and hosts without a place."""
    target = next(t for t in TARGETS if t.legend == "the others")
    bound = target.bound({**VARIABLES, "job": "one", "idc": CHOSEN})
    (found,) = ask(prometheus, target, bound, start=END, end=END)
    # Of the second place, by statuses in the order of the catalog.
    success, fail, timeout, _, unreported = (1 / (6 + status + 1) for status in range(5))
    bad = fail + timeout + unreported
    assert float(found["values"][-1][1]) == pytest.approx(bad / (bad + success), rel=1e-6)


def test_variables_offer_values(prometheus: str) -> None:
    """Jobs, instances and IDCs to choose from are found; the runbook comes from rules that are not here."""
    for name, selector, label in label_queries():
        values = label_values(prometheus, substitute(selector), label, start=START, end=END)
        assert bool(values) == (not name.endswith("runbook_url")), name


def test_annotations_run(prometheus: str) -> None:
    """Each is answered; in a quiet world only catching up (the world has all gauges at 1) has anything."""
    target = next(target for target in TARGETS if not target.instant)
    for name, expr in annotations():
        found = ask(prometheus, target, substitute(expr), start=START, end=END, step=60)
        assert bool(found) == name.endswith("Catching up"), name
