"""The Prometheus rules: unit tests by promtool of both versions, and what must hold of their text."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics.families import FAMILIES, MetricType
from tests.rules.shorten import shorten_config, shorten_duration, shorten_expression, shorten_rules
from tests.rules.tools import MAJORS, ROOT, program

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = sorted((ROOT / "tests" / "rules").glob("*.yml"))
RUNBOOK = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
GROUPS = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
KINDS = {"fires", "quiet", "missing"}
KNOWN = {family.name: family for family in FAMILIES}
NAME = re.compile(r"\b(?:up|ALERTS|job[a-z_]*(?::[a-zA-Z0-9_:]+)?|job_[a-z_]+)\b(?!\s*=)")
WINDOW = re.compile(r"(\d+[smhd])")


def run(tool: Path, *arguments: str | Path) -> None:
    """Run a program in the folder of the rules; show what it says where it is not content."""
    result = subprocess.run(
        [tool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def sources(name: str) -> str:
    """Give the family that a series name of PromQL belongs to."""
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if stem in KNOWN and KNOWN[stem].type is MetricType.HISTOGRAM else name


def names(expression: str) -> set[str]:
    """Give the series that an expression reads; labels in braces, groupings and functions are none."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expression)
    bare = re.sub(r"\b(?:without|by|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(NAME.findall(bare))


def selectors(expression: str) -> Iterator[tuple[str, str, list[str]]]:
    """Give (series, label, alternatives) of every matcher with values."""
    for series, matchers in re.findall(r"([a-z_:0-9A-Z]+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)(?:=|=~|!=|!~)"([^"]*)"', matchers):
            yield series, label, values.split("|")


def queries() -> Iterator[str]:
    """Give every expression of the rules, those in annotations included."""
    for rule in RULES:
        yield rule["expr"]
        yield from re.findall(r'(?:query|printf) "([^"]*)"', " ".join(rule.get("annotations", {}).values()))


@pytest.mark.parametrize("major", MAJORS)
def test_rules_and_configurations_are_valid(major: int) -> None:
    """Both versions take the rules, with every lint, and the two configurations to copy."""
    run(program("promtool", major), "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    run(program("promtool", major), "check", "config", "prometheus.yml")
    run(program("amtool", major), "check-config", "alertmanager.yml")


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(cases: Path, major: int) -> None:
    """Each case of firing, staying quiet and missing data comes out as written, texts included."""
    run(program("promtool", major), "test", "rules", cases)


def test_every_alert_has_its_cases() -> None:
    """Each alert has a case that fires, one that stays quiet and one with missing data."""
    found: dict[str, set[str]] = {}
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            alert, kind, _ = case["name"].split(": ", 2)
            fired = [c for c in case["alert_rule_test"] if c["alertname"] == alert and c["exp_alerts"]]
            assert fired or kind != "fires", case["name"]
            assert not (fired and kind == "quiet") or any(
                not c["exp_alerts"] for c in case["alert_rule_test"]
            )
            found.setdefault(alert, set()).add(kind)
    assert found == dict.fromkeys(ALERTS, KINDS)


def test_cases_evaluate_every_group_in_order() -> None:
    """The cases name all groups, which promtool would else evaluate in any order."""
    for path in CASES:
        assert set(yaml.safe_load(path.read_text())["group_eval_order"]) == {
            group["name"] for group in GROUPS
        }


def test_names_are_in_the_catalog() -> None:
    """Every series that a rule or the runbook reads is a metric of the exporter or is recorded here."""
    allowed = set(KNOWN) | RECORDS | {"up", "ALERTS"}
    for expression in queries():
        assert {sources(name) for name in names(expression)} <= allowed, expression
    written = {code for code in re.findall(r"`([^`]+)`", RUNBOOK) if "job_" in code or "job:" in code}
    for code in written:
        assert {sources(name) for name in names(code) if "_" in name or ":" in name} <= allowed, code


def test_matchers_can_match() -> None:
    """A matcher names a label that its metric has, and values that the label can have."""
    for expression in queries():
        for series, label, values in selectors(expression):
            family = KNOWN.get(sources(series))
            if family is None or label in ("job", "le"):
                continue
            assert label in family.labels, (series, label)
            assert set(values) <= set(family.labels[label] or values), (series, label, values)


def test_instances_are_replicas() -> None:
    """What reads the exporter's own series folds the instances, so that two replicas count once."""
    for rule in RULES:
        if names(rule["expr"]) & {"up", *KNOWN} and rule.get("alert") != "JobExporterReplicaDown":
            assert re.search(r"(max|min|sum) without \(instance, pod\)", rule["expr"]), rule


def test_records_are_named_by_level_metric_operations() -> None:
    """A recording rule's name has three parts and no `_total`, and its window is the one that it reads."""
    for name in RECORDS:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name), name
        assert "_total" not in name
    for rule in RULES:
        window = WINDOW.search(rule.get("record", "").rpartition(":")[2])
        if window:
            read = re.findall(r"\[(\w+)\]", rule["expr"]) or WINDOW.findall(" ".join(names(rule["expr"])))
            assert window[1] in read, rule["record"]


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_complete(name: str) -> None:
    """An alert has prefix, severity, a hold of two polls, texts with a number or label, a runbook section."""
    alert = ALERTS[name]
    assert name.startswith("Job")
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert int(shorten_duration(alert["for"], 1).removesuffix("ms")) >= 30_000
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert re.search(r"\{\{ (\$value|\$labels|with)", alert["annotations"]["description"])
    assert alert["annotations"]["runbook_url"].endswith("#" + name.lower())


def test_runbook_has_a_section_for_each_alert() -> None:
    """The runbook has one section an alert: what it means, how to confirm, what to do."""
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(dict.fromkeys(sections))
    assert set(sections) == set(ALERTS)
    for name, text in sections.items():
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Means", "Confirm", "Do"], name


def test_thresholds_sit_in_one_place() -> None:
    """Alerts compare with recorded thresholds, or with 0 and 1; every threshold is used."""
    used = {name for rule in RULES for name in re.findall(r"scalar\(([^)]*)\)", rule["expr"])}
    constants = {
        rule["record"] for group in GROUPS for rule in group["rules"] if "threshold" in group["name"]
    }
    assert used <= constants
    assert constants - used == {"job_runbook:base:info", "job:success_objective:ratio"}
    for alert in ALERTS.values():
        numbers = re.findall(r"(?:[<>]=?|==)\s*(?:bool\s+)?([0-9.]+)", alert["expr"])
        assert set(numbers) <= {"0", "1"}, alert["alert"]


def test_the_fast_burn_can_be_reached() -> None:
    """With the objective that is set, 14.4 times the budget is less than everything."""
    (rule,) = [rule for rule in RULES if rule.get("record") == "job:success_objective:ratio"]
    objective = float(rule["expr"].removeprefix("vector(").removesuffix(")"))
    assert 0 < 14.4 * (1 - objective) < 1


def test_alertmanager_knows_the_alerts() -> None:
    """Inhibit rules and routes name alerts and severities that exist."""
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    for rule in config["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            pattern = matcher.split('"')[1]
            for part in pattern.split("|"):
                assert any(re.fullmatch(part, name) for name in ALERTS), part
    routed = {route["matchers"][0].split('"')[1] for route in config["route"]["routes"]}
    assert routed <= {alert["labels"]["severity"] for alert in ALERTS.values()}


def test_catching_up_silences_what_reads_counted_records() -> None:
    """While a backlog is counted, no alert on a ratio of records or hosts is sent."""
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    (rule,) = [rule for rule in config["inhibit_rules"] if "CatchingUp" in rule["source_matchers"][0]]
    pattern = rule["target_matchers"][0].split('"')[1]
    ratios = {
        name for name, alert in ALERTS.items() if re.search(r"ratio_increase|idcs?_failing", alert["expr"])
    }
    assert ratios
    assert all(re.fullmatch(pattern, name) for name in ratios)


@pytest.mark.parametrize(
    ("text", "factor", "expected"),
    [
        ("15s", 15, "1000ms"),
        ("1h30m", 60, "90000ms"),
        ("3d", 60, "4320000ms"),
        ("1ms", 60, "1ms"),
        ("5m", 1, "300000ms"),
    ],
)
def test_a_duration_is_divided(text: str, factor: float, expected: str) -> None:
    """A duration of any units is divided and never becomes 0."""
    assert shorten_duration(text, factor) == expected


def test_what_is_no_duration_is_refused() -> None:
    """A number without a unit is an error, not a guess."""
    with pytest.raises(ValueError, match="no duration"):
        shorten_duration("15", 60)


def test_names_are_not_shortened() -> None:
    """Ranges, steps and offsets change; windows in names, labels and texts do not."""
    text = 'x:y:rate5m{idc="5m"} > rate(a[5m]) + max_over_time(b[1h:5m] offset 1h) # 5m'
    expected = 'x:y:rate5m{idc="5m"} > rate(a[5000ms]) + max_over_time(b[60000ms:5000ms] offset 60000ms) # 5m'
    assert shorten_expression(text, 60) == expected


@pytest.mark.parametrize("major", MAJORS)
def test_shortened_rules_are_the_same_rules(major: int, tmp_path: Path) -> None:
    """60 times faster, the rules are still valid, and differ in nothing but times and the given threshold."""
    for path in RULE_FILES:
        text = shorten_rules(path.read_text(), factor=60, thresholds={"job_threshold:overdue:count": 3})
        (tmp_path / path.name).write_text(text)
        before = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
        after = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        assert [names(rule["expr"]) for rule in after] == [names(rule["expr"]) for rule in before]
        assert not {alert["for"] for alert in after if "for" in alert} & {rule.get("for") for rule in before}
    changed = (tmp_path / "thresholds.yml").read_text()
    assert "vector(3)" in changed
    assert "vector(10.0)" in changed  # 600 s in init
    run(program("promtool", major), "check", "rules", *sorted(tmp_path.glob("*.yml")))


def test_shortened_configurations_are_valid(tmp_path: Path) -> None:
    """The configurations 60 times faster keep everything but their intervals."""
    for name in ("prometheus.yml", "alertmanager.yml"):
        text = shorten_config((PROMETHEUS / name).read_text(), factor=60)
        (tmp_path / name).write_text(text)
        assert shorten_config(text, factor=1) == text
    assert yaml.safe_load((tmp_path / "prometheus.yml").read_text())["global"]["scrape_interval"] == "250ms"
    run(program("amtool"), "check-config", tmp_path / "alertmanager.yml")
