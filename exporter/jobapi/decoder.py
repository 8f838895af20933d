"""Bytes of the job API to values of the model, in both dialects, told apart per response.

A response is either wrapped in an envelope (`{"status", "message", "content"}`, observed) or bare
(documented); keys are snake_case, camelCase or, on pages, Capitalised. The schema below names only what is
needed: msgspec skips everything else, so stdout, stderr, script and parameters never become objects.

What the API document leaves open is decided here, and of single items and rows in `items`, once:

- `hosts` `"[]"` or `"null"`: no host is expected; `""` or absent: the platform does not say (None).
- A field of the wrong type counts as not given; its name joins `unknown_fields` of a record, its item or row
  is counted in `bad_items`, `bad_rows`. Only what has no readable id is lost.
- Ids may be numbers: they are read as text.
- NUL, which a PostgreSQL text cannot hold, makes an id unreadable and is replaced in other texts; so are lone
  surrogates everywhere. A byte order mark is left out.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw

from exporter.jobapi import fields, items, schema
from exporter.jobapi.json_filter import end_of
from exporter.model import Page, Record, Results

MAX_MESSAGE = 200  # characters of a platform's message: the cause, not the SQL behind it

S = TypeVar("S", bound=msgspec.Struct)
_PageRead = tuple[schema.PageBody[Any], Iterable[schema.PageRow], int]  # its items; how many were odd


class DecodeError(ValueError):
    """A body that was not understood; its text says what was seen, never its content, then what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}: {advice}" if advice else message)
        self.message, self.advice = message, advice


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
    read = _usual_page(body)
    if read is None:
        body = _mended(body)
        read = _usual_page(body) or _odd_page(_open(body))
    page, rows, bad = read
    total = _total(page, size)
    folded, nameless = items.page_items(rows, zone)
    return Page(number=number, size=size, total=total, items=folded, bad_items=bad + nameless)


def decode_record(body: bytes, *, zone: tzinfo) -> Record:
    """Read an answer of `/api/v1/job/record`.

    `zone` is where times without an offset are meant. Raises DecodeError or PlatformError.
    """
    content = _open(_mended(body))
    wrong: list[str] = []
    try:
        item = schema.ITEM.decode(content)
    except schema.UNREADABLE:
        item, wrong = _by_field(content, schema.Item, "a record")
    record_id = items.id_of(item)
    if record_id is None:
        raise DecodeError("JSON without a readable id instead of a record", _WRONG_ADDRESS)
    return items.record(item, record_id, zone, wrong)


def decode_results(body: bytes, *, zone: tzinfo) -> Results:  # noqa: ARG001  (rows have no times of their own)
    """Read an answer of `/api/v1/job/record/result`: an array of host rows, or one row.

    Raises DecodeError or PlatformError.
    """
    read = _usual_results(body)
    if read is None:
        body = _mended(body)
        read = _usual_results(body) or _odd_results(_open(body))
    rows, bad = read
    results, nameless = items.host_results(rows)
    return Results(rows=results, bad_rows=bad + nameless)


_WRONG_ADDRESS = "is api.base-url the job API, and not a web page or a proxy?"


def _mended(body: bytes) -> bytes:
    """Leave out a byte order mark, and replace lone surrogates where JSON can't be read for them."""
    body = body.removeprefix(schema.BOM)
    try:
        schema.RAW.decode(body)
    except schema.UNREADABLE:
        return schema.mended(body)
    return body


def _open(body: bytes) -> memoryview:
    """Take the envelope off, where there is one; what is left is valid JSON."""
    head = body.lstrip(b" \t\r\n")[:1]
    if not head:
        raise DecodeError("an empty body instead of JSON")
    if head == b"<":
        raise DecodeError("HTML instead of JSON", _WRONG_ADDRESS)
    try:
        if head != b"{":
            return memoryview(schema.RAW.decode(body))
        envelope = schema.ENVELOPE.decode(body)
    except RecursionError:
        raise DecodeError("JSON that is nested too deep") from None
    except schema.UNREADABLE as error:
        seen = _what_is_wrong(bytes(body), error) if head in b"{[" else "text instead of JSON"
        raise DecodeError(seen) from None
    status = (schema.text(envelope.status) or "").strip().lower()
    if envelope.content:
        if status in {"", "success"}:
            return memoryview(envelope.content)
        raise _platform_error(schema.text(envelope.message))
    if status == "error" and not (envelope.record_id or envelope.host_id or envelope.host_ip):
        raise _platform_error(schema.text(envelope.message))
    return memoryview(body)


