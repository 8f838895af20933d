"""Parses time windows such as `--since 24h`. Pure; all times are POSIX seconds."""

from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.settings.groups import SettingsError
from exporter.settings.parsers import duration
from exporter.settings.text import quote

AHEAD = 5.0  # seconds that a time may lie ahead of now: two clocks differ, and a second is not cut in two


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open window: after `begin`, up to and including `end`."""

    begin: float
    end: float

    def holds(self, moment: float | None) -> bool:
        """Whether this time lies in the window; False for None."""
        return moment is not None and self.begin < moment <= self.end


def window(begin: tuple[str, str], end: tuple[str, str], *, now: float) -> Window:
    """Read two flags, each a (name, value).

    Raises SettingsError: not a time, in the future, the wrong way round.
    """
    first, last = (instant(*given, now=now) for given in (begin, end))
    for (flag, text), moment in ((begin, first), (end, last)):
        if moment > now + AHEAD:
            raise SettingsError(f"{flag} {text} lies in the future: nothing has ended there yet")
    if first >= last:
        raise SettingsError(
            f"the window is the wrong way round: {' '.join(begin)} is not before {' '.join(end)}"
        )
    return Window(begin=max(0.0, first), end=last)


def instant(flag: str, text: str, *, now: float) -> float:
    """Read `now`, a duration before it (`6h`, `6h ago`), a date or a time (UTC where it names no zone)."""
    if text == "now":
        return now
    try:
        return now - duration(text.removesuffix(" ago"))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{flag}: {quote(text)} is no time; write now, a duration before now such as 24h or 24h ago, "
            "a date such as 2026-01-31, or a time such as 2026-01-31T08:00:00+08:00"
        ) from None


def shown(moment: float) -> str:
    """Format a time for people; seconds since the epoch if no calendar date exists for it."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{moment:.0f} s after 1970"
