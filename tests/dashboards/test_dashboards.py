"""The dashboards as Grafana loads them: current, well-formed, and by the rules of Grafana's linter."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units

from exporter.model import HostStatus, IdcOutcome, ResultStatus
from grafana.src.style import BAD, IDLE, WARN
from tests.dashboards.queries import FOLDER, Panel, boards, panels

ROOT = FOLDER.parent.parent
PROVISIONING = ROOT / "grafana" / "provisioning"
KNOWN_UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and name[0].isupper()}
BOARDS = boards()
PANELS = list(panels())
GRID = 38  # pixels of a grid unit, with the gap
SCREEN = 900  # pixels
NARROW = 1300  # pixels of a page beside Grafana's menu
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
each_panel = pytest.mark.parametrize("panel", PANELS, ids=str)


def variable(board: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in board["templating"]["list"] if item["name"] == name)


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Give the paths of what is in `before` and not in `after`; what was added (defaults) is no loss."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{i}]")
    elif before != after:
        yield path


def generate(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grafana.generate", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def test_the_committed_files_are_what_the_code_writes() -> None:
    """Someone who changed the code has also written the JSON anew."""
    result = generate("--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_generator_writes_what_is_missing_and_tells_what_is_stale(tmp_path: Path) -> None:
    """Without files --check fails and names them; after a run it passes; a file too many is named too."""
    (tmp_path / "grafana").mkdir()
    for name in ("__init__.py", "src"):
        (tmp_path / "grafana" / name).symlink_to(ROOT / "grafana" / name)
    shutil.copy(ROOT / "grafana" / "generate.py", tmp_path / "grafana")  # it writes beside itself
    missing = generate("--check", root=tmp_path)
    assert missing.returncode == 1
    assert "jobs.json, idcs.json, exporter.json" in missing.stderr
    assert generate(root=tmp_path).returncode == 0
    assert generate("--check", root=tmp_path).returncode == 0
    (tmp_path / "grafana" / "dashboards" / "old.json").write_text("{}", encoding="utf-8")
    assert "stale: old.json" in generate("--check", root=tmp_path).stderr


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")  # Grafana 11 has no such
@each_board
def test_the_schema_of_the_sdk_loses_nothing(board: dict[str, Any]) -> None:
    """Read into the SDK's model and written again, each field is there: none is of our own invention."""
    sdk = importlib.import_module("grafana_foundation_sdk.models.dashboard")  # warns when it is imported
    plugins.register_default_plugins()  # else options of panels and queries would pass unread
    model = sdk.Dashboard.from_json(board)
    assert list(lost(board, json.loads(JSONEncoder().encode(model)))) == []


@each_board
def test_a_dashboard_is_read_only_and_loads_in_grafana_11_and_12(board: dict[str, Any]) -> None:
    """It says `editable: false`, has a schema that both know, a fixed address, and no id of some database."""
    assert board["editable"] is False
    assert 39 <= board["schemaVersion"] <= 42
    assert re.fullmatch(r"job-exporter-[a-z]+", board["uid"])
    assert board.get("id") is None
    assert board["title"]
    assert board["description"]
    assert len({other["uid"] for other in BOARDS.values()}) == len(BOARDS)


@each_board
def test_the_data_source_is_a_variable(board: dict[str, Any]) -> None:
    """One variable `datasource`, labelled "Data source", of type prometheus."""
    sources = [item for item in board["templating"]["list"] if item["type"] == "datasource"]
    assert [(item["name"], item["label"], item["query"]) for item in sources] == [
        ("datasource", "Data source", "prometheus")
    ]


@each_board
@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_variables(board: dict[str, Any], name: str) -> None:
    """Several can be chosen, all is `.+`, and the values come from the data source of the dashboard."""
    item = variable(board, name)
    assert (item["type"], item["label"]) == ("query", name.title())
    assert (item["multi"], item["includeAll"], item["allValue"]) == (True, True, ".+")
    assert item["current"]["value"] == "$__all"


