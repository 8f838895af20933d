"""The chart's README and schema are current. These tests need no Helm."""

import importlib.util
import json
import sys
from types import ModuleType

import jsonschema
import pytest
import yaml

from exporter.settings import load
from tests.deploy.chart import CHART, EXAMPLES


def generator() -> ModuleType:
    """Give the script deploy/helm/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("chart_generator", CHART.parent / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


def test_readme_and_schema_are_current() -> None:
    """Both are what the script makes of values.yaml and of the exporter's settings."""
    for path, text in generator().render().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is old: run .venv/bin/python deploy/helm/generate.py"
        )


def test_every_value_is_documented() -> None:
    """Each value has a description, by itself or as part of a described group."""
    script = generator()
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    described = {value.path for value in script.values(text)}

    def leaves(node: object, path: str) -> list[str]:
        if path in described or not isinstance(node, dict) or not node:
            return [path]
        return [
            leaf for key, item in node.items() for leaf in leaves(item, f"{path}.{key}".removeprefix("."))
        ]

    assert set(leaves(yaml.safe_load(text), "")) == described


def test_descriptions_and_defaults_come_from_the_file() -> None:
    """A description is the comment from `--` on, right above the key; nested keys get their whole path."""
    text = (
        "# Not this.\na:\n  # Nor this.\n\n  # -- First line,\n  # second line.\n  b: [1]\n  # Odd.\n  c: 2\n"
    )
    (value,) = generator().values(text)
    assert (value.path, value.default, value.description) == ("a.b", [1], "First line, second line.")


def test_the_links_to_rules_and_dashboards_are_links() -> None:
    """The chart holds no copies: what is under files/ are links into the checkout."""
    for path in (CHART / "files").iterdir():
        assert path.is_symlink()
        assert any(path.iterdir())


def test_the_readme_names_every_example() -> None:
    """Each file of example values is in the table of the README."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    assert EXAMPLES
    assert [path.name for path in EXAMPLES if f"(ci/{path.name})" not in text] == []


@pytest.mark.parametrize("level", ["debug", "info", "warn", "warning", "error", "WARN"])
def test_the_schema_accepts_every_level_that_the_program_accepts(level: str) -> None:
    """`warn`, the spelling of other exporters, is valid in the chart too."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    values["config"]["log"]["level"] = level
    jsonschema.validate(values, json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")))
    assert load([f"--log.level={level}"], {}).log.level in ("debug", "info", "warning", "error")
