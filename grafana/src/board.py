"""What the dashboards share: variables, links, annotations, and the layout of panels in rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as dm

from grafana.src.panels import SOURCE, PanelBuilder
from grafana.src.queries import select
from grafana.src.style import BAD, RUNNING, WARN

TAG = "job-exporter"  # the dashboards find each other by it
SCHEMA_VERSION = 39  # Grafana 11.0's; newer ones bring it up themselves, and older ones are not supported
WIDTH = 24  # columns of Grafana's grid

# Where a record can be seen; a variable, so that the address of the dashboard can say otherwise.
RECORD_URL = "http://localhost:6868/api/v1/job/record?id="


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels side by side, of equal width, under one head; at most eight."""

    title: str = ""  # empty: no head
    panels: Sequence[PanelBuilder]
    height: int = 8  # grid units of 38 pixels with the gap
    repeat: str | None = None  # variable; the row appears once for each of its values


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
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
    for annotation in _annotations():
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
            "Replica: figures count replicas once, so all is right.",
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


def _annotations() -> tuple[dashboard.AnnotationQuery, ...]:
    # Not filtered by instance: an alert about replicas together has none.
    alerts = 'ALERTS{alertname=~"Job.+", alertstate="firing", severity=~"critical|warning"}'
    catching_up = f"max by (job) ({select('job_exporter_catching_up')}) == 1"
    leader = select("job_exporter_leader")
    took_over = f"{leader} == 1 and changes({leader}[2m]) > 0"  # two scrapes, be they a minute apart
    return (
        _annotation("Alerts", alerts, BAD, "{{alertname}} {{idc}}"),
        _annotation("Catching up", catching_up, WARN, "Counts include what finished while nobody looked"),
        _annotation("New leader", took_over, RUNNING, "{{instance}} polls the platform now"),
    )


def _annotation(name: str, expr: str, colour: str, text: str) -> dashboard.AnnotationQuery:
    annotation = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour)
    return annotation.expr(expr).title_format(name).text_format(text).step("1m")


def _place(rows: Sequence[Row]) -> list[dm.Panel | dm.RowPanel]:
    placed: list[dm.Panel | dm.RowPanel] = []
    y = 0
    for row in rows:
        if row.title:
            head = dm.RowPanel(title=row.title, repeat=row.repeat, id_val=len(placed) + 1, panels=[])
            head.grid_pos = dm.GridPos(x=0, y=y, w=WIDTH, h=1)
            placed.append(head)
            y += 1
        width = WIDTH // len(row.panels)
        for column, builder in enumerate(row.panels):
            panel = builder.build()
            panel.id_val = len(placed) + 1
            panel.grid_pos = dm.GridPos(x=column * width, y=y, w=width, h=row.height)
            placed.append(panel)
        y += row.height
    return placed
