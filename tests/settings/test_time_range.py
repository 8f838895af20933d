"""A stretch of time as a person asks for it."""

from datetime import UTC, datetime

import pytest

from exporter.settings import SettingsError
from exporter.settings.time_range import Window, instant, shown, window

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("24h", NOW - 86_400),
        ("90", NOW - 90),
        ("24h ago", NOW - 86_400),
        ("1h30m ago", NOW - 5_400),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC).timestamp()),
        ("2026-02-28T08:00:00+08:00", datetime(2026, 2, 28, tzinfo=UTC).timestamp()),
        ("2026-02-28T08:00:00", datetime(2026, 2, 28, 8, tzinfo=UTC).timestamp()),
    ],
)
def test_a_time_is_read_in_the_ways_people_write_it(text: str, moment: float) -> None:
    """A duration counts back from now; without a zone it is UTC."""
    assert instant("--since", text, now=NOW) == moment


@pytest.mark.parametrize(
    "text",
    ["soon", "-1h", "ago", "24h ago ago", "2026-02-28 ago", "2026-13-01", "99999999999999999-01-01", ""],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """The line names the flag, and what to write."""
    with pytest.raises(SettingsError, match=r"--since: .* is no time; write now, a duration"):
        instant("--since", text, now=NOW)


def test_a_window_is_after_its_begin_and_by_its_end() -> None:
    """A record that ended between two windows is in one of them."""
    assert window(("--since", "2h"), ("--until", "1h"), now=NOW) == Window(begin=NOW - 7_200, end=NOW - 3_600)
    assert window(("--since", "99999d"), ("--until", "now"), now=NOW) == Window(begin=0.0, end=NOW)
    held = [moment for moment in (0.0, 1.0, 2.0) if Window(begin=0.0, end=1.0).holds(moment)]
    assert held == [1.0]
    assert not Window(begin=0.0, end=1.0).holds(None)


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        ("1h", "2h", "the wrong way round: --since 1h is not before --until 2h"),
        ("1h", "1h", "the wrong way round"),
        ("2026-04-01", "now", "--since 2026-04-01 lies in the future"),
        ("1h", "2026-04-01", "--until 2026-04-01 lies in the future"),
    ],
)
def test_a_window_that_is_none_is_refused(since: str, until: str, says: str) -> None:
    """In the future, or the wrong way round."""
    with pytest.raises(SettingsError, match=says):
        window(("--since", since), ("--until", until), now=NOW)


@pytest.mark.parametrize("moment", [253402351199.0, 1e20, -1e20, float("inf"), float("-inf"), float("nan")])
def test_a_time_that_no_calendar_has_is_shown_too(moment: float) -> None:
    """A platform may write the last second of the year 9999 in a zone west of Greenwich."""
    assert shown(moment).endswith(" s after 1970")


def test_a_time_is_shown_with_its_zone() -> None:
    """To the second."""
    assert shown(NOW) == "2026-03-01 12:00:00 UTC"
