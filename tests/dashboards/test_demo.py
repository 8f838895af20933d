"""Every query of every panel on a real Prometheus that scraped the real demo."""

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboards.queries import VARIABLES, Target, ask, exactly, exemplars, label_values, targets
from tests.dashboards.server import running
from tests.rules.shorten import shorten_rules
from tests.rules.tools import ROOT

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("dashboards")]
TARGETS = list(targets())
# Nothing may fail or be odd in the demo.
QUIET = {"Firing now", "Failures by reason", "Odd data", "Hosts that belong to no place"}
# A minute of the demo holds few records.
THRESHOLDS = {"job_threshold:min_records:count": 1, "job_threshold:min_idc_records:count": 1}
SPEED = 15  # times as fast as usual the rules look back and wait
PATIENCE = 90  # seconds for the demo to show a bit of everything; it takes about 20


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (host:port) of a running `job-exporter demo` in which a lot happens."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "exporter", "demo", "--scenario=traps", "--poll.interval=1s"]
    command += [f"--state.url=sqlite:///{folder}/ledger.db", "--web.listen-address=127.0.0.1:0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _listening(folder / "log")
        finally:
            process.terminate()
            process.wait(timeout=30)


def _listening(log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if match := re.search(r"event=listening .*port=(\d+)", log.read_text(encoding="utf-8")):
            return f"127.0.0.1:{match[1]}"
        time.sleep(0.1)
    raise AssertionError(f"the demo did not listen: {log.read_text(encoding='utf-8')[-500:]}")


@pytest.fixture(scope="module")
def prometheus(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes the demo each second."""
    scrape = {"job_name": "job-exporter", "static_configs": [{"targets": [demo]}]}
    folder, rules = tmp_path_factory.mktemp("prometheus"), tmp_path_factory.mktemp("rules")
    for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"):
        text = shorten_rules(path.read_text("utf-8"), factor=SPEED, thresholds=THRESHOLDS)
        (rules / path.name).write_text(text, encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [scrape],
        "rule_files": [str(rules / "*.yml")],
    }
    with running(folder, 3, config) as url:
        yield url


def answers(url: str, target: Target) -> list[dict[str, Any]]:
    """Ask one query of a panel for the last five minutes."""
    now = time.time()
    names = label_values(url, 'job_host_results_total{idc!~"unknown|other"}', "idc", start=now - 300, end=now)
    only = exactly(names[0]) if names and "the others" in target.legend else ".+"
    expr = target.bound({**VARIABLES, "idc": only}, range_="5m", rate_interval="10s")
    return ask(url, target, expr, start=now - 300, end=now, step=5)


def alternatives(wanted: Iterable[Target]) -> dict[str, list[Target]]:
    """Group the targets: the queries of a tile or a timeline are alternatives, any other stands alone."""
    groups: dict[str, list[Target]] = {}
    for target in wanted:
        together = target.panel.json["type"] in ("stat", "state-timeline")
        groups.setdefault(str(target.panel) if together else str(target), []).append(target)
    return groups


def test_every_query_of_every_panel_returns_data(prometheus: str) -> None:
    """Once the demo has run a little, no query is empty, and series have the labels of their legend."""
    waiting = alternatives(target for target in TARGETS if target.panel.json["title"] not in QUIET)
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        waiting = {
            name: group
            for name, group in waiting.items()
            if not any(_right(target, answers(prometheus, target)) for target in group)
        }
    assert {name: group[0].expr for name, group in waiting.items()} == {}


def _right(target: Target, found: list[dict[str, Any]]) -> bool:
    wanted = set(re.findall(r"{{(\w+)}}", target.legend))
    assert all(wanted <= set(one["metric"]) for one in found), str(target)
    return bool(found)


def test_dots_carry_the_ids_of_records(prometheus: str) -> None:
    """Every query that asks for exemplars gets some, labelled as the data source is told to link them."""
    waiting = [target for target in TARGETS if target.exemplars]
    assert waiting
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        now = time.time()
        found = {str(t): exemplars(prometheus, t.bound(), start=now - 300, end=now) for t in waiting}
        assert all(set(labels) == {"record_id"} for one in found.values() for labels in one)
        waiting = [target for target in waiting if not found[str(target)]]
    assert [str(target) for target in waiting] == []


def test_the_scrape_offers_what_the_dashboards_link_to(demo: str) -> None:
    """The exporter that was scraped is the one that a person would open."""
    assert httpx.get(f"http://{demo}/").is_success
