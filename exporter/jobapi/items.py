"""Items and rows of the bodies, any field of which may be missing, to records and host results. PURE.

What the API document leaves open of them is decided here, once:

- A record without an execute status is done if it has a result and an end, and doing otherwise.
- A page item is a whole record only if it has an execute status and, when done, a result and an end;
  otherwise it is an id to be looked up.
- A host is told apart by its id, else by its address, else by its entity id.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, TypeVar

from exporter.jobapi import fields, schema
from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    PageItem,
    Record,
    ResultStatus,
)

T = TypeVar("T")


def id_of(item: schema.Item) -> str | None:
    """Give the id of the record that an item is, or is a row of; None if it is not readable."""
    return fields.record_id(item.record_id or item.id)


def bare_item(item: schema.PageRow) -> schema.PageRow | None:
    """Keep the id alone: the record is looked up by it, where each field is read for itself."""
    record_id = id_of(item)
    return None if record_id is None else schema.PageRow(id=record_id)


def known_host(row: schema.Row) -> schema.Row | None:
    """Keep a row that names its host."""
    return row if row.host_id or row.host_ip or row.entity_id else None


def page_items(items: Iterable[schema.PageRow], zone: tzinfo) -> tuple[tuple[PageItem, ...], int]:
    """Give one item a record, from its first row; the number of items without a readable id."""
    rows: dict[str, list[schema.PageRow]] = {}
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


def _page_item(rows: Sequence[schema.PageRow], record_id: str, zone: tzinfo) -> PageItem:
    item = rows[0]
    if not (item.execute_status or item.execute_status_camel):
        start = _time_of(_start_of(item), zone)
        return PageItem(id=record_id, start=start, ended=_ended(rows, start, zone))
    read = record(item, record_id, zone, [])
    result = schema.first(item.result_status, item.result_status_camel)
    end = _end_of(item)
    whole = read.execute_status is not ExecuteStatus.DONE or None not in {result, end}
    return PageItem(id=record_id, start=read.start, record=read if whole else None)


def _ended(rows: Sequence[schema.PageRow], start: float | None, zone: tzinfo) -> float | None:
    """The end that the rows of a record show; None: it runs, or they differ."""
    told = {_end_of(row) for row in rows}
    end = _time_of(told.pop(), zone, since=start) if len(told) == 1 else None
    return end if start is not None and end is not None and end > start else None


def _start_of(item: schema.Item) -> schema.Time:
    return item.start_time if item.start_time is not None else item.start_time_camel


def _end_of(item: schema.Item) -> schema.Time:
    return item.end_time if item.end_time is not None else item.end_time_camel


def _time_of(text: schema.Time, zone: tzinfo, *, since: float | None = None) -> float | None:
    try:
        return fields.time(text, zone, since=since)
    except ValueError:
        return None


def record(item: schema.Item, record_id: str, zone: tzinfo, wrong: list[str]) -> Record:
    """Read a record; `wrong` names fields that had another type.

    `zone` is where times without an offset are meant.
    """
    unknown = list(wrong)

    def known(name: str, read: Callable[[Any], T | None], value: Any) -> T | None:
        try:
            return read(value)
        except ValueError:
            unknown.append(name)
            return None

    start = known("start_time", partial(fields.time, zone=zone), _start_of(item))
    end = known("end_time", partial(fields.time, zone=zone, since=start), _end_of(item))
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


def host_results(rows: Iterable[schema.Row | schema.PageRow]) -> tuple[tuple[HostResult, ...], int]:
    """Read host rows; the number of those that name no host."""
    results: list[HostResult] = []
    nameless = 0
    told: dict[tuple[str | None, str | None], tuple[str, HostStatus | None, bool]] = {}
    for row in rows:
        names = tuple(
            name for given in (row.host_id, row.host_ip, row.entity_id) if (name := fields.name(given))
        )
        if not names:
            nameless += 1
            continue
        said = row.idc, row.status
        if said not in told:
            told[said] = fields.label(row.idc), *_host_status(row.status or "")
        idc, status, unknown = told[said]
        results.append(
            HostResult(host_id=names[0], names=names, idc=idc, status=status, unknown_status=unknown)
        )
    return tuple(results), nameless


def _host_status(text: str) -> tuple[HostStatus | None, bool]:
    """Tell a host's status, None while there is none; and whether its spelling is none of the known ones."""
    status = fields.HOST_STATUSES.get(text.strip().lower())
    unknown = status is None and bool(text.strip())
    return (HostStatus.UNKNOWN if unknown else status), unknown
