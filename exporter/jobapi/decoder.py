"""Response bodies of the job API to values of the model, in both dialects, told apart per response.

A response is wrapped in an envelope (`{"status", "message", "content"}`, observed) or bare (documented). Keys
are snake_case, camelCase or, on pages, Capitalised.

Decisions where the API document leaves a choice (those on single items and rows are in `items`):

- `hosts` `"[]"` or `"null"`: no host is expected. `""` or absent: the platform does not say (None).
- A field of the wrong type counts as absent: its name goes into `unknown_fields` of a record, and a host row
  with one is counted in `bad_rows`. Only items without a readable id (`bad_items`) are lost.
- Ids may be numbers; they are read as text.
- NUL, lone surrogates and what is not UTF-8 are replaced; an id with them is unreadable. A byte order mark is
  ignored.
"""

from datetime import tzinfo
from typing import Any

import msgspec
from msgspec import UNSET

from exporter.jobapi import items, schema
from exporter.jobapi.errors import NotUnderstoodError
from exporter.logs import escaped
from exporter.model import Page, Record, Results

MAX_MESSAGE = 200  # characters of a platform's message: enough for the cause, without the SQL that follows


class PlatformError(Exception):
    """The platform answered HTTP 200 with status error; the text is its message as sent."""


def decode_page(body: bytes, *, number: int, size: int, zone: tzinfo) -> Page:
    """Read a response of `/api/v1/job/record/page`, requested with this `number` and `size`.

    `zone` is the time zone of times without an offset. Raises NotUnderstoodError or PlatformError.
    """
    page = _content(body, schema.PAGE)
    if not isinstance(page, schema.PageBody):
        raise NotUnderstoodError("JSON that is no object instead of a page")
    total = _total(page, size)
    folded, bad = items.page_items(page.items or (), zone)
    if folded and not total:
        raise NotUnderstoodError("a page of records whose totalCount is 0")
    return Page(number=number, size=size, total=total, items=folded, bad_items=bad)


def decode_record(body: bytes, *, zone: tzinfo, asked: str | None = None) -> Record:
    """Read a response of `/api/v1/job/record` for the id `asked`; `zone`, errors as in `decode_page`."""
    item = _content(body, schema.RECORD)
    if not isinstance(item, schema.Item):
        raise NotUnderstoodError("JSON that is no object instead of a record")
    record_id = items.id_of(item)
    if record_id is None:
        raise NotUnderstoodError("JSON without a readable id instead of a record")
    if asked not in {None, record_id}:
        raise NotUnderstoodError("a record with another id than requested")
    return items.record(item, record_id, zone)


def decode_results(body: bytes) -> Results:
    """Read a response of `/api/v1/job/record/result`: an array of host rows, or one row.

    Raises NotUnderstoodError or PlatformError.
    """
    content = _content(body, schema.RESULTS)
    if content is None:
        return Results(rows=())
    rows, bad = items.host_results(content if isinstance(content, list) else [content])
    if not rows and not isinstance(content, list):
        raise NotUnderstoodError("JSON without host rows instead of results")
    return Results(rows=rows, bad_rows=bad)


def one_line(text: str) -> str:
    """Cut a text of the platform to 200 characters, and escape what is not printable."""
    return escaped(text[:MAX_MESSAGE])[:MAX_MESSAGE]


def _content(body: bytes, shape: msgspec.json.Decoder[Any]) -> Any:
    """Decode a body and take off its envelope. Raises NotUnderstoodError or PlatformError."""
    answer = _decoded(body.removeprefix(schema.BOM), shape)
    if not isinstance(answer, schema.PageAnswer | schema.RecordAnswer | schema.ResultsAnswer):
        return answer
    status = answer.status.strip().lower() if isinstance(answer.status, str) else ""
    has_content = answer.content is not UNSET
    if has_content and status in {"", "success"}:
        return answer.content
    is_row = isinstance(answer, schema.Row) and (answer.host_id or answer.host_ip or answer.entity_id)
    if has_content or (status == "error" and not is_row):
        message = answer.message.strip() if isinstance(answer.message, str) else ""
        raise PlatformError(message or "an error without a message")
    return answer


def _decoded(body: bytes, shape: msgspec.json.Decoder[Any]) -> Any:
    try:
        try:
            return shape.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return shape.decode(schema.mended(body))
    except RecursionError:
        raise NotUnderstoodError("JSON that is nested too deep") from None
    except msgspec.ValidationError as error:
        raise NotUnderstoodError(f"a field of the wrong type: {error}") from None
    except msgspec.DecodeError as error:
        raise _malformed(body, error) from None


def _malformed(body: bytes, error: Exception) -> NotUnderstoodError:
    """Say what the body is instead of JSON."""
    head = body.lstrip(b" \t\r\n")[:1]
    if not head:
        return NotUnderstoodError("an empty body instead of JSON")
    if head == b"<":
        return NotUnderstoodError("HTML instead of JSON")
    if head not in b"{[":
        return NotUnderstoodError("text instead of JSON")
    if "truncated" in str(error):
        return NotUnderstoodError("JSON that was cut short")
    place = str(error).removeprefix("JSON is malformed: ")  # such as: invalid character (byte 14)
    return NotUnderstoodError(f"malformed JSON: {place}")


def _total(page: schema.PageBody, size: int) -> int:
    """Return the number of records. Refuse a page without it, and a page smaller than requested.

    A platform that caps the page size would be read with gaps. On a short last page, which is no cap, the
    number of pages agrees with the requested size.
    """
    total, given = page.total, page.size
    if total is None:
        if page.items is None:
            raise NotUnderstoodError("JSON without list and totalCount instead of a page")
        raise NotUnderstoodError("a page without totalCount", "check whether a proxy drops it")
    if not 0 <= total < items.MAX_NUMBER:
        raise NotUnderstoodError("a page whose totalCount is out of range")
    is_smaller = isinstance(given, int) and size > given > 0
    if is_smaller and page.count == -(-total // given) != -(-total // size):
        raise NotUnderstoodError(
            f"pages of {given} records where {size} were asked", f"set api.page-size to {given}"
        )
    return total
