"""The alerts of the rules: the ones each dashboard shows, by the groups of alerts.yml."""

from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules" / "alerts.yml"


@cache
def by_group() -> dict[str, tuple[str, ...]]:
    """Return the names of the alerts of each group, in the order of the file."""
    groups = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
    return {group["name"]: tuple(rule["alert"] for rule in group["rules"]) for group in groups}


def of_groups(*groups: str) -> tuple[str, ...]:
    """Return the names of the alerts of some groups. Raises KeyError for an unknown group."""
    return tuple(name for group in groups for name in by_group()[group])
