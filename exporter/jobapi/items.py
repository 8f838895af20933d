"""Items and rows of response bodies, any field of which may be missing, to records and host results. PURE.

Decisions where the API document leaves a choice:

- A record without an execute status is done if it has a result and an end; otherwise it is doing.
- A page item is a whole record only if it has an execute status, when done a result and an end, and no
  unreadable field. Otherwise the record is looked up.
- A host is identified by its id, else by its address, else by its entity id.

The functions at the end read single fields. They raise ValueError if a value is unreadable or has the
wrong type.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from exporter.jobapi import schema
from exporter.model import UNKNOWN, ExecuteStatus, HostResult, HostStatus, PageItem, Record, ResultStatus

T = TypeVar("T")

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


def id_of(item: object) -> str | None:
    """Return the id of the record that the item is, or belongs to; None if it is unreadable."""
    return _read(_id, item.record_id or item.id) if isinstance(item, schema.Item) else None


def page_items(items: Iterable[Any], zone: tzinfo) -> tuple[tuple[PageItem, ...], int]:
    """Fold the items into one per record. Return them, and the number of items without a readable id."""
    rows: dict[str | None, list[schema.Item]] = {}
    for item in items:
        rows.setdefault(id_of(item), []).append(item)
    nameless = len(rows.pop(None, ()))
    return tuple(_page_item(of_one, id_, zone) for id_, of_one in rows.items() if id_), nameless


def _page_item(rows: Sequence[schema.Item], record_id: str, zone: tzinfo) -> PageItem:
    item = rows[0]
    if not item.execute_status:
        start = _read(partial(_time, zone=zone), item.start_time)
        return PageItem(id=record_id, start=start, ended=_ended(rows, start, zone))
    read = record(item, record_id, zone)
    is_done = read.execute_status is ExecuteStatus.DONE
    is_thin = is_done and (item.result_status is None or item.end_time is None)
    is_whole = not (is_thin or read.unknown_fields)
    return PageItem(id=record_id, start=read.start, record=read if is_whole else None)


def _ended(rows: Sequence[schema.Item], start: float | None, zone: tzinfo) -> float | None:
    """Return the end that all rows of a record give, if it is later than the start."""
    given = rows[0].end_time
    if start is None or any(row.end_time != given for row in rows):
        return None
    end = _read(partial(_time, zone=zone, since=start), given)
    return end if end is not None and end > start else None


def record(item: schema.Item, record_id: str, zone: tzinfo) -> Record:
    """Read a record; `zone` is that of times without an offset."""
    unknown: list[str] = []
    start = _read(partial(_time, zone=zone), item.start_time, "start_time", unknown)
    end = _read(partial(_time, zone=zone, since=start), item.end_time, "end_time", unknown)
    result_text = _read(_word, item.result_status, "result_status", unknown) or ""
    result = RESULT_STATUSES.get(result_text)
    if result_text and result is None:
        unknown.append("result_status")
        result = ResultStatus.UNKNOWN
    execute_text = _read(_word, item.execute_status, "execute_status", unknown) or ""
    execute = EXECUTE_STATUSES.get(execute_text, ExecuteStatus.DOING)
    if RESULT_STATUSES.get(execute_text) is ResultStatus.CANCELLED:
        execute, result = ExecuteStatus.DONE, result or ResultStatus.CANCELLED
    elif not execute_text and result and end is not None:
        execute = ExecuteStatus.DONE
    elif execute_text and execute_text not in EXECUTE_STATUSES:
        unknown.append("execute_status")
    return Record(
        id=record_id,
        execute_status=execute,
        result_status=result,
        start=start,
        end=end,
        timeout=_read(_seconds, item.timeout, "timeout", unknown),
        expected_hosts=_read(_hosts, item.hosts, "hosts", unknown),
        provider=_read(label, item.provider, "provider", unknown) or UNKNOWN,
        script_type=_read(label, item.script_type, "script_type", unknown) or UNKNOWN,
        unknown_fields=tuple(unknown),
    )


def host_results(rows: Iterable[Any]) -> tuple[tuple[HostResult, ...], int]:
    """Read host rows. Return them, and the number of rows that name no host or have an unreadable field."""
    results: list[HostResult] = []
    bad = 0
    for row in rows:
        odd: list[str] = []
        names: tuple[str, ...] = ()
        if isinstance(row, schema.Row):
            given = (row.host_id, row.host_ip, row.entity_id)
            names = tuple(name for one in given if (name := _read(_name, one, "name", odd)))
        if names:
            text = _read(_word, row.status, "status", odd) or ""
            is_unknown = bool(text) and text not in HOST_STATUSES
            results.append(
                HostResult(
                    host_id=names[0],
                    names=names,
                    idc=_read(label, row.idc, "idc", odd) or UNKNOWN,
                    status=HostStatus.UNKNOWN if is_unknown else HOST_STATUSES.get(text),
                    unknown_status=is_unknown,
                )
            )
        bad += bool(odd or not names)
    return tuple(results), bad


def _read(
    read: Callable[[Any], T], value: object, name: str = "", unknown: list[str] | None = None
) -> T | None:
    """Read a field. If it is unreadable, return None and add its name to `unknown`."""
    try:
        return read(value)
    except ValueError:
        if unknown is not None:
            unknown.append(name)
        return None


def _id(given: object) -> str:
    """Return an id of 1 to 64 characters without NUL, which PostgreSQL cannot store."""
    text = _name(given)
    if not 0 < len(text) <= MAX_ID or "\0" in text:
        raise ValueError("not an id")
    return text


def _name(given: object) -> str:
    """Return an id of any kind as text; "" for none. U+FFFD stands for something unreadable."""
    text = str(given) if type(given) is int else _text(given)
    if "\ufffd" in text:
        raise ValueError("not an id")
    return text


def _word(given: object) -> str:
    """Return a status in lower case; "" for none."""
    return _text(given).strip().lower()


def label(given: object) -> str:
    """Return a label value of at most 128 characters; `unknown` for an empty text."""
    return _text(given).strip()[:MAX_LABEL].replace("\0", "\ufffd") or UNKNOWN


def _seconds(given: object) -> float | None:
    """Return a whole number of seconds above 0 and below 2**53; None for any other number."""
    if given is not None and type(given) is not int:
        raise ValueError("not a number of seconds")
    return float(given) if given and 0 < given < MAX_NUMBER else None


def _hosts(given: object) -> frozenset[str] | None:
    """Read the expected hosts: an array, an array in a string, or a plain list."""
    if isinstance(given, list):
        names = given
    elif text := _text(given).strip():
        names = (_TEXTS.decode(text) or []) if text == "null" or text[0] == "[" else text.split(",")
    else:
        return None
    return frozenset(host for one in names if (host := _name(one).strip()))


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


def _time(given: object, zone: tzinfo, *, since: float | None = None) -> float | None:
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
