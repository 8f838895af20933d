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
RULES = [
    rule
    for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
RECORDS = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
# Written by Prometheus itself.
FOREIGN = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "idc"},
    "ALERTS_FOR_STATE": {"alertname", "severity", "idc"},
}
each_target = pytest.mark.parametrize("target", TARGETS, ids=str)


def family_of(selector: Selector) -> Family:
    """Find the family of a selector, whose series may be a part of a histogram."""
    base = re.sub(r"_(bucket|sum|count)$", "", selector.metric)
    family = CATALOG.get(selector.metric) or CATALOG[base]
    assert (family.type is MetricType.HISTOGRAM) == (selector.metric not in CATALOG)
    return family


def of_exporter(selector: Selector) -> bool:
    """Tell whether the exporter exposes the series, rather than the rules or Prometheus."""
    return selector.metric not in FOREIGN and ":" not in selector.metric


def labels_of(selector: Selector) -> set[str]:
    """Give the labels that the series of a selector have."""
    if selector.metric in FOREIGN:
        return FOREIGN[selector.metric] | SCRAPE_LABELS
    if not of_exporter(selector):
        return recorded_labels(selector.metric)
    own = {*family_of(selector).labels, *SCRAPE_LABELS}
    return own | {"le"} if selector.metric.endswith("_bucket") else own


def recorded_labels(name: str) -> set[str]:
    """Give the labels of a series of the rules, which its level names."""
    assert name in RECORDS
    level, _, operation = name.split(":")
    if level in ("job_threshold", "job_runbook"):
        return {"url"} if level == "job_runbook" else set()
    found = {label for label in ("result_status", "provider", "idc", "outcome") if label in level}
    found |= {"status"} if level.endswith("idc_status") else set()
    found |= {"quantile"} if operation.startswith("quantile") else set()
    return {"job", *found}


def cumulates(selector: Selector) -> bool:
    """Tell whether the series only grow, so that their value says nothing without a rate."""
    return of_exporter(selector) and family_of(selector).type is not MetricType.GAUGE


@each_target
def test_every_metric_and_label_is_the_exporters(target: Target) -> None:
    """Metrics are in the catalog; labels in matchers and groupings are theirs, and so are fixed values."""
    for selector in selectors(target.expr):
        labels = labels_of(selector)
        assert set(selector.matchers) <= labels
        for call in selector.calls:
            if call.mode == "by":
                assert set(call.labels) <= labels
        if of_exporter(selector):
            for label, (_, value) in selector.matchers.items():
                known = family_of(selector).labels.get(label)
                assert not known or set(value.split("|")) <= set(known)


@each_target
def test_every_selector_has_the_filters_of_the_dashboard(target: Target) -> None:
    """A scraped series is filtered by job and instance, a recorded one by job, a threshold by nothing."""
    for selector in selectors(target.expr):
        if selector.metric.startswith("job_threshold:"):
            assert selector.matchers == {}
            continue
        assert selector.matchers["job"] == ("=~", "$job")
        scraped = of_exporter(selector) or selector.metric == "up"
        assert selector.matchers.get("instance") == (("=~", "$instance") if scraped else None)


@each_target
def test_counters_stand_in_rate_or_increase(target: Target) -> None:
    """A rate spans $__rate_interval or a window of the rules; a gauge is in neither."""
    windows = {
        "rate": {"$__rate_interval", "15m"},
        "increase": {"$__range", "15m", "1h", "6h"},
    }
    for selector in selectors(target.expr):
        inner = selector.calls[-1].name if selector.calls else ""
        assert (inner in windows) == cumulates(selector)
        if inner in windows:
            assert selector.window in windows[inner]


@each_target
def test_ratios_and_quantiles_look_back_far_enough(target: Target) -> None:
    """Within the rate window of a minute there are too few records for a ratio or a quantile."""
    judges = "histogram_quantile" in target.expr or re.search(r"\) / \(", target.expr)
    assert not (judges and "$__rate_interval" in target.expr)


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
        if "sum" in names and of_exporter(selector) and selector.metric not in about_replicas:
            inside = selector.calls[names.index("sum") :]
            assert any(call.name == "max" and call.labels == ("instance", "pod") for call in inside)


@each_target
def test_legends_name_labels_that_are_there(target: Target) -> None:
    """Each label in a legend survives the query's aggregations; what is only compared with may lack it."""
    wanted = set(re.findall(r"{{(\w+)}}", target.legend))
    assert any(wanted <= selector.labels(labels_of(selector)) for selector in selectors(target.expr))


@each_target
def test_only_metrics_with_exemplars_are_asked_for_them(target: Target) -> None:
    """Exemplars lie on counters of what failed and on durations."""
    if target.exemplars:
        metrics = {selector.metric for selector in selectors(target.expr) if of_exporter(selector)}
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


@each_target
def test_limits_are_those_of_the_alerts(target: Target) -> None:
    """A query compares with recorded thresholds, 0, 1 or the state 3; colours change at 0, 1 and 2."""
    numbers = re.findall(r"(?:[<>]=?|==)\s*(?:bool\s+)?([0-9.]+)", target.expr)
    assert set(numbers) <= ({"0", "1", "3"} if "job_idc:idc:state" in target.expr else {"0", "1"})
    steps = target.panel.json["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
    assert {step["value"] for step in steps} <= {None, 0, 1, 2}


def test_every_threshold_that_a_tile_can_show_is_drawn() -> None:
    """The limits that an operator asks for are on a dashboard."""
    shown = {s.metric for target in TARGETS for s in selectors(target.expr)}
    assert {name for name in shown if name.startswith("job_threshold:")} >= {
        f"job_threshold:{name}"
        for name in (
            *("burn_fast:ratio", "burn_slow:ratio", "idc_failing:ratio", "overdue:count", "hidden:count"),
            *(
                "unreadable:count",
                "init_wait:seconds",
                "poll_age:seconds",
                "count_lag:seconds",
                "sweep_age:seconds",
            ),
        )
    }


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
