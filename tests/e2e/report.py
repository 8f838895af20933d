"""Alerts × scenarios as a table: how long until each was told, and until its end was. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.e2e.alert_scenarios import Times
from tests.e2e.servers import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a scenario went."""

    times: Mapping[str, Times]  # by alert of the scenario
    error: str  # why it did not come to its end; empty: it did
    pages: tuple[Notice, ...]  # all that somebody was told
    fired: frozenset[str]  # all that fired in Prometheus
    inhibited: frozenset[tuple[str, str]]  # (alert, by which)


def table(scenarios: Mapping[str, Told], *, factor: float) -> str:
    """Give the table in Markdown: a row for each alert that fired, a column for each scenario."""
    alerts = sorted({alert for told in scenarios.values() for alert in told.fired})
    rows = [["", *scenarios], ["---"] * (len(scenarios) + 1)]
    rows += [[alert, *(_cell(alert, told, factor) for told in scenarios.values())] for alert in alerts]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"""\
# Alerts in the scenarios

Seconds from the start of the trouble to its notice → from its end to the notice of that, as measured with
everything {factor:g} times faster, and below that what it means in minutes at the real pace.
"told" is a notice that the scenario allows for besides its own; "inhibited by" fired and was told to nobody.

{lines}
"""


def _cell(alert: str, told: Told, factor: float) -> str:
    if alert in told.times:
        times = told.times[alert]
        real = [f"{seconds * factor / 60:.1f}" for seconds in (times.fired, times.resolved)]
        return f"**{times.fired:.1f} s → {times.resolved:.1f} s**<br>{real[0]} min → {real[1]} min"
    if alert in {page.name for page in told.pages}:
        return "told"
    if sources := sorted({source for target, source in told.inhibited if target == alert}):
        return "inhibited by " + ", ".join(sources)
    return "at the start" if alert == "JobExporterCatchingUp" and alert in told.fired else ""
