"""Tables: one row for each label set, one column for each query, worst first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

from grafana.src import queries as q
from grafana.src.panels import Link, dress, links, mappings, option, ref
from grafana.src.style import SEVERITIES, Texts

CHARACTER, PADDING = 7, 16  # pixels of a cell's text


@dataclass(frozen=True, kw_only=True)
class Label:
    """A column of a label."""

    head: str
    width: int  # pixels
    texts: Texts | None = None  # what is shown for a value; with a colour, in a cell of that colour
    link: Link | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of numbers."""

    expr: str
    head: str
    unit: str
    width: int  # pixels
    decimals: int | None = None
    texts: Texts | None = None  # what is shown for a value; with a colour, in a cell of that colour


def table(
    title: str,
    description: str,
    labels: Mapping[str, Label],
    columns: Sequence[Column],
    *,
    sort: Sequence[str],
    hidden: Sequence[str] = (),
    no_value: str = "nothing",
) -> tables.Panel:
    """Return a table of `labels` (by name) and `columns`, joined on all labels.

    `sort` names the heads to sort by, greatest first; `hidden` the labels that only join.
    """
    # A table shows no legends; the heads serve as keys.
    series = {column.head: column.expr for column in columns}
    panel = dress(tables.Panel(), title, description, columns[0].unit, series, mode="table")
    values = {_value_name(i, columns): column.head for i, column in enumerate(columns)}
    layout = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: i for i, name in enumerate([*labels, *values])},
        "renameByName": {name: label.head for name, label in labels.items()} | values,
    }
    panel = panel.with_transformation(dm.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(dm.DataTransformerConfig(id_val="organize", options=layout))
    cells: list[Label | Column] = [*labels.values(), *columns]
    for i, cell in enumerate(cells):
        # The first column takes what is left; Grafana would give several such columns equal shares.
        width = option("custom.minWidth" if i == 0 else "custom.width", cell.width)
        panel = panel.override_by_name(cell.head, [width, *_properties(cell)])
    by: list[Builder[cm.TableSortByFieldState]] = [
        common.TableSortByFieldState().display_name(head).desc(True) for head in sort
    ]
    return panel.no_value(no_value).sort_by(by)


def firing(alerts: Sequence[str], *, places: bool = False) -> tables.Panel:
    """Return the table of those of `alerts` that fire now, each with its section of the runbook.

    `places`: these alerts name an IDC.
    """
    prefix = "JobExporter" if all(name.startswith("JobExporter") for name in alerts) else "Job"
    names = f'alertname=~"{"|".join(alerts)}"'
    active = q.recorded("ALERTS_FOR_STATE", names)
    fires = q.recorded("ALERTS", names, 'alertstate="firing"')
    by = ("alertname", "severity", "idc")[: 3 if places else 2]
    since = f"time() - min by ({', '.join(by)}) ({active} and ignoring (alertstate) {fires})"
    # Sections of the runbook are in lower case, which PromQL can't make; a link can take a mapped text.
    sections = {name: (name.removeprefix(prefix).lower(), "") for name in alerts}
    link = ("Open the runbook", f"${{runbook_url}}#{prefix.lower()}${{__value.text}}")
    longest = max(map(len, alerts))
    return table(
        "Firing now",
        "The alerts of this dashboard that fire now. A click on the last column opens the runbook: what the "
        "alert means, how to confirm it, what to do.",
        {
            "alertname": Label(head="Alert", width=CHARACTER * longest + PADDING),
            **({"idc": Label(head="IDC", width=84)} if places else {}),
            "severity": Label(head="Severity", width=76, texts=SEVERITIES),
            "section": Label(
                head="Runbook", width=CHARACTER * (longest - len(prefix)) + PADDING, texts=sections, link=link
            ),
        },
        [
            Column(
                expr=f'label_replace({since}, "section", "$1", "alertname", "(.+)")',
                head="For",
                unit="dthms",
                width=72,
            )
        ],
        sort=("For",),
        no_value="no alert of this dashboard fires",
    )


def _properties(cell: Label | Column) -> list[dm.DynamicConfigValue]:
    found = []
    if isinstance(cell, Column):
        found.append(option("unit", cell.unit))
        if cell.decimals is not None:
            found.append(option("decimals", cell.decimals))
    elif cell.link:
        found.append(option("links", [link.build() for link in links(cell.link)]))
    if cell.texts:
        found.append(option("mappings", mappings(cell.texts)))
        if any(colour for _, colour in cell.texts.values()):
            found.append(option("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    return found


def _value_name(index: int, columns: Sequence[Column]) -> str:
    # Grafana names the value column of a lone query differently.
    return f"Value #{ref(index)}" if len(columns) > 1 else "Value"
