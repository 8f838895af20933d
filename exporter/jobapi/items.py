"""Items and rows of response bodies, any field of which may be missing, to records and host results. PURE.

Decisions where the API document leaves a choice:

- A record without an execute status is done if it has a result and an end; otherwise it is doing.
- A page item is a whole record only if it has an execute status and, when done, a result and an end.
  Otherwise only its id is used, and the record is looked up.
- A host is identified by its id, else by its address, else by its entity id.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, TypeVar

from exporter.jobapi import fields, schema
from exporter.model import ExecuteStatus, HostResult, HostStatus, PageItem, Record, ResultStatus

T = TypeVar("T")


def id_of(item: schema.Item) -> str | None:
    """Return the id of the record that the item is, or belongs to; None if it is unreadable."""
    return fields.record_id(item.record_id or item.id)


def bare_item(item: schema.Item) -> schema.Item | None:
    """Keep only the id, so that the record is looked up."""
    record_id = id_of(item)
    return None if record_id is None else schema.Item(id=record_id)


def known_host(row: schema.Row) -> schema.Row | None:
    """Keep a row that names its host."""
    return row if row.host_id or row.host_ip or row.entity_id else None


def page_items(items: Iterable[schema.Item], zone: tzinfo) -> tuple[tuple[PageItem, ...], int]:
    """Fold the items into one per record. Return them, and the number of items without a readable id."""
    rows: dict[str, list[schema.Item]] = {}
    for item in items:
        rows.setdefault(fields.name(item.record_id or item.id), []).append(item)
    folded: list[PageItem] = []
    nameless = 0
    for of_record in rows.values():
        record_id = id_of(of_record[0])
        if record_id is None:
            nameless += len(of_record)
        else:
            folded.append(_page_item(of_record, record_id, zone))
    return tuple(folded), nameless


def _page_item(rows: Sequence[schema.Item], record_id: str, zone: tzinfo) -> PageItem:
    item = rows[0]
    if not (item.execute_status or item.execute_status_camel):
        start = _time(item.start, zone)
        return PageItem(id=record_id, start=start, ended=_ended(rows, start, zone))
    read = record(item, record_id, zone, [])
    result = schema.first(item.result_status, item.result_status_camel)
    is_whole = read.execute_status is not ExecuteStatus.DONE or None not in {result, item.end}
    return PageItem(id=record_id, start=read.start, record=read if is_whole else None)


def _ended(rows: Sequence[schema.Item], start: float | None, zone: tzinfo) -> float | None:
    """Return the end that all rows of a record give, if it is later than the start."""
    ends = {row.end for row in rows}
    end = _time(ends.pop(), zone, since=start) if len(ends) == 1 else None
    return end if start is not None and end is not None and end > start else None


def _time(given: schema.Time, zone: tzinfo, *, since: float | None = None) -> float | None:
    try:
        return fields.time(given, zone, since=since)
    except ValueError:
        return None


def record(item: schema.Item, record_id: str, zone: tzinfo, wrong: list[str]) -> Record:
    """Read a record; `wrong` names fields of the wrong type, `zone` is that of times without an offset."""
    unknown = list(wrong)

    def known(name: str, read: Callable[[Any], T | None], value: Any) -> T | None:
        try:
            return read(value)
        except ValueError:
            unknown.append(name)
            return None

    start = known("start_time", partial(fields.time, zone=zone), item.start)
    end = known("end_time", partial(fields.time, zone=zone, since=start), item.end)
    hosts = known("hosts", fields.hosts, item.hosts)
    result_text = (schema.first(item.result_status, item.result_status_camel) or "").strip().lower()
    result = fields.RESULT_STATUSES.get(result_text)
    if result_text and result is None:
        unknown.append("result_status")
        result = ResultStatus.UNKNOWN
    execute_text = (schema.first(item.execute_status, item.execute_status_camel) or "").strip().lower()
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
        timeout=float(item.timeout) if item.timeout and 0 < item.timeout < fields.MAX_NUMBER else None,
        expected_hosts=hosts,
        provider=fields.label(item.provider),
        script_type=fields.label(schema.first(item.script_type, item.script_type_camel)),
        unknown_fields=tuple(unknown),
    )


def host_results(rows: Iterable[schema.Row]) -> tuple[tuple[HostResult, ...], int]:
    """Read host rows. Return them, and the number of rows that name no host."""
    results: list[HostResult] = []
    nameless = 0
    for row in rows:
        given = map(fields.name, (row.host_id, row.host_ip, row.entity_id))
        names = tuple(name for name in given if name)
        if not names:
            nameless += 1
            continue
        text = (row.status or "").strip().lower()
        is_unknown = bool(text) and text not in fields.HOST_STATUSES
        results.append(
            HostResult(
                host_id=names[0],
                names=names,
                idc=fields.label(row.idc),
                status=HostStatus.UNKNOWN if is_unknown else fields.HOST_STATUSES.get(text),
                unknown_status=is_unknown,
            )
        )
    return tuple(results), nameless
