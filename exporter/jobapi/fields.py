"""Single fields of the job API: statuses, times, host lists, labels, ids. PURE.

Functions raise ValueError for an unreadable value or one of the wrong type.
"""

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from email.utils import parsedate_to_datetime

import msgspec

from exporter.model import UNKNOWN, ExecuteStatus, HostStatus, ResultStatus

MAX_ID = 64  # characters; the API's ids are UUID-shaped, its columns hold 64
MAX_LABEL = 128  # characters; a label value repeats on every line of the exposition
MAX_NUMBER = 2**53  # above this a float, and so a sample, is not exact

RESULT_STATUSES: Mapping[str, ResultStatus] = {
    "success": ResultStatus.SUCCESS,
    **dict.fromkeys(("fail", "failed", "error"), ResultStatus.FAIL),
    "timeout": ResultStatus.TIMEOUT,
    **dict.fromkeys(("cancel", "canceled", "cancelled"), ResultStatus.CANCELLED),
}
HOST_STATUSES = {spelling: HostStatus(status.value) for spelling, status in RESULT_STATUSES.items()}
EXECUTE_STATUSES = {status.value: status for status in ExecuteStatus}

_TEXTS = msgspec.json.Decoder(list[str | int] | None)


def record_id(given: object) -> str:
    """Return an id of 1 to 64 characters without NUL, which PostgreSQL cannot store."""
    text = name(given)
    if not 0 < len(text) <= MAX_ID or "\0" in text:
        raise ValueError("not an id")
    return text


def name(given: object) -> str:
    """Return an id of any kind as text; "" for none. U+FFFD stands for something unreadable."""
    text = str(given) if type(given) is int else _text(given)
    if "\ufffd" in text:
        raise ValueError("not an id")
    return text


def word(given: object) -> str:
    """Return a status in lower case; "" for none."""
    return _text(given).strip().lower()


def label(given: object) -> str:
    """Return a label value of at most 128 characters; `unknown` for an empty text."""
    return _text(given).strip()[:MAX_LABEL].replace("\0", "\ufffd") or UNKNOWN


def seconds(given: object) -> float | None:
    """Return a whole number of seconds above 0 and below 2**53; None for any other number."""
    if given is not None and type(given) is not int:
        raise ValueError("not a number of seconds")
    return float(given) if given and 0 < given < MAX_NUMBER else None


def hosts(given: object) -> frozenset[str] | None:
    """Read the expected hosts: an array, an array in a string, or a plain list."""
    if isinstance(given, list):
        names = given
    elif text := _text(given).strip():
        names = (_TEXTS.decode(text) or []) if text == "null" or text[0] == "[" else text.split(",")
    else:
        return None
    return frozenset(host for one in names if (host := name(one).strip()))


def _text(given: object) -> str:
    if given is not None and not isinstance(given, str):
        raise ValueError("not a text")
    return given or ""


# Seconds since the epoch, and milliseconds; both from 1973 to beyond the year 5000. No others are times.
_SECONDS, _MILLISECONDS = (1e8, 1e11), (1e11, 1e14)
_NUMBER = re.compile(r"\d{1,14}(?:\.\d{1,9})?", re.ASCII)
_RFC_1123 = re.compile(r"[A-Z]{3}, \d{1,2} [A-Z]{3} \d{4} \d\d:\d\d:\d\d (?:GMT|UTC|Z|[+-]\d{4})", re.ASCII)
# Zero values of several platforms.
_NONE = ("0001-01-01", "0000-00-00", "1970-01-01T00:00:00", "1970-01-01 00:00:00")


def time(given: object, zone: tzinfo, *, since: float | None = None) -> float | None:
    """Read a time, POSIX seconds; None if the platform gave none.

    Formats: RFC 3339, also with a blank, with slashes or without an offset; RFC 1123; seconds or milliseconds
    since the epoch. When summer time ends, a text without an offset can mean two moments: it is read as the
    first, or as the second if only that is not before `since`.
    """
    if isinstance(given, int | float) and type(given) is not bool:
        return _epoch(given)
    text = _text(given).strip().upper()
    if text[4:5] == "/":
        text = text.replace("/", "-", 2)
    if not text or text.startswith(_NONE):
        return None
    if _NUMBER.fullmatch(text):
        return _epoch(float(text))
    if _RFC_1123.fullmatch(text):
        return parsedate_to_datetime(text).timestamp()
    if text[4:5] != "-" or text[10:11] not in {"T", " "}:
        raise ValueError("not a time")  # fromisoformat also reads dates, weeks and numbers
    moment = datetime.fromisoformat(text)
    if moment.tzinfo:
        return moment.timestamp()
    first, second = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return second if since is not None and first < since <= second else first


def _epoch(number: float) -> float | None:
    if not number:
        return None
    if _SECONDS[0] <= number < _SECONDS[1]:
        return float(number)
    if _MILLISECONDS[0] <= number < _MILLISECONDS[1]:
        return number / 1000.0
    raise ValueError("not a time")
