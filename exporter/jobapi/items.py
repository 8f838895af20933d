"""Items and rows of response bodies, any field of which may be missing, to records and host results. PURE.

Decisions where the API document leaves a choice:

- A record without an execute status is done if it has a result and an end; otherwise it is doing.
- A page item is a whole record only if it has an execute status, when done a result and an end, and no
  unreadable field. Otherwise the record is looked up.
- A host is identified by its id, else by its address, else by its entity id.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, TypeVar

from exporter.jobapi import fields, schema
from exporter.model import UNKNOWN, ExecuteStatus, HostResult, HostStatus, PageItem, Record, ResultStatus

T = TypeVar("T")


def id_of(item: object) -> str | None:
    """Return the id of the record that the item is, or belongs to; None if it is unreadable."""
    return _read(fields.record_id, item.record_id or item.id) if isinstance(item, schema.Item) else None


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
        start = _read(partial(fields.time, zone=zone), item.start_time)
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
    end = _read(partial(fields.time, zone=zone, since=start), given)
    return end if end is not None and end > start else None


def record(item: schema.Item, record_id: str, zone: tzinfo) -> Record:
    """Read a record; `zone` is that of times without an offset."""
    unknown: list[str] = []
    start = _read(partial(fields.time, zone=zone), item.start_time, "start_time", unknown)
    end = _read(partial(fields.time, zone=zone, since=start), item.end_time, "end_time", unknown)
    result_text = _read(fields.word, item.result_status, "result_status", unknown) or ""
    result = fields.RESULT_STATUSES.get(result_text)
    if result_text and result is None:
        unknown.append("result_status")
        result = ResultStatus.UNKNOWN
    execute_text = _read(fields.word, item.execute_status, "execute_status", unknown) or ""
    execute = fields.EXECUTE_STATUSES.get(execute_text, ExecuteStatus.DOING)
    if fields.RESULT_STATUSES.get(execute_text) is ResultStatus.CANCELLED:
        execute, result = ExecuteStatus.DONE, result or ResultStatus.CANCELLED
    elif not execute_text and result and end is not None:
        execute = ExecuteStatus.DONE
    elif execute_text and execute_text not in fields.EXECUTE_STATUSES:
        unknown.append("execute_status")
    return Record(
        id=record_id,
        execute_status=execute,
        result_status=result,
        start=start,
        end=end,
        timeout=_read(fields.seconds, item.timeout, "timeout", unknown),
        expected_hosts=_read(fields.hosts, item.hosts, "hosts", unknown),
        provider=_read(fields.label, item.provider, "provider", unknown) or UNKNOWN,
        script_type=_read(fields.label, item.script_type, "script_type", unknown) or UNKNOWN,
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
            names = tuple(name for one in given if (name := _read(fields.name, one, "name", odd)))
        if names:
            text = _read(fields.word, row.status, "status", odd) or ""
            is_unknown = bool(text) and text not in fields.HOST_STATUSES
            results.append(
                HostResult(
                    host_id=names[0],
                    names=names,
                    idc=_read(fields.label, row.idc, "idc", odd) or UNKNOWN,
                    status=HostStatus.UNKNOWN if is_unknown else fields.HOST_STATUSES.get(text),
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
