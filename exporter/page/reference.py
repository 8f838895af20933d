"""The page `/reference`: what is served and what each metric means, told by the program itself. PURE."""

from collections.abc import Sequence

from exporter.metrics.families import Family
from exporter.page import sections
from exporter.page.document import document, stylesheet
from exporter.page.markup import Markup, el, join
from exporter.page.sections import Site
from exporter.web.server import Page


def reference(families: Sequence[Family], site: Site) -> Page:
    """Make the page of this catalog of metrics."""
    paths = (
        (site.telemetry_path, "The metrics, as text 0.0.4 or OpenMetrics 1.0.0, gzip if asked for."),
        ("/", "The page: how it stands."),
        (
            "/api/failures",
            "The newest records that did not succeed, as JSON: id, result, finished, …",
        ),
        ("/-/healthy", "200 while the process answers."),
        ("/-/ready", "200 once the last poll was good; else 503, and why not."),
        ("/reference", "This page."),
    )
    body = el(
        "main",
        el("section", el("h1", "Reference")),
        el("section", el("h2", "What is served"), _table(("Path", "What it gives"), paths)),
        el(
            "section",
            el("h2", "Metrics"),
            _table(
                ("Metric", "Type", "Labels", "Meaning"),
                [
                    (family.name, str(family.type), ", ".join(family.labels), family.help)
                    for family in families
                ],
            ),
        ),
    )
    return document(
        title="Reference – job-exporter",
        style=stylesheet(),
        body=join(sections.header(site), body),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    def row(cells: Sequence[str]) -> Markup:
        return el("tr", el("th", el("code", cells[0]), scope="row"), *(el("td", cell) for cell in cells[1:]))

    return el(
        "div",
        el(
            "table",
            el("thead", el("tr", *(el("th", word, scope="col") for word in head))),
            el("tbody", *map(row, rows)),
            class_="reference",
        ),
        class_="wide",
    )
