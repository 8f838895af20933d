"""What all kinds of panel share: title, description, unit, data source, queries and colours."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import prometheus as pm

from grafana.src.style import COLOURS, IDLE, STATUSES, Series, Steps, Texts

SOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOT_KNOWN = "not known"


class PanelBuilder(Protocol):
    """The methods used here that the kinds of builder have in common."""

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
Link = tuple[str, str]  # (title, URL)


def dress(
    panel: P,
    title: str,
    description: str,
    unit: str,
    series: Series,
    *,
    mode: Mode = "range",
    exemplars: bool = False,
) -> P:
    """Give a panel its texts, its unit, its queries and the colours of statuses."""
    panel = panel.title(title).description(description).unit(unit).datasource(SOURCE)
    pairs = tuple(series.items()) if isinstance(series, Mapping) else tuple(series)
    for i, (name, expr) in enumerate(pairs):
        # Only the last query asks for exemplars: the others read the same metric and would double the dots.
        asks = exemplars and i == len(pairs) - 1
        panel = panel.with_target(target(expr, name, ref(i), mode).exemplar(asks))
    for name in dict(pairs):
        for status in STATUSES.get(name, ()):
            panel = panel.override_by_name(status, [fixed(COLOURS[status])])
    return panel


def target(expr: str, legend: str, ref_id: str, mode: Mode) -> prometheus.Dataquery:
    """Return one query of a panel."""
    formats = {"table": pm.PromQueryFormat.TABLE, "heatmap": pm.PromQueryFormat.HEATMAP}
    query = (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(expr)
        .legend_format(legend)
        .ref_id(ref_id)
        .editor_mode(pm.QueryEditorMode.CODE)
        .format(formats.get(mode, pm.PromQueryFormat.TIME_SERIES))
    )
    return query.instant() if mode in {"instant", "table"} else query.range()


def ref(index: int) -> str:
    """Return the name of the query at `index`: A, B and so on."""
    return chr(ord("A") + index)


def fixed(colour: str) -> dm.DynamicConfigValue:
    """Return the property of an override that sets one colour."""
    return option("color", {"mode": "fixed", "fixedColor": colour})


def option(name: str, value: Any) -> dm.DynamicConfigValue:
    """Return a property of an override."""
    return dm.DynamicConfigValue(id_val=name, value=value)


def links(*pairs: Link) -> list[Any]:
    """Return data links: what a click on a value opens."""
    return [dashboard.DashboardLink(title).url(url) for title, url in pairs]


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return the steps that colour a value."""
    values = [dm.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(values)


def mappings(texts: Texts, *, missing: str = "") -> list[dm.ValueMapping]:
    """Return texts for values; with `missing` also one for missing data, always grey."""
    found: list[dm.ValueMapping] = []
    if texts:
        options = {value: dm.ValueMappingResult(text=t, color=c or None) for value, (t, c) in texts.items()}
        found.append(dm.ValueMap(options))
    if missing:
        grey = dm.ValueMappingResult(text=missing, color=IDLE)
        nothing = dm.DashboardSpecialValueMapOptions(match=dm.SpecialValueMatch.NULL_AND_NAN, result=grey)
        found.append(dm.SpecialValueMap(nothing))
    return found


def legend(calcs: Sequence[str], *, right: bool = False) -> common.VizLegendOptions:
    """Return a legend: a table at the right, greatest last value first, or a list below."""
    options = common.VizLegendOptions().show_legend(True).calcs(list(calcs))
    if not right:
        return options.display_mode(cm.LegendDisplayMode.LIST).placement(cm.LegendPlacement.BOTTOM)
    options = options.display_mode(cm.LegendDisplayMode.TABLE).placement(cm.LegendPlacement.RIGHT)
    return options.sort_by("Last *").sort_desc(True)


def tooltip() -> common.VizTooltipOptions:
    """Return a tooltip of all series at a time, greatest first, without those at zero."""
    shown = common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING)
    return shown.hide_zeros(True)
