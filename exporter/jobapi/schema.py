"""The shapes of the job API's JSON in both dialects, and how to read what does not fit them.

Only what is needed is named: msgspec skips every other field without making an object of it.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
BOM = b"\xef\xbb\xbf"  # a byte order mark: RFC 8259 lets a parser ignore it

Id = str | int | None  # some platforms write ids as numbers
Time = str | int | float | None

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


class Envelope(Struct, gc=False):
    """What every observed answer is wrapped in; the ids tell a bare host row, which has a status too."""

    status: Raw = Raw()
    message: Raw = Raw()
    content: Raw = Raw()
    record_id: Raw = field(default=Raw(), name="recordId")
    host_id: Raw = field(default=Raw(), name="hostId")
    host_ip: Raw = field(default=Raw(), name="hostIp")


class Item(Struct, gc=False):
    """A record of either dialect, or a host row of a page; every field may be missing."""

    record_id: Id = field(default=None, name="recordId")
    id: Id = None
    start_time: Time = None
    start_time_camel: Time = field(default=None, name="startTime")
    end_time: Time = None
    end_time_camel: Time = field(default=None, name="endTime")
    execute_status: str | None = None
    execute_status_camel: str | None = field(default=None, name="executeStatus")
    result_status: str | None = None
    result_status_camel: str | None = field(default=None, name="resultStatus")
    hosts: str | list[str | int] | None = None
    provider: str | None = None
    script_type: str | None = None
    script_type_camel: str | None = field(default=None, name="scriptType")
    timeout: int | None = None


class PageRow(Item, gc=False):
    """An item of a page: where it is a host row, what that tells of its host."""

    host_id: Id = field(default=None, name="hostId")
    host_ip: Id = field(default=None, name="hostIp")
    entity_id: Id = field(default=None, name="entityId")
    status: str | None = None
    idc: str | None = field(default=None, name="idcName")


class Row(Struct, gc=False):
    """A host row of the results."""

    host_id: Id = field(default=None, name="hostId")
    host_ip: Id = field(default=None, name="hostIp")
    entity_id: Id = field(default=None, name="entityId")
    status: str | None = None
    idc: str | None = field(default=None, name="idcName")


class PageBody(Struct, Generic[T]):
    """A page of either spelling."""

    items: list[T] | UnsetType | None = field(default=UNSET, name="list")
    items_capital: list[T] | UnsetType | None = field(default=UNSET, name="List")
    total: int | None = field(default=None, name="totalCount")
    total_capital: int | None = field(default=None, name="TotalCount")
    count: int | None = field(default=None, name="pageCount")
    count_capital: int | None = field(default=None, name="PageCount")
    size: int | None = field(default=None, name="pageSize")
    size_capital: int | None = field(default=None, name="PageSize")


class UsualPage(PageBody[PageRow]):
    """The usual page of either dialect, read in a single pass: its fields, or those within an envelope."""

    status: Literal["success"] | UnsetType = UNSET
    content: PageBody[PageRow] | UnsetType = UNSET


class Success(Struct):
    """The usual answer of the results, read in a single pass."""

    status: Literal["success"]
    content: list[Row]


# The fields that are read. A message only of an error, whose body is never large: rows have one, too.
NEEDED = frozenset(
    field.encode_name
    for schema in (Envelope, PageRow, Row, PageBody, Success)
    for field in msgspec.structs.fields(schema)
) - {"message"}

ENVELOPE = msgspec.json.Decoder(Envelope)
_TEXT = msgspec.json.Decoder(str)
RAW = msgspec.json.Decoder(Raw)
RAWS = msgspec.json.Decoder(list[Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
ITEM = msgspec.json.Decoder(Item)
PAGE_ROW = msgspec.json.Decoder(PageRow)
ROW = msgspec.json.Decoder(Row)
USUAL_PAGE = msgspec.json.Decoder(UsualPage)
USUAL_RESULTS = msgspec.json.Decoder(Success | list[Row])


_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"  # the first half of a pair of escapes
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))


def mended(body: bytes) -> bytes:
    """Replace lone surrogates (half an emoji) by U+FFFD; they are valid JSON, but no text.

    JSON has no raw NUL, so two of them may stand for an escaped backslash meanwhile.
    """
    if b"\0" in body:
        return body
    return _LONE.sub(rb"\\ufffd", body.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")


def first(one: T | None, other: T | None) -> T | None:
    """Give the value of a field that has two spellings."""
    return one if one is not None else other


def text(raw: Raw) -> str | None:
    """Return the string, or None for anything else."""
    try:
        return _TEXT.decode(raw)
    except UNREADABLE:
        return None


def by_field(content: memoryview | Raw, schema: type[S]) -> tuple[S, list[str]] | None:
    """Read an object field by field: what does not fit is not given, and its name is returned.

    None: there is no object to read.
    """
    try:
        given = _OBJECT.decode(content)
    except UNREADABLE:
        return None
    values: dict[str, Any] = {}
    wrong: dict[str, None] = {}
    for name, key, decoder in _decoders(schema):
        if key in given:
            try:
                values[name] = decoder.decode(given[key])
            except UNREADABLE:
                wrong[name.removesuffix("_camel").removesuffix("_capital")] = None
    return schema(**values), list(wrong)


@lru_cache(maxsize=8)  # a few schemas, each built once
def _decoders(schema: type[Struct]) -> list[tuple[str, str, msgspec.json.Decoder[Any]]]:
    return [(f.name, f.encode_name, msgspec.json.Decoder(f.type)) for f in msgspec.structs.fields(schema)]


def salvage(
    raws: Iterable[Raw | memoryview],
    decoder: msgspec.json.Decoder[S],
    schema: type[S],
    rest: Callable[[S], S | None],
) -> tuple[list[S], int]:
    """Read items one by one; `rest` makes of one with a field of the wrong type what can be kept of it.

    Returns the items and how many had such a field or were no objects.
    """
    items: list[S] = []
    bad = 0
    for raw in raws:
        try:
            items.append(decoder.decode(raw))
        except UNREADABLE:
            bad += 1
            read = by_field(raw, schema)
            kept = rest(read[0]) if read else None
            if kept is not None:
                items.append(kept)
    return items, bad
