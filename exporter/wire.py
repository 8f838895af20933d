"""Bytes of the job API to values of the model, in both dialects, told apart per response.

A response is either wrapped in an envelope (`{"status", "message", "content"}`, observed) or bare
(documented); keys are snake_case, camelCase or, on pages, Capitalised. The schema below names only what is
needed: msgspec skips everything else, so stdout, stderr, script and parameters never become objects.

What the API document leaves open is decided here, once:

- A record without an execute status is done if it has a result and an end, and doing otherwise.
- `hosts` `"[]"` or `"null"`: no host is expected; `""` or absent: the platform does not say (None).
- A page item is a whole record only if it has an execute status and, when done, a result and an end;
  otherwise it is an id to be looked up.
- A field of the wrong type counts as not given; its name joins `unknown_fields` of a record, its item or row
  is counted in `bad_items`, `bad_rows`. Only what has no readable id is lost.
- The same host id may not be given while the address is: then the address tells hosts apart.
- NUL, which a PostgreSQL text cannot hold, makes an id unreadable and is replaced in other texts.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from exporter import fields, shapes
from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    Page,
    PageItem,
    Record,
    Results,
    ResultStatus,
)

MAX_MESSAGE = 200  # characters of a platform's message: the cause, not the SQL behind it

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


class DecodeError(ValueError):
    """A body that was not understood; the message says what was seen, never its content."""


class PlatformError(Exception):
    """The platform answered HTTP 200 with status error.

    `text` is its own and may hold anything; `message` is that on one line of at most 200 characters, control
    characters escaped.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.message = one_line(text)
        super().__init__(self.message)


class NotFound(PlatformError):  # noqa: N818  (an answer rather than an error)
    """The platform knows no record of this id."""


class AuthError(PlatformError):
    """The platform refused the credentials, though the HTTP status is 200."""


_ERRORS: Mapping[str, type[PlatformError]] = {
    "record not found": NotFound,
    "invalid user": AuthError,
    "invalid authorization data": AuthError,
}


def decode_page(body: bytes, *, number: int, size: int, zone: tzinfo) -> Page:
    """Read an answer of `/api/v1/job/record/page`, of which `number` and `size` were asked.

    `zone` is where times without an offset are meant. Raises DecodeError or PlatformError.
    """
    content = _open(body)
    bad = 0
    page: shapes.PageBody[Any]
    items: Iterable[shapes.Item]
    try:
        page = shapes.PAGE.decode(content)
        items = page.items or page.items_capital or ()
    except shapes.UNREADABLE:
        page, wrong = _by_field(content, shapes.PageBody[Raw], "a page")
        if wrong:
            raise DecodeError(f"a page with a field of the wrong type: {', '.join(wrong)}") from None
        items, bad = shapes.salvage(
            page.items or page.items_capital or (), shapes.ITEM, shapes.Item, _bare_item
        )
    total = _total(page, size)
    if total is None and page.items is UNSET and page.items_capital is UNSET:
        raise DecodeError("JSON without list and totalCount instead of a page: is the base URL right?")
    folded, nameless = _fold(items, zone)
    return Page(number=number, size=size, total=total, items=folded, bad_items=bad + nameless)


def decode_record(body: bytes, *, zone: tzinfo) -> Record:
    """Read an answer of `/api/v1/job/record`.

    `zone` is where times without an offset are meant. Raises DecodeError or PlatformError.
    """
    content = _open(body)
    wrong: list[str] = []
    try:
        item = shapes.ITEM.decode(content)
    except shapes.UNREADABLE:
        item, wrong = _by_field(content, shapes.Item, "a record")
    record_id = _id(item)
    if record_id is None:
        raise DecodeError("JSON without a readable id instead of a record: is the base URL right?")
    return _record(item, record_id, zone, wrong)


def decode_results(body: bytes, *, zone: tzinfo) -> Results:  # noqa: ARG001  (rows have no times of their own)
    """Read an answer of `/api/v1/job/record/result`: an array of host rows, or one row.

    Raises DecodeError or PlatformError.
    """
    bad = 0
    rows: Iterable[shapes.Row]
    try:
        usual = shapes.USUAL_RESULTS.decode(body)
        rows = usual.content if isinstance(usual, shapes.Success) else usual
    except shapes.UNREADABLE:
        content = _open(body)
        if bytes(content[:4]) == b"null":
            return Results(rows=())
        if bytes(content[:1]) == b"[":
            raws = shapes.RAWS.decode(content)
            rows, bad = shapes.salvage(raws, shapes.ROW, shapes.Row, _known_host)
        else:
            rows, bad = _single_row(content)
    results = []
    for row in rows:
        host = row.host_id or row.host_ip
        if host:
            results.append(_host_result(row, host))
        else:
            bad += 1
    return Results(rows=tuple(results), bad_rows=bad)


