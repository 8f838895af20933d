"""What the dashboards share: variables, links, annotations, and the layout of panels in rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, product

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as dm

from grafana.src.panels import SOURCE, PanelBuilder
from grafana.src.queries import select
from grafana.src.style import BAD, IDLE, RUNNING, WARN

TAG = "job-exporter"  # the dashboards find each other by it
SCHEMA_VERSION = 39  # Grafana 11.0's; newer ones bring it up themselves, and older ones are not supported
WIDTH = 24  # columns of Grafana's grid

# Where a record can be seen; a variable, so that the address of the dashboard can say otherwise.
RECORD_URL = "http://localhost:6868/api/v1/job/record?id="

# What a link to another dashboard carries on: time, data source and filters.
FILTERS = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A panel and its size in grid units; a unit is 38 pixels high, with the gap."""

    panel: PanelBuilder
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under one head; each takes the first free place, from the top and from the left."""

    title: str = ""  # empty: no head
    panels: Sequence[Sized]
    collapsed: bool = False  # Grafana asks nothing of the platform for a row that nobody opened


def sized(width: int, height: int, *panels: PanelBuilder) -> tuple[Sized, ...]:
    """Return panels of one size."""
    return tuple(Sized(panel=panel, width=width, height=height) for panel in panels)


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    alerts: Sequence[str]  # drawn as bands: only those that the dashboard is about
    variables: Sequence[dashboard.QueryVariable | dashboard.TextBoxVariable] = ()
    links: Sequence[dashboard.DashboardLink] = ()


def assemble(board: Board) -> dm.Dashboard:
    """Return the dashboard as Grafana's classic model, panels placed and numbered in reading order."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
    )
    for variable in (_source_variable(), *_target_variables(), *board.variables, _runbook_variable()):
        builder = builder.with_variable(variable)
    for annotation in _annotations(board.alerts):
        builder = builder.annotation(annotation)
    for link in (*_links(), *board.links):
        builder = builder.link(link)
    model = builder.build()
    model.panels = _place(board.rows)
    for shown in model.links or []:
        # the builder's default would hide links in a menu from Grafana 12 on
        shown.placement = None  # type: ignore[assignment]
    model.schema_version = SCHEMA_VERSION
    return model


def label_variable(
    name: str, label: str, metric: str, matchers: str, description: str
) -> dashboard.QueryVariable:
    """Return a variable of the values that label `name` has on `metric`: several, all by default."""
    return (
        _query_variable(name, label, f"label_values({metric}{matchers}, {name})", description)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(dm.VariableOption(selected=True, text="All", value="$__all"))
    )


def _query_variable(name: str, label: str, query: str, description: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.ALPHABETICAL_ASC)
    )


def text_variable(
    name: str, label: str, value: str, description: str, *, hidden: bool = False
) -> dashboard.TextBoxVariable:
    """Return a variable that a person, or `?var-name=` in the URL, can fill in."""
    option = dm.VariableOption(selected=True, text=value, value=value)
    box = dashboard.TextBoxVariable(name).label(label).description(description).default_value(value)
    box = box.current(option).options([option])
    return box.hide(dm.VariableHide.HIDE_VARIABLE) if hidden else box


def _source_variable() -> dashboard.DatasourceVariable:
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the exporter.")
        .type("prometheus")
        .current(dm.VariableOption(selected=True, text="default", value="default"))
    )


def _target_variables() -> tuple[dashboard.QueryVariable, dashboard.QueryVariable]:
    metric = "job_exporter_build_info"  # every exporter has it, whatever its platform does
    return (
        label_variable("job", "Job", metric, "", "Scrape job: one for each platform that is watched."),
        label_variable(
            "instance",
            "Instance",
            metric,
            '{job=~"$job"}',
            "Replicas of the exporter. Figures count replicas once, so leave it at All.",
        ),
    )


def _runbook_variable() -> dashboard.QueryVariable:
    """Return the address of the runbook: it stands in the rules, one place for alerts and dashboards."""
    query = "label_values(job_runbook:base:info, url)"
    variable = _query_variable("runbook_url", "Runbook", query, "Set in the rules' thresholds.yml.")
    return variable.hide(dm.VariableHide.HIDE_VARIABLE)


def _links() -> tuple[dashboard.DashboardLink, dashboard.DashboardLink]:
    return (
        dashboard.DashboardLink("Job dashboards")
        .type(dm.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .tooltip("The other dashboards, with the same filters and times")
        .include_vars(True)
        .keep_time(True),
        web_link(
            "Runbook", "${runbook_url}", "What each alert means, how to confirm it, what to do", icon="doc"
        ),
    )


def web_link(title: str, url: str, tooltip: str, *, icon: str = "external link") -> dashboard.DashboardLink:
    """Return a link at the top of a dashboard that opens beside it."""
    link = dashboard.DashboardLink(title).type(dm.DashboardLinkType.LINK).url(url)
    return link.tooltip(tooltip).icon(icon).target_blank(True)


def _annotations(alerts: Sequence[str]) -> tuple[dashboard.AnnotationQuery, ...]:
    # Not filtered by instance: an alert about replicas together has none.
    names = f'alertname=~"{"|".join(alerts)}", alertstate="firing", job=~"$job"'
    catching_up = f"max by (job) ({select('job_exporter_catching_up')}) == 1"
    leader = select("job_exporter_leader")
    took_over = f"{leader} == 1 and changes({leader}[2m]) > 0"  # two scrapes, be they a minute apart
    text = "{{alertname}} {{idc}}"
    return (
        _annotation("Critical", f'ALERTS{{{names}, severity="critical"}}', BAD, text),
        _annotation("Warnings", f'ALERTS{{{names}, severity="warning"}}', WARN, text),
        _annotation("Catching up", catching_up, IDLE, "Counts include what finished during a downtime"),
        _annotation("New leader", took_over, RUNNING, "{{instance}} polls the platform now"),
    )


def _annotation(name: str, expr: str, colour: str, text: str) -> dashboard.AnnotationQuery:
    annotation = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour)
    return annotation.expr(expr).title_format(name).text_format(text).step("1m")


def _place(rows: Sequence[Row]) -> list[dm.Panel | dm.RowPanel]:
    placed: list[dm.Panel | dm.RowPanel] = []
    ids = count(1)
    y = 0
    for row in rows:
        head = None
        if row.title:
            head = dm.RowPanel(title=row.title, id_val=next(ids), collapsed=row.collapsed, panels=[])
            head.grid_pos = dm.GridPos(x=0, y=y, w=WIDTH, h=1)
            placed.append(head)
            y += 1
        panels, height = _packed(row.panels, y)
        for panel in panels:
            panel.id_val = next(ids)
        if head and row.collapsed:
            head.panels = panels
        else:
            placed.extend(panels)
            y += height
    return placed


def _packed(panels: Sequence[Sized], top: int) -> tuple[list[dm.Panel], int]:
    """Return the panels with their places, and how many grid units they take from `top` on."""
    taken: set[tuple[int, int]] = set()
    built = []
    for sized_panel in panels:
        width, height = sized_panel.width, sized_panel.height
        for y, x in product(range(100), range(WIDTH - width + 1)):
            cells = {(x + i, y + j) for i in range(width) for j in range(height)}
            if not cells & taken:
                break
        taken |= cells
        panel = sized_panel.panel.build()
        panel.grid_pos = dm.GridPos(x=x, y=top + y, w=width, h=height)
        built.append(panel)
    return built, max((y + 1 for _, y in taken), default=0)
