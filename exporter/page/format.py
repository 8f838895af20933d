"""Numbers, durations and moments as a person reads them. PURE."""

from collections.abc import Iterable
from datetime import UTC, datetime

from exporter.page.markup import Markup, el

NONE = "–"  # an en dash stands for "not known" everywhere on the page)
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def number(value: float) -> str:
    """Write a whole number with separators: 1,234,567."""
    return f"{value:,.0f}"


def count(value: float, one: str, many: str | None = None) -> str:
    """Write a number with its noun: "1 record", "2 records"."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def percent(part: float, whole: float) -> str:
    """Write a share so that only none is 0 % and only all is 100 %; a dash of nothing."""
    if not whole:
        return NONE
    share = 100 * part / whole
    shown = f"{share:.1f}"
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
            return f"{number(whole // unit)} {name}" + (
                f" {rest} {smaller_name}" if rest and not rough else ""
            )
    return f"{whole} s"


def listed(items: Iterable[str]) -> str:
    """Write "a", "a and b", "a, b and c"."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def iso(moment: float | None) -> str | None:
    """Write a POSIX time as RFC 3339, UTC, whole seconds; None for none or one beyond the calendar."""
    at = _datetime(moment)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None


def clock(moment: float | None, *, now: float, precise: bool = True) -> Markup:
    """Write a POSIX time as `<time>` in UTC: of the day, with the date where it is not today's."""
    at, today = _datetime(moment), _datetime(now)
    if at is None or today is None:
        return el("span", NONE, class_="none")
    form = "%H:%M:%S" if precise else "%H:%M"
    if at.year != today.year:
        form = "%-d %b %Y " + form
    elif at.date() != today.date():
        form = "%-d %b " + form
    return el("time", at.strftime(form), datetime=iso(moment), title=f"{at:%Y-%m-%d %H:%M:%S} UTC")


def _datetime(moment: float | None) -> datetime | None:
    try:
        return None if moment is None else datetime.fromtimestamp(moment, UTC)
    except (OverflowError, ValueError, OSError):
        return None
