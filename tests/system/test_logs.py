"""Log lines: one event, one line, whatever the values hold."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog

from exporter import logs
from tests.harness.core import logging_kept


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give the logging of the tests back afterwards."""
    with logging_kept():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Give what was written to standard error; nothing goes to standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_of_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    """Time in UTC, level and event first, then the values."""
    logs.configure(level="info", form="logfmt")
    structlog.get_logger("test").warning("poll failed", reason="timeout", seconds=1.5)
    (line,) = lines(capsys)
    assert line.endswith('level=warning event="poll failed" reason=timeout seconds=1.5')
    assert datetime.fromisoformat(line.split()[0].removeprefix("time=")).utcoffset() is not None


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, all of it ASCII."""
    logs.configure(level="info", form="json")
    structlog.get_logger("test").info("record vanished", record="杭州")
    (line,) = lines(capsys)
    assert line.isascii()
    given = json.loads(line)
    assert (given["event"], given["level"], given["record"]) == ("record vanished", "info", "杭州")
    assert set(given) == {"event", "level", "record", "time"}


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_value_of_the_platform_cannot_forge_a_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Newlines, escapes and control characters are written out, also in lines of libraries."""
    logs.configure(level="info", form=form)
    nasty = 'x\ntime=1 level=info event="all is well"\r\x1b[31m\u2028\x00'
    structlog.get_logger("test").info("said", message=nasty)
    logging.getLogger("library").warning("it said %s", nasty)
    written = lines(capsys)
    assert len(written) == 2
    assert not any(char in line for line in written for char in "\r\x1b\u2028\x00")


def test_a_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A message of the platform cannot fill a disk."""
    logs.configure(level="info", form="json")
    structlog.get_logger("test").info("said", message="x" * 100_000, number=7)
    (line,) = lines(capsys)
    assert json.loads(line)["message"] == "x" * logs.MAX_VALUE + "…"
    assert json.loads(line)["number"] == 7


def test_a_traceback_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It is longer than a value, and bounded."""
    logs.configure(level="info", form="json")
    try:
        dict[str, str]()["y" * 100_000]
    except KeyError:
        structlog.get_logger("test").error("fault", exc_info=True)
    (line,) = lines(capsys)
    told = json.loads(line)["exception"]
    assert told.startswith("Traceback (most recent call last):\\n")
    assert logs.MAX_VALUE < len(told) <= 21 * logs.MAX_VALUE


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(
    level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours and the libraries'."""
    logs.configure(level=level, form="json")
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("test"), name)("ours")
        getattr(logging.getLogger("library"), name)("theirs")
    given = [json.loads(line) for line in lines(capsys)]
    assert [one["level"] for one in given if one["event"] == "ours"] == shown
    assert [one["level"] for one in given if one["event"] == "theirs"] == shown


def test_libraries_do_not_chatter(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each request would name what was asked; the timer's warnings are as is meant."""
    logs.configure(level="debug", form="json")
    for name in ("httpx", "httpcore", "aiohttp", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    logging.getLogger("apscheduler.scheduler").warning("skipped")
    logging.getLogger("apscheduler.scheduler").error("broken")
    assert [json.loads(line)["event"] for line in lines(capsys)] == [*["trouble"] * 4, "broken"]
