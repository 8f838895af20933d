"""Charts over time: lines, stacked areas, heat maps and state timelines."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import common, dashboard, statetimeline, timeseries
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import heatmap as hm

from grafana.src.panels import dress, fixed, legend, mappings, option, thresholds, tooltip
from grafana.src.style import BAD, IDLE, Series, Steps, Texts

LAST = ("lastNotNull",)
TIMELINE_ROWS = 12  # rows of a state timeline that are readable in a panel of usual height


def lines(
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    limits: Mapping[str, str] | None = None,
    steps: Steps = (),
    at_least: float | None = None,
    below_zero: bool = False,
    right: bool = False,
    decimals: int | None = None,
    exemplars: bool = False,
) -> timeseries.Panel:
    """Return lines over time.

    `limits` are recorded thresholds, drawn as dashed red lines; `steps` draws limits that need no alert.
    The axis reaches at least to `at_least`, so that noise near zero does not fill the panel.
    """
    queries = {**(limits or {}), **dict(series)}
    panel = _over_time(title, description, unit, queries, right=right, exemplars=exemplars)
    panel = panel.line_width(2).fill_opacity(0)
    for name in limits or {}:
        dash = option("custom.lineStyle", {"fill": "dash", "dash": [8, 8]})
        panel = panel.override_by_name(name, [fixed(BAD), dash, option("custom.lineWidth", 1)])
    if not below_zero:
        panel = panel.min(0)
    elif at_least is not None:
        panel = panel.axis_soft_min(-at_least)
    if at_least is not None:
        panel = panel.axis_soft_max(at_least)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(cm.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(steps)).thresholds_style(style)
    return panel if decimals is None else panel.decimals(decimals)


def stacked(
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    at_least: float = 1,
    right: bool = False,
    decimals: int | None = None,
    exemplars: bool = False,
) -> timeseries.Panel:
    """Return areas on top of each other: the parts and their whole, over time.

    Areas have no outline: the outline of a part that is zero would colour the part below it.
    """
    panel = (
        _over_time(title, description, unit, series, right=right, exemplars=exemplars)
        .stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL))
        .min(0)
        .axis_soft_max(at_least)
        .fill_opacity(80)
        .line_width(0)
    )
    return panel if decimals is None else panel.decimals(decimals)


def heatmap(title: str, description: str, unit: str, expr: str, *, exemplars: bool = False) -> heatmaps.Panel:
    """Return the distribution over time of a query by `le`; `unit` is the unit of the buckets."""
    colour = (
        heatmaps.HeatmapColorOptions()
        .mode(hm.HeatmapColorMode.SCHEME)
        .scheme("Oranges")  # more stands out from the background in both themes; Grafana inverts Turbo in one
        .scale(hm.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)  # so that the few slow ones stay visible beside the many fast ones
        .steps(64)
    )
    return (
        dress(
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


def timeline(title: str, description: str, series: Series, texts: Texts) -> statetimeline.Panel:
    """Return one bar for each series, coloured by `texts`: the legend shows the text of each state."""
    return (
        dress(statetimeline.Panel(), title, description, "none", series)
        .thresholds(thresholds(((None, IDLE),)))
        .mappings(mappings(texts))
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.FIXED).fixed_color(IDLE))
        .show_value(cm.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.85)
        .fill_opacity(80)
        .line_width(0)
        .per_page(TIMELINE_ROWS)
        .legend(legend(()))
        .tooltip(tooltip())
    )


def _over_time(
    title: str, description: str, unit: str, series: Series, *, right: bool, exemplars: bool
) -> timeseries.Panel:
    return (
        dress(timeseries.Panel(), title, description, unit, series, exemplars=exemplars)
        .show_points(cm.VisibilityMode.NEVER)
        .no_value("nothing")
        .legend(legend(LAST if right else (), right=right))
        .tooltip(tooltip())
    )
