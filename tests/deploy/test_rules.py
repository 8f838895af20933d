"""The PrometheusRule of the overlay: made from deploy/prometheus/rules/ by a script, and always current."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.harness.deploy import KUBERNETES, ROOT, documents


def generator() -> ModuleType:
    """The script that makes the PrometheusRule, as a module."""
    spec = importlib.util.spec_from_file_location("prometheusrule", KUBERNETES / "prometheusrule.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_prometheusrule_is_current() -> None:
    """The committed PrometheusRule is what the script makes of deploy/prometheus/rules/ now."""
    script = generator()
    assert script.TARGET.read_text(encoding="utf-8") == script.render(), (
        "the rules changed: run .venv/bin/python deploy/kubernetes/prometheusrule.py"
    )


def test_the_prometheusrule_holds_every_rule() -> None:
    """Every rule of the files is there, unchanged: its groups are the files' groups."""
    files = sorted((ROOT / "deploy" / "prometheus" / "rules").rglob("*.y*ml"))
    (manifest,) = documents(generator().TARGET)
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    assert manifest["spec"]["groups"] == groups


def test_the_script_keeps_texts_as_they_are(tmp_path: Path) -> None:
    """Expressions of many lines, templates, quotes and Chinese text come through; order is by file name."""
    rule = {
        "alert": "A",
        "expr": "sum(\n  x\n) > 1\n",
        "annotations": {"summary": '数据中心 {{ $value }}: "x" #1'},
    }
    (tmp_path / "b.yml").write_text(yaml.safe_dump({"groups": [{"name": "second", "rules": [rule]}]}))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"groups": [{"name": "first", "rules": [rule]}]}))
    text = generator().render(tmp_path)
    assert yaml.safe_load(text)["spec"]["groups"] == [
        {"name": "first", "rules": [rule]},
        {"name": "second", "rules": [rule]},
    ]
    assert "数据中心" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no rules in"),
        ({"a.yml": "scrape_configs: []"}, "a.yml has no rule groups"),
        ({"a.yml": ""}, "a.yml has no rule groups"),
        (
            {"a.yml": "groups: [{name: x, rules: []}]", "b.yml": "groups: [{name: x, rules: []}]"},
            "same name: x",
        ),
    ],
)
def test_the_script_refuses_what_is_not_rules(files: dict[str, str], message: str, tmp_path: Path) -> None:
    """No rules, another kind of file and two groups of one name are errors that say so."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        generator().render(tmp_path)
