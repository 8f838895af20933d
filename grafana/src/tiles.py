"""Tiles: one number each. A tile is coloured where something judges the number; otherwise it is neutral.

A limit of an alert is never written here. `graded` asks one query for each colour and compares in PromQL with
the recorded `job_threshold:*` series, so a tile and an alert use the same number.
"""

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.models import common as cm

from grafana.src.panels import NOT_KNOWN, Link, dress, fixed, links, mappings, ref, thresholds
from grafana.src.style import BAD, GOOD, IDLE, WARN, Graded, Steps, Texts


def stat(
    title: str,
    description: str,
    unit: str,
    value: str | Graded,
    *,
    steps: Steps = (),
    texts: Texts | None = None,
    no_value: str = NOT_KNOWN,
    decimals: int | None = None,
    name: str = "",
    link: Link | None = None,
) -> stats.Panel:
    """Return a tile with the value of now.

    `name` is a legend to show beside the number; `link` opens on a click. Missing data is grey.
    """
    queries = [(value, "")] if isinstance(value, str) else value
    judged = bool(steps or texts or not isinstance(value, str))
    panel = (
        dress(
            stats.Panel(),
            title,
            description,
            unit,
            [(name or title, query) for query, _ in queries],
            mode="instant",
        )
        .thresholds(thresholds(steps or ((None, IDLE),)))
        .mappings(mappings(texts or {}, missing=no_value))
        .no_value(no_value)
        .color_mode(cm.BigValueColorMode.BACKGROUND_SOLID if judged else cm.BigValueColorMode.NONE)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .text_mode(cm.BigValueTextMode.VALUE_AND_NAME if name else cm.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for i, (_, colour) in enumerate(queries):
        if colour:
            panel = panel.override_by_query(ref(i), [fixed(colour)])
    if link:
        panel = panel.data_links(links(link))
    return panel if decimals is None else panel.decimals(decimals)


def graded(value: str, *, warn: str = "", bad: str = "", shown: str = "{}") -> Graded:
    """Return `value` in the colour of the greatest limit that it is above.

    `warn` and `bad` are scalars of PromQL, at least one is given; `shown` is what becomes of the value.
    """
    low, high = warn or bad, bad or warn
    found = [(f"({value}) <= {low}", GOOD), (f"({value}) > {high}", BAD if bad else WARN)]
    if warn and bad:
        found.append((f"(({value}) > {warn}) <= {bad}", WARN))
    return [(shown.format(query), colour) for query, colour in found]
