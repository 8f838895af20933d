"""Renders the templates, with the Content-Security-Policy of each page.

Jinja2 escapes every value. Invisible characters are replaced first, so that a name cannot hide or reverse the
text around it.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter import __version__
from exporter.metrics.families import families
from exporter.model import HostStatus, ResultStatus
from exporter.page import format as form
from exporter.page import plot
from exporter.page.data import Health, PageData, bad
from exporter.settings import Settings
from exporter.tracking.tallies import KEPT, WIDTH, results_of

# The templates see these constants, and those of `plot`.
LONGEST_NAME = 48  # characters of a name; an id of the platform has 36
LONGEST_TIP = 300  # characters of a longer name in its tooltip
SHOWN_IDCS = 50  # rows; a dashboard has the others
SHOWN_FAILURES = 25  # rows; the JSON has all
SHOWN_PLACES = 6  # IDCs in the row of one failure
SHOWN_UNREADABLE = 20  # rows; the log has all
ALWAYS = (ResultStatus.SUCCESS, ResultStatus.FAIL, ResultStatus.TIMEOUT)  # in the legend even at 0
RESULTS = tuple(reversed(plot.STACK))
HOST_COLUMNS = tuple(status for status in plot.HOST_STACK if status is not HostStatus.SUCCESS)
HOURS = KEPT * WIDTH // 3600
NONE = form.NONE
VERSION = __version__
# Only a page that is about to change reloads itself: a page under the eyes of a reader must not jump.
REFRESH: Mapping[Health, int] = {Health.STARTING: 5, Health.CATCHING_UP: 15}  # seconds

# The headline of each state, and its meaning for the numbers.
STATES: Mapping[Health, tuple[str, str]] = {
    Health.STARTING: (
        "Starting",
        "The first poll is running. Until it ends, the page shows the ledger of the previous run.",
    ),
    Health.WORKING: ("Working", "Every record that finishes is counted once."),
    Health.CATCHING_UP: (
        "Catching up",
        "Records that finished earlier are being counted. Until this is done, the counters are too low.",
    ),
    Health.STALE: ("No poll has succeeded for a while", "The numbers are those of the last successful poll."),
    Health.FAILING: (
        "The last poll failed",
        "The platform answers. No record is lost: all are counted once polls succeed again.",
    ),
    Health.DOWN: (
        "The platform cannot be read",
        "No record is lost: records that finish meanwhile are counted once the platform answers again.",
    ),
}


def render_page(data: PageData, settings: Settings) -> str:
    """Render the status page."""
    title, meaning = STATES[data.health]
    return _render(
        "page.html",
        title=title,
        meaning=meaning,
        refresh=REFRESH.get(data.health),
        data=data,
        now=data.now,
        settings=settings,
        results=results_of(tally for _, tally in data.window),
    )


def render_reference(settings: Settings) -> str:
    """Render the page `/reference`: the paths and the catalog of metrics."""
    catalog = families(settings.metrics)
    return _render("reference.html", title="Reference", refresh=None, families=catalog, settings=settings)


def policy() -> str:
    """Return the strictest Content-Security-Policy for the pages: they have one `<style>` element."""
    digest = base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def stylesheet() -> str:
    """Return the style sheet of the pages."""
    return files("exporter.page").joinpath("templates/style.css").read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Return the templates, with the functions and constants that they use."""
    templates = Environment(
        loader=PackageLoader("exporter.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
        auto_reload=False,
    )
    filters = (form.number, form.percent, form.seconds, form.sentence, form.short, form.quoted, bad)
    templates.filters.update({filter_.__name__: filter_ for filter_ in filters})
    functions = (form.clock, form.plain_clock, form.count, form.record_link)
    drawing = (plot.top_of, plot.segments, plot.hourly)
    templates.globals.update({function.__name__: function for function in (*functions, *drawing)})
    templates.globals.update(
        {name: value for name, value in {**vars(plot), **globals()}.items() if name.isupper()}
    )
    return templates


def _finalize(value: object) -> object:
    return value if isinstance(value, Markup) else form.visible(str(value))


def _render(template: str, **values: object) -> str:
    # The style sheet is ours. Escaped, it would not match its hash.
    style = Markup(stylesheet())  # noqa: S704
    return environment().get_template(template).render(style=style, **values) + "\n"
