"""The queries of the dashboards against the exporter's catalog of metrics, without a server."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.metrics.families import FAMILIES, Family, MetricType
from tests.dashboards.promql import Selector, selectors
from tests.dashboards.queries import Target, annotations, label_queries, substitute, targets
from tests.rules.tools import MAJORS, ROOT, program

TARGETS = list(targets())
CATALOG = {family.name: family for family in FAMILIES}
SCRAPE_LABELS = {"job", "instance"}
# Not the exporter's: written by Prometheus itself, or by the project's own rules.
FOREIGN = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "idc"},
    "job_runbook:base:info": {"url"},
}
each_target = pytest.mark.parametrize("target", TARGETS, ids=str)


def family_of(selector: Selector) -> Family:
    """Find the family of a selector, whose series may be a part of a histogram."""
    base = re.sub(r"_(bucket|sum|count)$", "", selector.metric)
    family = CATALOG.get(selector.metric) or CATALOG[base]
    assert (family.type is MetricType.HISTOGRAM) == (selector.metric not in CATALOG)
    return family


def labels_of(selector: Selector) -> set[str]:
    """Give the labels that the series of a selector have."""
    if selector.metric in FOREIGN:
        return FOREIGN[selector.metric] | SCRAPE_LABELS
    own = {*family_of(selector).labels, *SCRAPE_LABELS}
    return own | {"le"} if selector.metric.endswith("_bucket") else own


def cumulates(selector: Selector) -> bool:
    """Tell whether the series only grow, so that their value says nothing without a rate."""
    return selector.metric not in FOREIGN and family_of(selector).type is not MetricType.GAUGE


@each_target
def test_every_metric_and_label_is_the_exporters(target: Target) -> None:
    """Metrics are in the catalog; labels in matchers and groupings are theirs, and so are fixed values."""
    for selector in selectors(target.expr):
        labels = labels_of(selector)
        assert set(selector.matchers) <= labels
        for call in selector.calls:
            if call.mode == "by":
                assert set(call.labels) <= labels
        if selector.metric not in FOREIGN:
            for label, (_, value) in selector.matchers.items():
                known = family_of(selector).known.get(label)
                assert known is None or set(value.split("|")) <= set(known)


@each_target
def test_every_selector_has_the_filters_of_the_dashboard(target: Target) -> None:
    """Job and instance are matched against their variables (the linter's target-job and target-instance)."""
    for selector in selectors(target.expr):
        assert selector.matchers["job"] == ("=~", "$job")
        assert selector.matchers["instance"] == ("=~", "$instance")


@each_target
def test_counters_stand_in_rate_or_increase(target: Target) -> None:
    """A rate spans $__rate_interval, an increase the time shown; a gauge is in neither."""
    windows = {"rate": "$__rate_interval", "increase": "$__range"}
    for selector in selectors(target.expr):
        inner = selector.calls[-1].name if selector.calls else ""
        assert (inner in windows) == cumulates(selector)
        if inner in windows:
            assert selector.window == windows[inner]


@each_target
def test_buckets_become_quantiles_or_a_heatmap(target: Target) -> None:
    """Buckets alone mean nothing to a person."""
    for selector in selectors(target.expr):
        if selector.metric.endswith("_bucket"):
            quantile = "histogram_quantile" in {call.name for call in selector.calls}
            heatmap = target.panel.json["type"] == "heatmap"
            assert quantile != heatmap


@each_target
def test_replicas_count_once(target: Target) -> None:
    """Between a sum and what it sums stands the maximum over replicas, but where replicas are the point."""
    about_replicas = {"up", "job_exporter_leader", "job_exporter_build_info"}
    for selector in selectors(target.expr):
        names = [call.name for call in selector.calls]
        if "sum" in names and selector.metric not in about_replicas:
            inside = selector.calls[names.index("sum") :]
            assert any(call.name == "max" and call.labels == ("instance", "pod") for call in inside)


@each_target
def test_legends_name_labels_that_are_there(target: Target) -> None:
    """Each label in a legend survives the query's aggregations."""
    wanted = set(re.findall(r"{{(\w+)}}", target.legend))
    for selector in selectors(target.expr):
        if "scalar" not in {call.name for call in selector.calls}:
            assert wanted <= selector.labels(labels_of(selector))


@each_target
def test_only_metrics_with_exemplars_are_asked_for_them(target: Target) -> None:
    """Exemplars lie on counters of what failed and on durations."""
    if target.exemplars:
        metrics = {selector.metric for selector in selectors(target.expr)}
        assert metrics <= {
            "job_records_finished_total",
            "job_host_results_total",
            "job_record_duration_seconds_bucket",
        }


def test_every_metric_of_the_catalog_is_on_a_dashboard() -> None:
    """What is worth exposing is worth showing."""
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", s.metric) for target in TARGETS for s in selectors(target.expr)
    }
    assert shown >= set(CATALOG)


def test_annotations_and_variables_use_what_is_there() -> None:
    """Their metrics and labels are in the catalog, Prometheus' own, or in the rules."""
    for name, expr in annotations():
        for selector in selectors(expr):
            assert set(selector.matchers) <= labels_of(selector), name
    for name, expr, label in label_queries():
        (selector,) = selectors(expr)
        assert {label, *selector.matchers} <= labels_of(selector), name
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "thresholds.yml").read_text("utf-8")
    assert "job_runbook:base:info" in rules


def test_tiles_turn_red_where_alerts_wake_somebody() -> None:
    """The dashboards' limits for success and for a sick IDC are the numbers of the alerts."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules" / "thresholds.yml").read_text("utf-8"))
    numbers = {rule["record"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    limits = {}
    for target in TARGETS:
        steps = target.panel.json["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
        limits[str(target.panel)] = [step["value"] for step in steps]
    assert numbers["job:success_objective:ratio"] == f"vector({limits['jobs: Success'][1]})"
    assert numbers["job_threshold:idc_failing:ratio"] == f"vector({limits['idcs: Worst IDC'][-1]})"


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("rate(job_records[5m])", "has no matchers"),
        ("sum(job_records{}", "are not closed"),
        ("sum by idc (job_records{})", "wanted"),
    ],
)
def test_the_scan_refuses_what_it_does_not_understand(expr: str, message: str) -> None:
    """A query that the tests can't judge fails them instead of passing unseen."""
    with pytest.raises(ValueError, match=message):
        selectors(expr)


def test_an_unknown_variable_is_an_error() -> None:
    """A typing error in a variable's name is found when it is substituted."""
    assert substitute("a$job/${idc}[$__range]", {"job": "j", "idc": "i"}, range_="5m") == "aj/i[5m]"
    with pytest.raises(KeyError):
        substitute("$jobs")


@pytest.mark.servers
@pytest.mark.parametrize("major", MAJORS)
def test_every_query_parses(major: int, tmp_path: Path) -> None:
    """Prometheus' own parser takes every query, in the oldest supported version and in the newest."""
    queries = [target.bound() for target in TARGETS] + [substitute(expr) for _, expr in annotations()]
    rules = [{"record": f"dashboard:query:{i}", "expr": expr} for i, expr in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    command = [str(program("promtool", major)), "check", "rules", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"{len(queries)} rules found" in result.stdout
