"""Colours: one for each status on every panel, one meaning for each colour."""

from collections.abc import Mapping, Sequence

GOOD, WARN, BAD = "semi-dark-green", "semi-dark-orange", "semi-dark-red"
# IDLE is also the colour of missing data: what is not known must not look healthy.
IDLE, RUNNING = "#8e8e99", "semi-dark-blue"
# The same status has the same colour on every panel, so that readers learn the colours once.
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
# Series names by legend: the names that get the colours above.
STATUSES = {
    "{{result_status}}": ("success", "fail", "timeout", "cancelled", "unknown"),
    "{{status}}": ("success", "fail", "timeout", "cancelled", "unreported", "unknown"),
    "{{outcome}}": ("clean", "degraded", "failed"),
    "{{execute_status}}": ("init", "doing"),
}

Step = tuple[float | None, str]
Steps = Sequence[Step]  # from each limit on, this colour; only limits that need no explanation: 0 and 1
Graded = Sequence[tuple[str, str]]  # (query, colour): the query with an answer gives the colour
# Legend (Grafana's template, such as `{{idc}}`) → query; pairs where several queries share a legend.
Series = Mapping[str, str] | Sequence[tuple[str, str]]
Texts = Mapping[str, tuple[str, str]]  # value → text shown for it, and its colour

ANY: Steps = ((None, IDLE), (0, GOOD), (1, WARN))
UP: Texts = {"1": ("UP", GOOD), "0": ("DOWN", BAD)}
# job_idc:idc:state of the recording rules.
STATES: Texts = {
    "4": ("failing", BAD),
    "3": ("recovering", WARN),
    "2": ("over budget", "semi-dark-yellow"),
    "1": ("well", GOOD),
    "0": ("few records", IDLE),
}
SEVERITIES: Texts = {
    "critical": ("critical", BAD),
    "warning": ("warning", WARN),
    "info": ("info", RUNNING),
}
