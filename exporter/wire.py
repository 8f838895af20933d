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
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from exporter.model import (
    UNKNOWN,
    ExecuteStatus,
    HostResult,
    HostStatus,
    Page,
    PageItem,
    Record,
    Results,
    ResultStatus,
)

MAX_ID = 64  # characters; the API's ids are UUID-shaped, its columns hold 64
MAX_LABEL = 128  # characters; a label value repeats on every line of the exposition
MAX_MESSAGE = 200  # characters of a platform's message: the cause, not the SQL behind it
MAX_NUMBER = 2**53  # above this a float, and so a sample, is no longer exact

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


class DecodeError(ValueError):
    """A body that was not understood; the message says what was seen, never its content."""


class PlatformError(Exception):
    """The platform answered HTTP 200 with status error.

    `message` is its own, on one line of at most 200 characters, control characters escaped.
    """

    def __init__(self, message: str) -> None:
        self.message = _one_line(message)
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

_RESULT_STATUSES: Mapping[str, ResultStatus] = {
    "success": ResultStatus.SUCCESS,
    "fail": ResultStatus.FAIL,
    "failed": ResultStatus.FAIL,
    "error": ResultStatus.FAIL,
    "timeout": ResultStatus.TIMEOUT,
    "cancel": ResultStatus.CANCELLED,
    "canceled": ResultStatus.CANCELLED,
    "cancelled": ResultStatus.CANCELLED,
}
_HOST_STATUSES = {spelling: HostStatus(status.value) for spelling, status in _RESULT_STATUSES.items()}
_EXECUTE_STATUSES = {status.value: status for status in ExecuteStatus}


class _Envelope(Struct, gc=False):
    """What every observed answer is wrapped in; the ids tell a bare host row, which has a status too."""

    status: Raw = Raw()
    message: Raw = Raw()
    content: Raw = Raw()
    record_id: Raw = field(default=Raw(), name="recordId")
    host_id: Raw = field(default=Raw(), name="hostId")
    host_ip: Raw = field(default=Raw(), name="hostIp")


class _Item(Struct, gc=False):
    """A record of either dialect, or a host row of a page; every field may be missing."""

    record_id: str | None = field(default=None, name="recordId")
    id: str | None = None
    start_time: str | None = None
    start_time_camel: str | None = field(default=None, name="startTime")
    end_time: str | None = None
    end_time_camel: str | None = field(default=None, name="endTime")
    execute_status: str | None = None
    execute_status_camel: str | None = field(default=None, name="executeStatus")
    result_status: str | None = None
    result_status_camel: str | None = field(default=None, name="resultStatus")
    hosts: str | list[str] | None = None
    provider: str | None = None
    script_type: str | None = None
    script_type_camel: str | None = field(default=None, name="scriptType")
    timeout: int | None = None


class _Row(Struct, gc=False):
    """A host row of the results."""

    host_id: str | None = field(default=None, name="hostId")
    host_ip: str | None = field(default=None, name="hostIp")
    status: str | None = None
    idc: str | None = field(default=None, name="idcName")


class _PageBody(Struct, Generic[T]):
    """A page of either spelling."""

    items: list[T] | UnsetType | None = field(default=UNSET, name="list")
    items_capital: list[T] | UnsetType | None = field(default=UNSET, name="List")
    total: int | None = field(default=None, name="totalCount")
    total_capital: int | None = field(default=None, name="TotalCount")
    count: int | None = field(default=None, name="pageCount")
    count_capital: int | None = field(default=None, name="PageCount")
    size: int | None = field(default=None, name="pageSize")
    size_capital: int | None = field(default=None, name="PageSize")


class _Success(Struct):
    """The usual answer of the results, read in a single pass."""

    status: Literal["success"]
    content: list[_Row]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TEXT = msgspec.json.Decoder(str)