def _open(body: bytes) -> memoryview:
    """Take the envelope off, where there is one; what is left is valid JSON."""
    head = body.lstrip(b" \t\r\n")[:1]
    if not head:
        raise DecodeError("an empty body instead of JSON")
    if head == b"<":
        raise DecodeError("HTML instead of JSON: is the base URL a web page or a proxy?")
    try:
        if head != b"{":
            return memoryview(shapes.RAW.decode(body))
        envelope = shapes.ENVELOPE.decode(body)
    except RecursionError:
        raise DecodeError("JSON that is nested too deep") from None
    except shapes.UNREADABLE:
        seen = "malformed JSON: cut short on its way?" if head in b"{[" else "text instead of JSON"
        raise DecodeError(seen) from None
    status = (shapes.text(envelope.status) or "").strip().lower()
    if envelope.content:
        if status in {"", "success"}:
            return memoryview(envelope.content)
        raise _platform_error(shapes.text(envelope.message))
    if status == "error" and not (envelope.record_id or envelope.host_id or envelope.host_ip):
        raise _platform_error(shapes.text(envelope.message))
    return memoryview(body)


def _single_row(content: memoryview) -> tuple[list[shapes.Row], int]:
    rows, bad = shapes.salvage([content], shapes.ROW, shapes.Row, _known_host)
    if not any(_known_host(row) for row in rows):
        raise DecodeError("JSON without host rows instead of results: is the base URL right?")
    return rows, bad


def _by_field(content: memoryview, schema: type[S], what: str) -> tuple[S, list[str]]:
    read = shapes.by_field(content, schema)
    if read is None:
        raise DecodeError(f"JSON that is no object instead of {what}")
    return read


def _platform_error(message: str | None) -> PlatformError:
    message = (message or "").strip() or "an error without a message"
    return _ERRORS.get(message.lower(), PlatformError)(message)


def one_line(text: str) -> str:
    """Cut a text of the platform to 200 characters, and escape what is not printable."""
    short = text[:MAX_MESSAGE]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
    return line[:MAX_MESSAGE]


def _id(item: shapes.Item) -> str | None:
    return fields.record_id(item.record_id or item.id)


def _bare_item(item: shapes.Item) -> shapes.Item | None:
    """Keep the id alone: the record is looked up by it, where each field is read for itself."""
    record_id = _id(item)
    return None if record_id is None else shapes.Item(id=record_id)


def _known_host(row: shapes.Row) -> shapes.Row | None:
    return row if row.host_id or row.host_ip else None


def _total(page: shapes.PageBody[Any], size: int) -> int | None:
    """Tell how many records there are; refuse pages that are smaller than asked.

    A platform that caps the page size would else be read with gaps. A short last page is no cap: there the
    number of pages agrees with the size that was asked.
    """
    total = _first(page.total, page.total_capital)
    count = _first(page.count, page.count_capital)
    given = _first(page.size, page.size_capital)
    if total is None and size == 1:
        total = count
    if total is None or not 0 <= total < fields.MAX_NUMBER:
        return None
    if given and size > given > 0 and count == -(-total // given) != -(-total // size):
        raise DecodeError(f"pages of {given} records where {size} were asked: set api.page-size to {given}")
    return total


def _first(one: T | None, other: T | None) -> T | None:
    return one if one is not None else other


def _fold(items: Iterable[shapes.Item], zone: tzinfo) -> tuple[tuple[PageItem, ...], int]:
    """One item a record, from its first row; the number of items without a readable id."""
    folded: dict[str, PageItem] = {}
    nameless = 0
    for item in items:
        record_id = _id(item)
        if record_id is None:
            nameless += 1
        elif record_id not in folded:
            folded[record_id] = _page_item(item, record_id, zone)
    return tuple(folded.values()), nameless


def _page_item(item: shapes.Item, record_id: str, zone: tzinfo) -> PageItem:
    if not (item.execute_status or item.execute_status_camel):
        try:
            start = fields.time(_first(item.start_time, item.start_time_camel), zone)
        except ValueError:
            start = None
        return PageItem(id=record_id, start=start)
    record = _record(item, record_id, zone, [])
    told = _first(item.result_status, item.result_status_camel), _first(item.end_time, item.end_time_camel)
    whole = record.execute_status is not ExecuteStatus.DONE or None not in told
    return PageItem(id=record_id, start=record.start, record=record if whole else None)


def _record(item: shapes.Item, record_id: str, zone: tzinfo, wrong: list[str]) -> Record:
    unknown = list(wrong)

    def known(name: str, read: Callable[[Any], T | None], value: Any) -> T | None:
        try:
            return read(value)
        except ValueError:
            unknown.append(name)
            return None

    start = known(
        "start_time", lambda text: fields.time(text, zone), _first(item.start_time, item.start_time_camel)
    )
    end_text = _first(item.end_time, item.end_time_camel)
    end = known("end_time", lambda text: fields.time(text, zone, since=start), end_text)
    hosts = known("hosts", fields.hosts, item.hosts)
    result_text = (_first(item.result_status, item.result_status_camel) or "").strip().lower()
    result = fields.RESULT_STATUSES.get(result_text)
    if result_text and result is None:
        unknown.append("result_status")
        result = ResultStatus.UNKNOWN
    execute_text = (_first(item.execute_status, item.execute_status_camel) or "").strip().lower()
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
        script_type=fields.label(_first(item.script_type, item.script_type_camel)),
        unknown_fields=tuple(unknown),
    )


def _host_result(row: shapes.Row, host: str) -> HostResult:
    text = row.status or ""
    status = fields.HOST_STATUSES.get(text) or fields.HOST_STATUSES.get(text.strip().lower())
    unknown = status is None and bool(text.strip())
    return HostResult(
        host_id=host,
        idc=fields.label(row.idc),
        status=HostStatus.UNKNOWN if unknown else status,
        unknown_status=unknown,
    )
