"""Colours and limits: one colour for one status on every panel, one meaning for one colour."""

from collections.abc import Mapping, Sequence

GOOD, WARN, BAD = "semi-dark-green", "semi-dark-orange", "semi-dark-red"
IDLE, RUNNING = "#8e8e99", "semi-dark-blue"
# One colour for one status on every panel, so that an eye that learned one dashboard can read the others.
COLOURS = {
    "success": GOOD,
    "clean": GOOD,
    "fail": BAD,
    "failed": BAD,
    "timeout": WARN,
    "degraded": "semi-dark-yellow",
    "unreported": "semi-dark-yellow",
    "cancelled": IDLE,
    "unknown": "semi-dark-purple",
    "init": "light-blue",
    "doing": RUNNING,
}
# What series can be named after, by legend: the names that get the colours above.
STATUSES = {
    "{{result_status}}": ("success", "fail", "timeout", "cancelled", "unknown"),
    "{{status}}": ("success", "fail", "timeout", "cancelled", "unreported", "unknown"),
    "{{outcome}}": ("clean", "degraded", "failed"),
    "{{execute_status}}": ("init", "doing"),
}
# A tile turns red where an alert would wake somebody: the numbers of deploy/prometheus/rules/thresholds.yml.
OBJECTIVE = 0.95
SICK = 0.3
SUCCESS_STEPS = ((None, BAD), (OBJECTIVE, WARN), (0.99, GOOD))
# 5 % is what the objective leaves; more in one place is worth a look.
FAILURE_STEPS = ((None, GOOD), (0.05, WARN), (SICK, BAD))

Step = tuple[float | None, str]
Steps = Sequence[Step]


Series = Mapping[str, str]  # legend (Grafana's template, such as `{{idc}}`) → query
Texts = Mapping[str, tuple[str, str]]  # value → what stands for it, and its colour