@each_board
def test_variables_that_ask_are_asked_again_when_the_time_changes(board: dict[str, Any]) -> None:
    """Each query variable uses the dashboard's data source and refreshes on change of the time range."""
    for item in board["templating"]["list"]:
        if item["type"] == "query":
            assert item["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert item["refresh"] == 2
            assert item["definition"] == item["query"]["query"]


@each_board
def test_every_variable_is_used(board: dict[str, Any]) -> None:
    """A variable that nothing refers to is clutter at the head of the page."""
    names = [item["name"] for item in board["templating"]["list"]]
    text = JSONEncoder().encode({key: value for key, value in board.items() if key != "templating"})
    for name in names:
        assert re.search(rf"\$\{{?{name}\b", text)


@each_board
def test_panels_are_numbered_once_and_do_not_overlap(board: dict[str, Any]) -> None:
    """Ids are unique, and on the grid of 24 columns no two panels share a cell."""
    inner = [panel for row in board["panels"] for panel in row.get("panels", [])]
    ids = [panel["id"] for panel in (*board["panels"], *inner)]
    assert len(set(ids)) == len(ids)
    for group in (board["panels"], inner):
        taken: set[tuple[int, int]] = set()
        for panel in group:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


@each_board
def test_the_top_answers_at_a_glance(board: dict[str, Any]) -> None:
    """Before the first head of a row there are tiles, side by side at the very top, and what fires now."""
    first = next(i for i, panel in enumerate(board["panels"]) if panel["type"] == "row")
    top = board["panels"][:first]
    assert {panel["type"] for panel in top if panel["gridPos"]["y"] == 0} == {"stat"}
    assert [panel["title"] for panel in top if panel["type"] == "table"][-1:] == ["Firing now"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in top) * GRID <= SCREEN


@each_board
def test_a_page_has_a_length_that_somebody_scrolls(board: dict[str, Any]) -> None:
    """It is less than three screens long, whatever the number of IDCs: nothing repeats."""
    assert (
        max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * GRID <= 3 * SCREEN
    )
    assert not any(panel.get("repeat") for panel in board["panels"])


@each_board
def test_links_lead_to_the_other_dashboards_and_to_the_runbook(board: dict[str, Any]) -> None:
    """Links keep filters and times, and none is hidden in a menu."""
    others, runbook, *_ = board["links"]
    assert (others["type"], others["includeVars"], others["keepTime"]) == ("dashboards", True, True)
    assert set(others["tags"]) <= set(board["tags"])
    assert runbook["url"] == "${runbook_url}"
    assert not any("placement" in link for link in board["links"])


@each_board
def test_titles_are_told_apart(board: dict[str, Any]) -> None:
    """No two panels of a dashboard have the same title, so that one can be named in a chat."""
    titles = [panel["title"] for panel in board["panels"]]
    assert sorted(set(titles)) == sorted(titles)


@each_panel
def test_a_panel_tells_what_it_shows(panel: Panel) -> None:
    """It has a title, a description that ends its sentence, and at least one query."""
    assert panel.json["title"]
    assert panel.json["description"].endswith(".")
    assert panel.json["targets"]


@each_panel
def test_a_panel_has_a_known_unit(panel: Panel) -> None:
    """The default unit and those of overrides are units of Grafana."""
    config = panel.json["fieldConfig"]
    overridden = [
        item["value"]
        for override in config["overrides"]
        for item in override["properties"]
        if item["id"] == "unit"
    ]
    assert {config["defaults"]["unit"], *overridden} <= KNOWN_UNITS


@each_panel
def test_a_panel_uses_the_data_source_of_the_dashboard(panel: Panel) -> None:
    """The panel and each of its queries do, and the queries have names of their own."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = panel.json["targets"]
    assert [panel.json["datasource"], *(target["datasource"] for target in targets)] == [source] * (
        len(targets) + 1
    )
    assert len({target["refId"] for target in targets}) == len(targets)


def test_a_status_has_one_colour_everywhere() -> None:
    """Series named after a status have the same fixed colour on every panel of every dashboard."""
    statuses = {*map(str, ResultStatus), *map(str, HostStatus), *map(str, IdcOutcome), "init", "doing"}
    colours: dict[str, set[str]] = {}
    for panel in PANELS:
        for name, item in overrides(panel):
            if item["id"] == "color" and name in statuses:
                assert item["value"]["mode"] == "fixed"
                colours.setdefault(name, set()).add(item["value"]["fixedColor"])
    assert set(colours) == statuses
    assert all(len(found) == 1 for found in colours.values())


def overrides(panel: Panel) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (name or query, property) of each override of a panel."""
    for override in panel.json["fieldConfig"]["overrides"]:
        for item in override["properties"]:
            yield override["matcher"]["options"], item


def addresses(value: Any) -> Iterator[str]:
    """Give every address of a link within a dashboard."""
    match value:
        case dict():
            if isinstance(value.get("url"), str):
                yield value["url"]
            for item in value.values():
                yield from addresses(item)
        case list():
            for item in value:
                yield from addresses(item)


@each_board
def test_links_have_no_blanks_and_carry_the_filters(board: dict[str, Any]) -> None:
    """A blank breaks a link or a variable in it; a link between the dashboards keeps time and filters."""
    found = [url for url in addresses(board) if url]
    assert found
    for url in found:
        assert not re.search(r"\s", url), url
        if url.startswith("/d/"):
            assert url.removeprefix("/d/").partition("?")[0] in {other["uid"] for other in BOARDS.values()}
            for part in (
                "__url_time_range",
                "datasource:queryparam",
                "job:queryparam",
                "instance:queryparam",
            ):
                assert f"${{{part}}}" in url


@each_panel
def test_stacks_have_no_outline(panel: Panel) -> None:
    """The outline of a part at zero would colour the part below it."""
    custom = panel.json["fieldConfig"]["defaults"].get("custom", {})
    if custom.get("stacking", {}).get("mode") == "normal":
        assert custom["lineWidth"] == 0


@each_panel
def test_missing_data_is_grey(panel: Panel) -> None:
    """A tile without data says so in grey; green is only what was measured."""
    if panel.json["type"] == "stat":
        defaults = panel.json["fieldConfig"]["defaults"]
        (special,) = [item["options"] for item in defaults["mappings"] if item["type"] == "special"]
        assert special["match"] == "null+nan"
        assert special["result"] == {"text": defaults["noValue"], "color": IDLE}


def usable(panel: Panel) -> float:
    """Return the width of a panel in pixels, without the margins of page and panel."""
    return float(panel.json["gridPos"]["w"] / 24 * (NARROW - 32) - 26)


@each_panel
def test_a_title_fits_its_panel(panel: Panel) -> None:
    """Beside Grafana's menu on a usual screen no title is cut."""
    assert len(panel.json["title"]) * 7.5 + 40 <= usable(panel)  # the sign for the description


@each_panel
def test_a_table_fits_its_panel(panel: Panel) -> None:
    """The columns are as wide together as the panel at most, and each head fits its column."""
    if panel.json["type"] != "table":
        return
    widths = {
        name: item["value"]
        for name, item in overrides(panel)
        if item["id"] in ("custom.width", "custom.minWidth")
    }
    assert sum(widths.values()) <= usable(panel)
    sorted_by = {field["displayName"] for field in panel.json["options"]["sortBy"]}
    for head, width in widths.items():
        assert len(head) * 7 + 16 + 16 * (head in sorted_by) <= width, head  # the arrow of the order
        assert width >= 50, head  # Grafana makes no column smaller


@each_panel
def test_a_legend_shows_its_entries(panel: Panel) -> None:
    """It is a list, or a table at the right that begins with the greatest last value."""
    legend = panel.json.get("options", {}).get("legend", {})
    if panel.json["type"] == "timeseries" and legend["displayMode"] == "table":
        assert (legend["placement"], legend["sortBy"], legend["sortDesc"]) == ("right", "Last *", True)


def test_each_alert_is_on_one_dashboard_with_its_section_of_the_runbook() -> None:
    """*Firing now* and the bands show the alerts of their dashboard only; warnings are orange."""
    shown: list[str] = []
    for name, board in BOARDS.items():
        (table,) = [p for p in PANELS if p.board == name and p.json["title"] == "Firing now"]
        (names,) = set(re.findall(r'alertname=~"([^"]+)"', table.json["targets"][0]["expr"]))
        properties = {item["id"]: item["value"] for head, item in overrides(table) if head == "Runbook"}
        prefix = properties["links"][0]["url"].removeprefix("${runbook_url}#").removesuffix("${__value.text}")
        texts = properties["mappings"][0]["options"]
        assert {alert: prefix + texts[alert]["text"] for alert in names.split("|")} == {
            alert: alert.lower() for alert in names.split("|")
        }
        bands = [item for item in board["annotations"]["list"] if "ALERTS" in item["expr"]]
        assert all(f'alertname=~"{names}"' in item["expr"] for item in bands)
        assert [item["iconColor"] for item in bands] == [BAD, WARN]
        shown += names.split("|")
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml").read_text("utf-8"))
    assert sorted(shown) == sorted(rule["alert"] for group in rules["groups"] for rule in group["rules"])


def test_the_data_source_links_exemplars_to_records() -> None:
    """The provisioned source knows the exporter's exemplar label; the address comes from the environment."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text("utf-8"))[
        "datasources"
    ]
    (link,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert source["type"] == "prometheus"
    assert link["name"] == "record_id"
    # Grafana reads ${NAME} from its environment and makes $$ a dollar sign
    assert link["url"] == "${RECORD_URL}$${__value.raw}"


def test_the_dashboards_are_provisioned_read_only() -> None:
    """The provider loads files and lets nobody change them in the browser."""
    path = PROVISIONING / "dashboards" / "job-exporter.yaml"
    (provider,) = yaml.safe_load(path.read_text("utf-8"))["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