def _what_is_wrong(body: bytes, error: Exception) -> str:
    """Say why JSON can't be read. Where it fails stands in msgspec's message only."""
    place = re.search(r"\(byte (\d+)\)", str(error))
    at = int(place[1]) if place else len(body)
    if body.startswith((b"NaN", b"Infinity"), at) and body[at - 1 : at] != b"\\":
        return "malformed JSON: it has a NaN or an Infinity, which JSON does not know"
    is_whole = end_of(body).rstrip().endswith((b"}", b"]"))
    return "malformed JSON" if is_whole else "JSON that was cut short on its way"


def _usual_page(body: bytes) -> _PageRead | None:
    """Read a page with nothing odd about it; None: there may be."""
    try:
        usual = schema.USUAL_PAGE.decode(body)
    except schema.UNREADABLE:
        return None
    if (usual.status is UNSET) is not (usual.content is UNSET):
        return None
    page = usual if usual.content is UNSET else usual.content
    return page, page.items or page.items_capital or (), 0


def _odd_page(content: memoryview) -> _PageRead:
    """Read a page with what can be kept of each field and item."""
    page, wrong = _by_field(content, schema.PageBody[Raw], "a page")
    if wrong := [name for name in wrong if name in {"items", "total"}]:
        raise DecodeError(f"a page with a field of the wrong type: {', '.join(wrong)}")
    raws = page.items or page.items_capital or ()
    rows, bad = schema.salvage(raws, schema.PAGE_ROW, schema.PageRow, items.bare_item)
    return page, rows, bad


def _usual_results(body: bytes) -> tuple[Iterable[schema.Row], int] | None:
    """Read results with nothing odd about them; None: there may be."""
    try:
        usual = schema.USUAL_RESULTS.decode(body)
    except schema.UNREADABLE:
        return None
    return (usual.content if isinstance(usual, schema.Success) else usual), 0


def _odd_results(content: memoryview) -> tuple[Iterable[schema.Row], int]:
    """Read results with what can be kept of each field and row; the number of those that were odd."""
    if bytes(content[:4]) == b"null":
        return (), 0
    if bytes(content[:1]) == b"[":
        return schema.salvage(schema.RAWS.decode(content), schema.ROW, schema.Row, items.known_host)
    return _single_row(content)


def _single_row(content: memoryview) -> tuple[list[schema.Row], int]:
    rows, bad = schema.salvage([content], schema.ROW, schema.Row, items.known_host)
    if not any(items.known_host(row) for row in rows):
        raise DecodeError("JSON without host rows instead of results", _WRONG_ADDRESS)
    return rows, bad


def _by_field(content: memoryview, kind: type[S], what: str) -> tuple[S, list[str]]:
    read = schema.by_field(content, kind)
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


def _total(page: schema.PageBody[Any], size: int) -> int:
    """Tell how many records there are; refuse pages that do not say, or are smaller than asked.

    A platform that caps the page size would else be read with gaps. A short last page is no cap: there the
    number of pages agrees with the size that was asked.
    """
    total = schema.first(page.total, page.total_capital)
    if total is None:
        if page.items is UNSET and page.items_capital is UNSET:
            raise DecodeError("JSON without list and totalCount instead of a page", _WRONG_ADDRESS)
        raise DecodeError(
            "a page without totalCount", "new records cannot be found without it; does a proxy drop it?"
        )
    if not 0 <= total < fields.MAX_NUMBER:
        raise DecodeError("a page whose totalCount counts nothing")
    count = schema.first(page.count, page.count_capital)
    given = schema.first(page.size, page.size_capital)
    if given and size > given > 0 and count == -(-total // given) != -(-total // size):
        raise DecodeError(
            f"pages of {given} records where {size} were asked", f"set api.page-size to {given}"
        )
    return total
