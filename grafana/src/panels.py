"""The kinds of panel the dashboards are made of: one look for one kind, one colour for one status.

Every panel has a title, a description (what it shows and what to do about it), a unit, and the data source
of the dashboard's variable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import heatmap as hm
from grafana_foundation_sdk.models import prometheus as pm

from grafana.src.style import COLOURS, GOOD, STATUSES, Series, Steps, Texts

SOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")


class PanelBuilder(Protocol):
    """What the kinds of builder have in common, as far as it is used here."""

    # ruff: noqa: D102
    def title(self, title: str, /) -> Self: ...
    def description(self, description: str, /) -> Self: ...
    def unit(self, unit: str, /) -> Self: ...
    def datasource(self, datasource: cm.DataSourceRef, /) -> Self: ...
    def with_target(self, target: prometheus.Dataquery, /) -> Self: ...
    def override_by_name(self, name: str, properties: list[dm.DynamicConfigValue], /) -> Self: ...
    def build(self) -> dm.Panel: ...


P = TypeVar("P", bound=PanelBuilder)
Mode = Literal["range", "instant", "table", "heatmap"]


def stat(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    steps: Steps = ((None, GOOD),),
    texts: Texts | None = None,
    no_value: str = "none",
    decimals: int | None = None,
    name: str = "",
) -> stats.Panel:
    """Return a tile with the value of now; `name` is a legend to be shown beside the number."""
    panel = (
        _dress(stats.Panel(), title, description, unit, {name or title: expr}, mode="instant")
        .thresholds(_thresholds(steps))
        .mappings(_mappings(texts or {}))
        .no_value(no_value)
        .color_mode(cm.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .text_mode(cm.BigValueTextMode.VALUE_AND_NAME if name else cm.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    steps: Steps = (),
    below_zero: bool = False,
    exemplars: bool = False,
) -> timeseries.Panel:
    """Return lines over time; `steps` draws its limits as dashed lines."""
    panel = _over_time(title, description, unit, series, exemplars=exemplars).line_width(2).fill_opacity(8)
    if not below_zero:
        panel = panel.min(0)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(cm.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(style)
    return panel


def stacked(
    title: str, description: str, unit: str, series: Series, *, exemplars: bool = False
) -> timeseries.Panel:
    """Return areas on top of each other: the parts and their whole, over time."""
    return (
        _over_time(title, description, unit, series, exemplars=exemplars)
        .stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL))
        .min(0)
        .fill_opacity(70)
        .line_width(1)
    )


def heatmap(title: str, description: str, unit: str, expr: str, *, exemplars: bool = False) -> heatmaps.Panel:
    """Return the distribution over time of a query by `le`; `unit` is the unit of the buckets."""
    colour = (
        heatmaps.HeatmapColorOptions()
        .mode(hm.HeatmapColorMode.SCHEME)
        .scheme("Turbo")
        .scale(hm.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)  # so that the few slow ones stay visible beside the many fast ones
        .steps(64)
    )
    return (
        _dress(
            heatmaps.Panel(), title, description, unit, {"{{le}}": expr}, mode="heatmap", exemplars=exemplars
        )
        .color(colour)
        .y_axis(heatmaps.YAxisConfig().unit(unit).axis_placement(cm.AxisPlacement.LEFT))
        .filter_values(heatmaps.FilterValueRange().le(1e-9))  # empty cells are background
        .cell_values(heatmaps.CellValues().unit("cpm"))
        .tooltip(heatmaps.HeatmapTooltip().mode(cm.TooltipDisplayMode.SINGLE).y_histogram(True))
        .exemplars_color("rgba(255,0,255,0.7)")
        .hide_legend()
    )


def timeline(
    title: str, description: str, unit: str, series: Series, *, steps: Steps, texts: Texts | None = None
) -> statetimeline.Panel:
    """Return one bar a series, coloured by the step its value lies in."""
    return (
        _dress(statetimeline.Panel(), title, description, unit, series)
        .thresholds(_thresholds(steps))
        .mappings(_mappings(texts or {}))
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .show_value(cm.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.85)
        .fill_opacity(80)
        .line_width(0)
        .legend(_legend([]))
        .tooltip(_tooltip())
    )


def ranking(
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    steps: Steps,
    link: tuple[str, str] | None = None,
) -> bargauge.Panel:
    """Return one horizontal bar a series, in the order of the query; `link` is (title, URL) of a bar."""
    return (
        _dress(bargauge.Panel(), title, description, unit, series, mode="instant")
        .thresholds(_thresholds(steps))
        .min(0)
        .decimals(0 if unit == "locale" else 1)
        .no_value("nothing")
        .display_mode(cm.BarGaugeDisplayMode.BASIC)
        .orientation(cm.VizOrientation.HORIZONTAL)
        .name_placement(cm.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .data_links([dashboard.DashboardLink(link[0]).url(link[1])] if link else [])
    )


@dataclass(frozen=True, kw_only=True)
class Column:
    """A number column of a table: its query, its head, its unit and the steps that colour it."""

    expr: str
    head: str
    unit: str
    steps: Steps = ()


def table(
    title: str, description: str, columns: Sequence[Column], *, sort: str, labels: dict[str, str]
) -> tables.Panel:
    """Return a table of `labels` (label → head) and `columns`, joined on the labels, sorted by `sort`."""
    # a table shows no legends; heads serve as keys
    series = {column.head: column.expr for column in columns}
    panel = _dress(tables.Panel(), title, description, columns[0].unit, series, mode="table")
    values = {_value_name(i, columns): column.head for i, column in enumerate(columns)}
    layout = {
        "excludeByName": {"Time": True},
        "indexByName": {name: i for i, name in enumerate([*labels, *values])},
        "renameByName": labels | values,
    }
    panel = panel.with_transformation(dm.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(dm.DataTransformerConfig(id_val="organize", options=layout))
    for column in columns:
        properties = [dm.DynamicConfigValue(id_val="unit", value=column.unit)]
        if column.steps:
            properties += [
                dm.DynamicConfigValue(id_val="thresholds", value=_thresholds(column.steps).build()),
                dm.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ]
        panel = panel.override_by_name(column.head, properties)
    return panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])


def _value_name(index: int, columns: Sequence[Column]) -> str:
    # Grafana names the value column of a lone query differently
    return f"Value #{_ref(index)}" if len(columns) > 1 else "Value"


def _over_time(
    title: str, description: str, unit: str, series: Series, *, exemplars: bool
) -> timeseries.Panel:
    return (
        _dress(timeseries.Panel(), title, description, unit, series, exemplars=exemplars)
        .show_points(cm.VisibilityMode.NEVER)
        .legend(_legend(["lastNotNull", "max"]))
        .tooltip(_tooltip())
    )


def _dress(
    panel: P,
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    mode: Mode = "range",
    exemplars: bool = False,
) -> P:
    panel = panel.title(title).description(description).unit(unit).datasource(SOURCE)
    for i, (legend, expr) in enumerate(series.items()):
        # the last one asks for exemplars: the others come from the same metric and would double the dots
        asks = exemplars and i == len(series) - 1
        panel = panel.with_target(_target(expr, legend, _ref(i), mode).exemplar(asks))
    for legend in series:
        for status in STATUSES.get(legend, ()):
            colour = {"mode": "fixed", "fixedColor": COLOURS[status]}
            panel = panel.override_by_name(status, [dm.DynamicConfigValue(id_val="color", value=colour)])
    return panel


def _target(expr: str, legend: str, ref: str, mode: Mode) -> prometheus.Dataquery:
    formats = {"table": pm.PromQueryFormat.TABLE, "heatmap": pm.PromQueryFormat.HEATMAP}
    target = (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(expr)
        .legend_format(legend)
        .ref_id(ref)
        .editor_mode(pm.QueryEditorMode.CODE)
        .format(formats.get(mode, pm.PromQueryFormat.TIME_SERIES))
    )
    return target.instant() if mode in {"instant", "table"} else target.range()


def _ref(index: int) -> str:
    return chr(ord("A") + index)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    values = [dm.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(values)


def _mappings(texts: Texts) -> list[dm.ValueMapping]:
    if not texts:
        return []
    return [dm.ValueMap({value: dm.ValueMappingResult(text=t, color=c) for value, (t, c) in texts.items()})]


def _legend(calcs: list[str]) -> common.VizLegendOptions:
    mode = cm.LegendDisplayMode.TABLE if calcs else cm.LegendDisplayMode.LIST
    legend = common.VizLegendOptions().display_mode(mode).placement(cm.LegendPlacement.BOTTOM)
    return legend.show_legend(True).calcs(calcs)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING)
