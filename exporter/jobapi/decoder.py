"""Response bodies of the job API to values of the model, in both dialects, told apart per response.

A response is wrapped in an envelope (`{"status", "message", "content"}`, observed) or bare (documented). Keys
are snake_case, camelCase or, on pages, Capitalised.

Decisions where the API document leaves a choice (those on single items and rows are in `items`):

- `hosts` `"[]"` or `"null"`: no host is expected. `""` or absent: the platform does not say (None).
- A field of the wrong type counts as absent. Its name goes into `unknown_fields` of a record; its item or row
  is counted in `bad_items` or `bad_rows`. Only an item without a readable id is lost.
- Ids may be numbers; they are read as text.
- An id with a NUL is unreadable, because PostgreSQL cannot store it. In other texts NUL and lone surrogates
  are replaced. A byte order mark is ignored.
"""

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from exporter.jobapi import fields, items, schema
from exporter.model import Page, Record, Results

MAX_MESSAGE = 200  # characters of a platform's message: enough for the cause, without the SQL that follows

S = TypeVar("S", bound=msgspec.Struct)
_PageRead = tuple[schema.PageBody[Any], Iterable[schema.Item], int]  # its items; how many were odd


class DecodeError(ValueError):
    """The body is not the expected JSON; the text says what it is instead, without quoting it."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}: {advice}" if advice else message)
        self.message, self.advice = message, advice


class PlatformError(Exception):
    """The platform answered HTTP 200 with status error.

    `text` is its message as sent. `message` is the same on one line, at most 200 characters, with control
    characters escaped.
    """

    def __init__(self, text: str) -> None:
        self.text, self.message = text, one_line(text)
        super().__init__(self.message)


class NotFound(PlatformError):  # noqa: N818  (an answer rather than an error)
    """The platform knows no record with this id."""


class AuthError(PlatformError):
    """The platform refused the credentials, though the HTTP status is 200."""


_ERRORS: Mapping[str, type[PlatformError]] = {
    "record not found": NotFound,
    "invalid user": AuthError,
    "invalid authorization data": AuthError,
}
_WRONG_ADDRESS = "check that api.base-url is the job API, not a web page or a proxy"


def decode_page(body: bytes, *, number: int, size: int, zone: tzinfo) -> Page:
    """Read a response of `/api/v1/job/record/page`, requested with this `number` and `size`.

    `zone` is the time zone of times without an offset. Raises DecodeError or PlatformError.
    """
    page, rows, bad = _usual_page(body) or _odd_page(_content(body))
    total = _total(page, size)
    folded, nameless = items.page_items(rows, zone)
    if folded and not total:
        raise DecodeError("a page of records whose totalCount is 0")
    return Page(number=number, size=size, total=total, items=folded, bad_items=bad + nameless)


def decode_record(body: bytes, *, zone: tzinfo) -> Record:
    """Read a response of `/api/v1/job/record`; `zone` and errors as in `decode_page`."""
    content = _content(body)
    wrong: list[str] = []
    try:
        item = schema.ITEM.decode(content)
    except schema.UNREADABLE:
        item, wrong = _by_field(content, schema.Item, "a record")
    record_id = items.id_of(item)
    if record_id is None:
        raise DecodeError("JSON without a readable id instead of a record", _WRONG_ADDRESS)
    return items.record(item, record_id, zone, wrong)


def decode_results(body: bytes, *, zone: tzinfo) -> Results:  # noqa: ARG001  (the times of rows are not read)
    """Read a response of `/api/v1/job/record/result`: an array of host rows, or one row.

    Raises DecodeError or PlatformError.
    """
    rows: Iterable[schema.Row]
    try:
        usual, bad = schema.USUAL_RESULTS.decode(body), 0
        rows = usual.content if isinstance(usual, schema.Success) else usual
    except schema.UNREADABLE:
        rows, bad = _odd_results(_content(body))
    results, nameless = items.host_results(rows)
    return Results(rows=results, bad_rows=bad + nameless)


def _usual_page(body: bytes) -> _PageRead | None:
    """Read a page whose every field has the right type; None: read it as an odd one."""
    try:
        usual = schema.USUAL_PAGE.decode(body)
    except schema.UNREADABLE:
        return None
    if (usual.status is UNSET) is not (usual.content is UNSET):
        return None
    page = usual if usual.content is UNSET else usual.content
    return page, page.items or page.items_capital or (), 0


def _odd_page(content: memoryview) -> _PageRead:
    page, wrong = _by_field(content, schema.PageBody[Raw], "a page")
    if wrong := [name for name in wrong if name in {"items", "total"}]:
        raise DecodeError(f"a page with a field of the wrong type: {', '.join(wrong)}")
    raws = page.items or page.items_capital or ()
    return page, *schema.salvage(raws, schema.ITEM, schema.Item, items.bare_item)


def _odd_results(content: memoryview) -> tuple[list[schema.Row], int]:
    if bytes(content[:4]) == b"null":
        return [], 0
    is_array = bytes(content[:1]) == b"["
    raws = schema.RAWS.decode(content) if is_array else [content]
    rows, bad = schema.salvage(raws, schema.ROW, schema.Row, items.known_host)
    if not is_array and not any(map(items.known_host, rows)):
        raise DecodeError("JSON without host rows instead of results", _WRONG_ADDRESS)
    return rows, bad


def one_line(text: str) -> str:
    """Cut a text of the platform to 200 characters, and escape what is not printable."""
    short = text[:MAX_MESSAGE]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
    return line[:MAX_MESSAGE]


def _content(body: bytes) -> memoryview:
    """Take off the envelope, if there is one; the rest is valid JSON. Raises DecodeError or PlatformError."""
    try:
        return _unwrapped(body)
    except schema.UNREADABLE:
        body = schema.mended(body)
    try:
        return _unwrapped(body)
    except RecursionError:
        raise DecodeError("JSON that is nested too deep") from None
    except schema.UNREADABLE as error:
        raise _malformed(body, error) from None


def _unwrapped(body: bytes) -> memoryview:
    if body.lstrip(b" \t\r\n")[:1] != b"{":
        return memoryview(schema.RAW.decode(body))
    envelope = schema.ENVELOPE.decode(body)
    status = (schema.text(envelope.status) or "").strip().lower()
    if envelope.content and status in {"", "success"}:
        return memoryview(envelope.content)
    is_row = envelope.record_id or envelope.host_id or envelope.host_ip
    if envelope.content or (status == "error" and not is_row):
        message = (schema.text(envelope.message) or "").strip() or "an error without a message"
        raise _ERRORS.get(message.lower(), PlatformError)(message)
    return memoryview(body)


def _malformed(body: bytes, error: Exception) -> DecodeError:
    """Say what the body is instead of JSON."""
    head = body.lstrip(b" \t\r\n")[:1]
    if not head:
        return DecodeError("an empty body instead of JSON")
    if head == b"<":
        return DecodeError("HTML instead of JSON", _WRONG_ADDRESS)
    if head not in b"{[":
        return DecodeError("text instead of JSON")
    if "truncated" in str(error):
        return DecodeError("JSON that was cut short")
    place = str(error).removeprefix("JSON is malformed: ")  # such as: invalid character (byte 14)
    return DecodeError(f"malformed JSON: {place}")


def _by_field(content: memoryview, kind: type[S], what: str) -> tuple[S, list[str]]:
    read = schema.by_field(content, kind)
    if read is None:
        raise DecodeError(f"JSON that is no object instead of {what}")
    return read


def _total(page: schema.PageBody[Any], size: int) -> int:
    """Return the number of records. Refuse a page without it, and a page smaller than requested.

    A platform that caps the page size would be read with gaps. On a short last page, which is no cap, the
    number of pages agrees with the requested size.
    """
    total = schema.first(page.total, page.total_capital)
    if total is None:
        if page.items is UNSET and page.items_capital is UNSET:
            raise DecodeError("JSON without list and totalCount instead of a page", _WRONG_ADDRESS)
        raise DecodeError("a page without totalCount", "check whether a proxy drops it: it is required")
    if not 0 <= total < fields.MAX_NUMBER:
        raise DecodeError("a page whose totalCount is out of range")
    count = schema.first(page.count, page.count_capital)
    given = schema.first(page.size, page.size_capital)
    if given and size > given > 0 and count == -(-total // given) != -(-total // size):
        raise DecodeError(
            f"pages of {given} records where {size} were asked", f"set api.page-size to {given}"
        )
    return total
