"""Numbers, durations, times and names as the page shows them. PURE."""

from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup

NONE = "–"  # an en dash stands for "not known" everywhere on the page
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def number(value: float) -> str:
    """Write a whole number with separators: 1,234,567."""
    return f"{value:,.0f}"


def count(value: float, noun: str) -> str:
    """Write a number with its noun: "1 record", "2 records"."""
    return f"{number(value)} {noun if value == 1 else noun + 's'}"


def percent(part: float, whole: float) -> str:
    """Write a share. Only none is "0 %" and only all is "100 %"; a dash if `whole` is 0."""
    if not whole:
        return NONE
    shown = f"{100 * part / whole:.1f}"
    if part and shown == "0.0":
        return "< 0.1 %"
    if part != whole and shown == "100.0":
        return "> 99.9 %"
    return f"{shown.removesuffix('.0')} %"


def seconds(value: float, *, rough: bool = False) -> str:
    """Write a duration in its two largest units (`rough`: one): "40 ms", "0.4 s", "3 min 5 s", "4 d 1 h"."""
    if 0 < value < 0.0995:
        return f"{1000 * value:.0f} ms"
    if value < 9.95:
        return f"{max(0.0, value):.1f}".removesuffix(".0") + " s"
    whole = round(value)
    for unit, name, smaller, smaller_name in _UNITS:
        if whole >= unit:
            rest = whole % unit // smaller
            second = f" {rest} {smaller_name}" if rest and not rough else ""
            return f"{number(whole // unit)} {name}{second}"
    return f"{whole} s"


def sentence(words: str) -> str:
    """Write words as a sentence: a capital letter first, a full stop last."""
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "?", "!")) else words + "."


def short(value: float) -> str:
    """Write a coordinate without needless decimals."""
    return f"{value:g}"


def iso(moment: float | None) -> str | None:
    """Write a POSIX time as RFC 3339, UTC, whole seconds; None if it is missing or outside the calendar."""
    at = _datetime(moment)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None


def plain_clock(moment: float | None, *, now: float, precise: bool = True) -> str:
    """Write a POSIX time in UTC: the time of day, with the date if it is not today."""
    at, today = _datetime(moment), datetime.fromtimestamp(now, UTC)
    if at is None:
        return NONE
    form = "%H:%M:%S" if precise else "%H:%M"
    if at.year != today.year:
        form = "%-d %b %Y " + form
    elif at.date() != today.date():
        form = "%-d %b " + form
    return at.strftime(form)


def clock(moment: float | None, *, now: float, precise: bool = True) -> Markup:
    """Write a POSIX time as a `<time>` element."""
    at, words = _datetime(moment), plain_clock(moment, now=now, precise=precise)
    if at is None:
        return Markup('<span class="none">{}</span>').format(words)
    title = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(moment), title, words)


def visible(value: str) -> str:
    """Replace each invisible character: controls, bidirectional marks, surrogates."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in value
    )


def record_link(template: str, record_id: str) -> str | None:
    """Return the link to a record; None without a template, and for an id of dots, which means a folder."""
    if not template or not record_id.strip("."):
        return None
    return template.replace("{id}", quoted(record_id))


def quoted(record_id: str) -> str:
    """Quote an id for a URL."""
    return quote(record_id, safe="", errors="replace")


def _datetime(moment: float | None) -> datetime | None:
    try:
        return None if moment is None else datetime.fromtimestamp(moment, UTC)
    except (OverflowError, ValueError, OSError):
        return None