_TEXTS = msgspec.json.Decoder(list[str] | None)
_RAW = msgspec.json.Decoder(Raw)
_RAWS = msgspec.json.Decoder(list[Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ITEM = msgspec.json.Decoder(_Item)
_ROW = msgspec.json.Decoder(_Row)
_PAGE = msgspec.json.Decoder(_PageBody[_Item])
_USUAL_RESULTS = msgspec.json.Decoder(_Success | list[_Row])


def decode_page(body: bytes, *, number: int, size: int, zone: tzinfo) -> Page:
    """Read an answer of `/api/v1/job/record/page`, of which `number` and `size` were asked.

    `zone` is where times without an offset are meant. Raises DecodeError or PlatformError.
    """
    content = _open(body)
    bad = 0
    page: _PageBody[Any]
    items: Iterable[_Item]
    try:
        page = _PAGE.decode(content)
        items = page.items or page.items_capital or ()
    except _UNREADABLE:
        page, wrong = _by_field(content, _PageBody[Raw], "a page")
        if wrong:
            raise DecodeError(f"a page with a field of the wrong type: {', '.join(wrong)}") from None
        items, bad = _salvage(page.items or page.items_capital or (), _ITEM, _Item, _id)
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
        item = _ITEM.decode(content)
    except _UNREADABLE:
        item, wrong = _by_field(content, _Item, "a record")
    record_id = _id(item)
    if record_id is None:
        raise DecodeError("JSON without a readable id instead of a record: is the base URL right?")
    return _record(item, record_id, zone, wrong)


def decode_results(body: bytes, *, zone: tzinfo) -> Results:  # noqa: ARG001  (rows have no times of their own)
    """Read an answer of `/api/v1/job/record/result`: an array of host rows, or one row.

    Raises DecodeError or PlatformError.
    """
    bad = 0
    rows: Iterable[_Row]
    try:
        usual = _USUAL_RESULTS.decode(body)
        rows = usual.content if isinstance(usual, _Success) else usual
    except _UNREADABLE:
        content = _open(body)
        if bytes(content[:4]) == b"null":
            return Results(rows=())
        raws = _RAWS.decode(content) if bytes(content[:1]) == b"[" else [content]
        rows, bad = _salvage(raws, _ROW, _Row, _host_id)
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
            return memoryview(_RAW.decode(body))
        envelope = _ENVELOPE.decode(body)
    except RecursionError:
        raise DecodeError("JSON that is nested too deep") from None
    except _UNREADABLE:
        seen = "malformed JSON: cut short on its way?" if head in b"{[" else "text instead of JSON"
        raise DecodeError(seen) from None
    status = (_text(envelope.status) or "").strip().lower()
    if envelope.content:
        if status in {"", "success"}:
            return memoryview(envelope.content)
        raise _platform_error(_text(envelope.message))
    if status == "error" and not (envelope.record_id or envelope.host_id or envelope.host_ip):
        raise _platform_error(_text(envelope.message))
    return memoryview(_RAW.decode(body))


def _platform_error(message: str | None) -> PlatformError:
    message = (message or "").strip() or "an error without a message"
    return _ERRORS.get(message.lower(), PlatformError)(message)


def _one_line(text: str) -> str:
    short = text[:MAX_MESSAGE]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
    return line[:MAX_MESSAGE]


def _text(raw: Raw) -> str | None:
    try:
        return _TEXT.decode(raw)
    except _UNREADABLE:
        return None


def _by_field(content: memoryview | Raw, schema: type[S], what: str) -> tuple[S, list[str]]:
    """Read an object field by field: what does not fit is not given, and its name is returned."""
    try:
        given = _OBJECT.decode(content)
    except _UNREADABLE:
        raise DecodeError(f"JSON that is no object instead of {what}") from None
    values: dict[str, Any] = {}
    wrong: dict[str, None] = {}
    for name, key, decoder in _fields(schema):
        if key in given:
            try:
                values[name] = decoder.decode(given[key])
            except _UNREADABLE:
                wrong[name.removesuffix("_camel").removesuffix("_capital")] = None
    return schema(**values), list(wrong)


@lru_cache(maxsize=8)  # a few schemas, each built once
def _fields(schema: type[Struct]) -> list[tuple[str, str, msgspec.json.Decoder[Any]]]:
    fields = msgspec.structs.fields(schema)
    return [(f.name, f.encode_name, msgspec.json.Decoder(f.type)) for f in fields]


def _salvage(
    raws: Iterable[Raw | memoryview],
    decoder: msgspec.json.Decoder[S],
    schema: type[S],
    identity: Callable[[S], str | None],
) -> tuple[list[S], int]:
    """Read items one by one: those that can be told apart, and how many had a field of the wrong type."""
    items: list[S] = []
    bad = 0
    for raw in raws:
        try:
            items.append(decoder.decode(raw))
        except _UNREADABLE:
            bad += 1
            try:
                item, _ = _by_field(raw, schema, "an item")
            except DecodeError:
                continue
            if identity(item):
                items.append(item)
    return items, bad


def _id(item: _Item) -> str | None:
    name = item.record_id or item.id
    return name if name and len(name) <= MAX_ID and "\0" not in name else None


def _host_id(row: _Row) -> str | None:
    return row.host_id or row.host_ip


def _total(page: _PageBody[Any], size: int) -> int | None:
    """Tell how many records there are; refuse pages that are smaller than asked.

    A platform that caps the page size would else be read with gaps. A short last page is no cap: there the
    number of pages agrees with the size that was asked.
    """
    total = _first(page.total, page.total_capital)
    count = _first(page.count, page.count_capital)
    given = _first(page.size, page.size_capital)
    if total is None and size == 1:
        total = count
    if total is None or not 0 <= total < MAX_NUMBER:
        return None
    if given and size > given > 0 and count == -(-total // given) != -(-total // size):
        raise DecodeError(f"pages of {given} records where {size} were asked: set api.page-size to {given}")
    return total


def _first(one: T | None, other: T | None) -> T | None:
    return one if one is not None else other


def _fold(items: Iterable[_Item], zone: tzinfo) -> tuple[tuple[PageItem, ...], int]:
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


def _page_item(item: _Item, record_id: str, zone: tzinfo) -> PageItem:
    if not (item.execute_status or item.execute_status_camel):
        try:
            start = _time(_first(item.start_time, item.start_time_camel), zone)
        except ValueError:
            start = None
        return PageItem(id=record_id, start=start)
    record = _record(item, record_id, zone, [])
    told = _first(item.result_status, item.result_status_camel), _first(item.end_time, item.end_time_camel)
    whole = record.execute_status is not ExecuteStatus.DONE or None not in told
    return PageItem(id=record_id, start=record.start, record=record if whole else None)


def _record(item: _Item, record_id: str, zone: tzinfo, wrong: list[str]) -> Record:
    unknown = list(wrong)

    def known(name: str, read: Callable[[Any], T | None], value: Any) -> T | None:
        try:
            return read(value)
        except ValueError:
            unknown.append(name)
            return None

    start = known(
        "start_time", lambda text: _time(text, zone), _first(item.start_time, item.start_time_camel)
    )
    end = known("end_time", lambda text: _time(text, zone), _first(item.end_time, item.end_time_camel))
    hosts = known("hosts", _hosts, item.hosts)
    result_text = (_first(item.result_status, item.result_status_camel) or "").strip().lower()
    result = _RESULT_STATUSES.get(result_text)
    if result_text and result is None:
        unknown.append("result_status")
        result = ResultStatus.UNKNOWN
    execute_text = (_first(item.execute_status, item.execute_status_camel) or "").strip().lower()
    execute = _EXECUTE_STATUSES.get(execute_text, ExecuteStatus.DOING)
    if _RESULT_STATUSES.get(execute_text) is ResultStatus.CANCELLED:
        execute, result = ExecuteStatus.DONE, result or ResultStatus.CANCELLED
    elif not execute_text and result and end is not None:
        execute = ExecuteStatus.DONE
    elif execute_text and execute_text not in _EXECUTE_STATUSES:
        unknown.append("execute_status")
    return Record(
        id=record_id,
        execute_status=execute,
        result_status=result,
        start=start,
        end=end,
        timeout=float(item.timeout) if item.timeout and 0 < item.timeout < MAX_NUMBER else None,
        expected_hosts=hosts,
        provider=_label(item.provider),
        script_type=_label(_first(item.script_type, item.script_type_camel)),
        unknown_fields=tuple(unknown),
    )


def _host_result(row: _Row, host: str) -> HostResult:
    text = row.status or ""
    status = _HOST_STATUSES.get(text) or _HOST_STATUSES.get(text.strip().lower())
    unknown = status is None and bool(text.strip())
    return HostResult(
        host_id=host,
        idc=_label(row.idc),
        status=HostStatus.UNKNOWN if unknown else status,
        unknown_status=unknown,
    )


def _label(text: str | None) -> str:
    return (text or "").strip()[:MAX_LABEL].replace("\0", "\ufffd") or UNKNOWN


def _hosts(given: str | list[str] | None) -> frozenset[str] | None:
    """Read the expected hosts: an array, an array in a string, or a plain list. Raises ValueError."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        text = given.strip()
        given = (_TEXTS.decode(text) or []) if text == "null" or text.startswith("[") else text.split(",")
    return frozenset(host for name in given if (host := name.strip()))


def _time(text: str | None, zone: tzinfo) -> float | None:
    """Read a time, POSIX seconds; None if the platform gave none. Raises ValueError."""
    text = (text or "").strip().upper()
    if not text or text.startswith(("0001-01-01", "0000-00-00")):
        return None
    if text[4:5] != "-" or text[10:11] not in {"T", " "}:
        raise ValueError("not a time")  # fromisoformat knows dates, weeks and numbers, too
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except OverflowError as error:
        raise ValueError("not a time") from error
