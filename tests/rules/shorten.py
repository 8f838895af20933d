"""One adjustment that makes the real rules, configurations and settings fast enough for a test.

Pure: text in, text out. Every duration is divided by a factor (range selectors, offsets, `for`, intervals,
thresholds in seconds); names, texts and all that is no time stay as they are, so what is tested are the rules
that are shipped.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import yaml

from exporter.settings import Settings

_UNITS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_IN_EXPRESSION = re.compile(
    rf"(?<=\[)({_DURATION})(?=[\]:])|(?<=:)({_DURATION})(?=\])|(?<=\boffset )({_DURATION})"
)
_CONSTANT = re.compile(r"vector\(([0-9.]+)\)")
_RULE_TIMES = ("for", "keep_firing_for")
_CONFIG_TIMES = {
    *("scrape_interval", "scrape_timeout", "evaluation_interval"),
    *("group_wait", "group_interval", "repeat_interval", "resolve_timeout"),
}


def shorten_duration(text: str, factor: float) -> str:
    """Divide a Prometheus duration such as `1h30m` by `factor`; the answer is in ms, at least one.

    Raises ValueError where `text` is no duration.
    """
    if not re.fullmatch(_DURATION, text):
        raise ValueError(f"no duration: {text!r}")
    whole = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    return f"{max(1, round(whole / Fraction(factor)))}ms"


def shorten_expression(text: str, factor: float) -> str:
    """Divide the ranges, subquery steps and offsets of a PromQL expression, or of a template with queries."""
    return _IN_EXPRESSION.sub(lambda match: shorten_duration(match[0], factor), text)


def shorten_rules(text: str, *, factor: float, thresholds: Mapping[str, float] | None = None) -> str:
    """Give a rule file (YAML) with every duration divided by `factor`.

    `thresholds` sets constants by the name that thresholds.yml records them under; those that end in
    `:seconds` and are not set are divided too.
    """
    content = yaml.safe_load(text)
    for group in content["groups"]:
        if "interval" in group:
            group["interval"] = shorten_duration(group["interval"], factor)
        group["rules"] = [_rule(rule, factor, thresholds or {}) for rule in group["rules"]]
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def _rule(rule: Mapping[str, Any], factor: float, thresholds: Mapping[str, float]) -> dict[str, Any]:
    result = dict(rule, expr=shorten_expression(rule["expr"], factor))
    for key in _RULE_TIMES:
        if key in result:
            result[key] = shorten_duration(result[key], factor)
    if "annotations" in result:
        result["annotations"] = {
            name: shorten_expression(text, factor) for name, text in result["annotations"].items()
        }
    name = result.get("record", "")
    if name in thresholds:
        result["expr"] = f"vector({thresholds[name]})"
    elif name.endswith(":seconds") and (constant := _CONSTANT.fullmatch(result["expr"])):
        result["expr"] = f"vector({float(constant[1]) / factor})"
    return result


def shorten_flags(factor: float) -> list[str]:
    """Give the flags of an exporter that polls, waits and holds back `factor` faster than by default."""
    settings = Settings()
    waits = {
        "poll.interval": max(settings.poll.interval, factor),  # at least a second when divided
        "poll.recheck-interval": settings.poll.recheck_interval,
        "poll.settle-grace": settings.poll.settle_grace,
        "poll.overdue-grace": settings.poll.overdue_grace,
        "metrics.zero-hold": settings.metrics.zero_hold,
    }
    # A page takes as long as ever: of the divided time it may take that much more.
    duty = min(1.0, settings.api.duty * factor)
    return [*(f"--{name}={seconds / factor:.3f}s" for name, seconds in waits.items()), f"--api.duty={duty:g}"]


def shorten_config(text: str, *, factor: float) -> str:
    """Give a configuration of Prometheus or Alertmanager (YAML) with its intervals and waits divided."""
    return yaml.safe_dump(_config(yaml.safe_load(text), factor), allow_unicode=True, sort_keys=False)


def _config(value: Any, factor: float) -> Any:
    match value:
        case dict():
            return {
                key: shorten_duration(item, factor) if key in _CONFIG_TIMES else _config(item, factor)
                for key, item in value.items()
            }
        case list():
            return [_config(item, factor) for item in value]
        case _:
            return value
