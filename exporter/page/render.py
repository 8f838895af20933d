"""Renders the templates, and makes the Content-Security-Policy that each page needs.

Every value is escaped by Jinja2. Characters that show nothing themselves are replaced first, so that a name
can't hide or turn the text around it.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter.metrics.families import Family
from exporter.model import HostStatus, ResultStatus
from exporter.page import format as form
from exporter.page import plot
from exporter.page.data import Health, PageData, Site, failed_places
from exporter.tracking.tallies import KEPT, WIDTH, results_of
from exporter.web.server import Page

LONGEST_NAME = 48  # characters of a name that are shown; an id of the platform has 36
LONGEST_TIP = 300  # characters of a longer name in its tooltip
SHOWN_IDCS = 50  # rows; a dashboard has the others
SHOWN_FAILURES = 25  # rows; the JSON has all
SHOWN_PLACES = 6  # IDCs in the row of one failure
SHOWN_UNREADABLE = 20  # rows; the log has all
ALWAYS = (ResultStatus.SUCCESS, ResultStatus.FAIL, ResultStatus.TIMEOUT)  # in the legend even at 0
# Only a page that is about to change reloads itself: one that somebody reads must not jump.
REFRESH: Mapping[Health, int] = {Health.STARTING: 5, Health.CATCHING_UP: 15}  # seconds

# The headline of each state, and what it means for the numbers.
STATES: Mapping[Health, tuple[str, str]] = {
    Health.STARTING: (
        "Starting",
        "The first poll is running. The page already shows what the ledger holds from before.",
    ),
    Health.WORKING: ("Working", "Every record that finishes is counted once."),
    Health.CATCHING_UP: (
        "Catching up",
        "Records that finished earlier are being counted. Until this is done, the counters are too low.",
    ),
    Health.STALE: ("No poll has ended for a while", "The numbers are those of the last good poll."),
    Health.FAILING: (
        "The last poll failed",
        "The platform answers. No record is lost: all are counted once polls succeed again.",
    ),
    Health.DOWN: (
        "The platform cannot be read",
        "No record is lost: those that finish meanwhile are counted once the platform answers again.",
    ),
}


def render_page(data: PageData, site: Site) -> Page:
    """Make the page of this data."""
    title, meaning = STATES[data.health]
    return _render(
        "page.html",
        title=title,
        meaning=meaning,
        refresh=REFRESH.get(data.health),
        data=data,
        now=data.now,
        site=site,
        results=results_of(tally for _, tally in data.window),
    )


def render_reference(families: Sequence[Family], site: Site) -> Page:
    """Make the page `/reference`: the paths that are served and the catalog of metrics."""
    return _render("reference.html", title="Reference", refresh=None, families=families, site=site)


def policy(style: str) -> str:
    """Give the strictest Content-Security-Policy for a page whose one `<style>` holds `style`."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def stylesheet() -> str:
    """Give the style sheet of the pages."""
    return files("exporter.page").joinpath("templates/style.css").read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Give the templates, with the functions and constants that they use."""
    made = Environment(
        loader=PackageLoader("exporter.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
        auto_reload=False,
    )
    made.filters.update(
        number=form.number,
        percent=form.percent,
        seconds=form.seconds,
        sentence=form.sentence,
        short=form.short,
        quoted=form.quoted,
    )
    made.globals.update(
        clock=form.clock,
        count=form.count,
        failed_places=failed_places,
        record_link=form.record_link,
        plot=plot.plot,
        hourly=plot.hourly,
        share=plot.share,
        HEIGHT=plot.HEIGHT,
        STEP=plot.STEP,
        BAR=plot.BAR,
        RESULTS=tuple(reversed(plot.STACK)),
        HOST_COLUMNS=tuple(status for status in plot.HOST_STACK if status is not HostStatus.SUCCESS),
        HOURS=KEPT * WIDTH // 3600,
        NONE=form.NONE,
        ALWAYS=ALWAYS,
        LONGEST_NAME=LONGEST_NAME,
        LONGEST_TIP=LONGEST_TIP,
        SHOWN_IDCS=SHOWN_IDCS,
        SHOWN_FAILURES=SHOWN_FAILURES,
        SHOWN_PLACES=SHOWN_PLACES,
        SHOWN_UNREADABLE=SHOWN_UNREADABLE,
    )
    return made


def _finalize(value: object) -> object:
    return value if isinstance(value, Markup) else form.visible(str(value))


def _render(template: str, **values: object) -> Page:
    style = stylesheet()
    # The style sheet is ours and holds nothing to escape; escaped, it would not match its hash.
    html = environment().get_template(template).render(style=Markup(style), **values)  # noqa: S704
    return Page(html=html + "\n", policy=policy(style))
