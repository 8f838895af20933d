"""Writes overlays/monitoring/prometheusrule.yaml: the groups of deploy/prometheus/rules/ for the operator.

Run it after a change of the rules: `.venv/bin/python deploy/kubernetes/prometheusrule.py`. A test holds that
the committed file is current. The rules stay one text, so that what promtool tests is what a cluster runs.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parent.parent
RULES = DEPLOY / "prometheus" / "rules"
TARGET = DEPLOY / "kubernetes" / "overlays" / "monitoring" / "prometheusrule.yaml"
HEAD = """\
# Generated from deploy/prometheus/rules/ by deploy/kubernetes/prometheusrule.py: change it there.
# If your Prometheus selects rules by a label (ruleSelector), add that label with a kustomize patch.
"""


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable, as block scalars; nothing is folded or made an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        return super().increase_indent(flow, False)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def render(rules: Path = RULES) -> str:
    """Give the manifest as text, from every `*.yml` and `*.yaml` below `rules`, in order of their names.

    Raises ValueError where there are no rules, a file is not one of rules, or two groups share a name
    (Prometheus takes that from two files, the operator does not from one resource).
    """
    groups: list[dict[str, Any]] = []
    for path in sorted([*rules.rglob("*.yml"), *rules.rglob("*.yaml")]):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not content.get("groups"):
            raise ValueError(f"{path.name} has no rule groups")
        groups += content["groups"]
    names = [group["name"] for group in groups]
    if not names:
        raise ValueError(f"no rules in {rules}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"groups of the same name: {', '.join(twice)}")
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "job-exporter", "labels": {"app.kubernetes.io/name": "job-exporter"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(DEPLOY.parent)}\n")
