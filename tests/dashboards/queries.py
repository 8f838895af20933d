"""The queries of the committed dashboards, their variables substituted, and how to ask a Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
ALL = ".+"  # what Grafana puts in for "All" in our variables
VARIABLES = {"job": ALL, "instance": ALL, "idc": ALL}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel of a dashboard."""

    board: str
    json: dict[str, Any]

    def __str__(self) -> str:
        """Name it as a person finds it."""
        return f"{self.board}: {self.json.get('title')}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One query of a panel, as written; `bound` makes it what Grafana would send."""

    panel: Panel
    ref: str
    expr: str
    legend: str
    instant: bool
    exemplars: bool

    def __str__(self) -> str:
        """Name it as a person finds it."""
        return f"{self.panel} [{self.ref}]"

    @property
    def needs_rules(self) -> bool:
        """Whether it has no answer where the rules recorded nothing."""
        return "job_threshold:" in self.expr or "$instance" not in self.expr

    def bound(
        self, variables: Mapping[str, str] = VARIABLES, *, range_: str = "30m", rate_interval: str = "1m"
    ) -> str:
        """Return the query as Grafana sends it; values of variables are regular expressions."""
        return substitute(self.expr, variables, range_=range_, rate_interval=rate_interval)


def boards() -> dict[str, dict[str, Any]]:
    """Return the committed dashboards by the name of their file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels() -> Iterator[Panel]:
    """Give every panel that shows something, also those in collapsed rows."""
    for name, board in boards().items():
        for panel in board["panels"]:
            shown = panel["panels"] if panel["type"] == "row" else [panel]
            yield from (Panel(board=name, json=one) for one in shown)


def targets() -> Iterator[Target]:
    """Give every query of every panel."""
    for panel in panels():
        for target in panel.json["targets"]:
            yield Target(
                panel=panel,
                ref=target["refId"],
                expr=target["expr"],
                legend=target["legendFormat"],
                instant=target["instant"],
                exemplars=target["exemplar"],
            )


def annotations() -> Iterator[tuple[str, str]]:
    """Give (name, query) of every annotation; most of the time they rightly return nothing."""
    for name, board in boards().items():
        for annotation in board["annotations"]["list"]:
            yield f"{name}: {annotation['name']}", annotation["expr"]


def label_queries() -> Iterator[tuple[str, str, str]]:
    """Give (name, selector, label) of every variable that asks Prometheus for the values of a label."""
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert match, variable["query"]
                selector = match[1] if "{" in match[1] else f"{match[1]}{{}}"
                yield f"{name}: {variable['name']}", selector, match[2]


def substitute(
    expr: str, variables: Mapping[str, str] = VARIABLES, *, range_: str = "30m", rate_interval: str = "1m"
) -> str:
    """Return `expr` with `$name` and `${name}` replaced; an unknown variable is an error."""
    values = {**variables, "__range": range_, "__rate_interval": rate_interval}
    return re.sub(r"\$(?:\{(\w+)\}|([a-zA-Z_]\w*))", lambda match: values[match[1] or match[2]], expr)


def exactly(value: str) -> str:
    """Return the value of a variable that picks just `value`: a regular expression within PromQL's quotes."""
    return re.escape(value).replace("\\", "\\\\")


def ask(
    url: str, target: Target, expr: str, *, start: float, end: float, step: float = 15
) -> list[dict[str, Any]]:
    """Return the series that the Prometheus at `url` answers a query of a panel with, as Grafana would ask.

    A query of now is asked at `end`; any other from `start` to `end`. Raises AssertionError with the
    server's words if it refuses.
    """
    if target.instant:
        return _get(url, "query", {"query": expr, "time": end})
    return _get(url, "query_range", {"query": expr, "start": start, "end": end, "step": step})


def exemplars(url: str, expr: str, *, start: float, end: float) -> list[dict[str, str]]:
    """Return the labels of the exemplars that lie beside the series of a query."""
    found = _get(url, "query_exemplars", {"query": expr, "start": start, "end": end})
    return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]


def label_values(url: str, selector: str, label: str, *, start: float, end: float) -> list[str]:
    """Return the values of a label, as a variable of a dashboard asks for them."""
    parameters: dict[str, str | float] = {"match[]": selector, "start": start, "end": end}
    return _get(url, f"label/{label}/values", parameters)


def _get(url: str, path: str, parameters: Mapping[str, str | float]) -> list[Any]:
    # plain HTTP on this machine: loading the system's certificates each time would take most of the test
    response = httpx.get(f"{url}/api/v1/{path}", params=dict(parameters), timeout=30, verify=False)
    body = response.json()
    assert response.status_code == httpx.codes.OK, f"{body.get('error')}: {parameters}"
    data = body["data"]
    return list(data["result"] if isinstance(data, dict) else data)
