"""The shapes of the job API's JSON in both dialects, and how to read an object that does not fit its shape.

Only fields that are used are named: msgspec skips all others without making objects of them.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
BOM = b"\xef\xbb\xbf"  # a byte order mark; RFC 8259 lets a parser ignore it

Id = str | int | None  # some platforms write ids as numbers
Time = str | int | float | None

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


class Envelope(Struct, gc=False):
    """The wrapping of every observed answer; the ids tell a bare host row, which also has a status."""

    status: Raw = Raw()
    message: Raw = Raw()
    content: Raw = Raw()
    record_id: Raw = field(default=Raw(), name="recordId")
    host_id: Raw = field(default=Raw(), name="hostId")
    host_ip: Raw = field(default=Raw(), name="hostIp")


class Item(Struct, gc=False):
    """A record in either dialect, or a host row of a page; every field may be missing."""

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

    @property
    def start(self) -> Time:
        """The start time in either spelling."""
        return self.start_time if self.start_time is not None else self.start_time_camel

    @property
    def end(self) -> Time:
        """The end time in either spelling."""
        return self.end_time if self.end_time is not None else self.end_time_camel


class Row(Struct, gc=False):
    """A host row of the results."""

    host_id: Id = field(default=None, name="hostId")
    host_ip: Id = field(default=None, name="hostIp")
    entity_id: Id = field(default=None, name="entityId")
    status: str | None = None
    idc: str | None = field(default=None, name="idcName")


class PageBody(Struct, Generic[T]):
    """A page in either spelling."""

    items: list[T] | UnsetType | None = field(default=UNSET, name="list")
    items_capital: list[T] | UnsetType | None = field(default=UNSET, name="List")
    total: int | None = field(default=None, name="totalCount")
    total_capital: int | None = field(default=None, name="TotalCount")
    count: int | None = field(default=None, name="pageCount")
    count_capital: int | None = field(default=None, name="PageCount")
    size: int | None = field(default=None, name="pageSize")
    size_capital: int | None = field(default=None, name="PageSize")


# The usual answers are read in one pass. To look for the content first would take 1.6 times the CPU for the
# results of 1,000 hosts, and decoding is a third of what such a record costs.
class UsualPage(PageBody[Item]):
    """A page in either dialect: its fields are here, or in `content` of an envelope."""

    status: Literal["success"] | UnsetType = UNSET
    content: PageBody[Item] | UnsetType = UNSET


class Success(Struct):
    """The results in an envelope."""

    status: Literal["success"]
    content: list[Row]


# The names of all fields that are read. `message` is left out: only that of an error is read, whose body is
# never large, and every host row has one too.
NEEDED = frozenset(
    field.encode_name
    for schema in (Envelope, Item, Row, PageBody)
    for field in msgspec.structs.fields(schema)
) - {"message"}

ENVELOPE = msgspec.json.Decoder(Envelope)
RAW = msgspec.json.Decoder(Raw)
RAWS = msgspec.json.Decoder(list[Raw])
ITEM = msgspec.json.Decoder(Item)
ROW = msgspec.json.Decoder(Row)
USUAL_PAGE = msgspec.json.Decoder(UsualPage)
USUAL_RESULTS = msgspec.json.Decoder(Success | list[Row])
_TEXT = msgspec.json.Decoder(str)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])

_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"  # the first half of a surrogate pair
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))


def mended(body: bytes) -> bytes:
    """Drop a byte order mark and replace lone surrogates (half an emoji) by U+FFFD.

    Escaped backslashes are replaced by two NULs meanwhile, which JSON cannot contain.
    """
    body = body.removeprefix(BOM)
    if b"\0" in body:
        return body
    return _LONE.sub(rb"\\ufffd", body.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")


def first(one: T | None, other: T | None) -> T | None:
    """Return the value of a field that has two spellings."""
    return one if one is not None else other


def text(raw: Raw) -> str | None:
    """Return the string, or None for anything else."""
    try:
        return _TEXT.decode(raw)
    except UNREADABLE:
        return None


def by_field(content: memoryview | Raw, schema: type[S]) -> tuple[S, list[str]] | None:
    """Read an object field by field: leave out what does not fit, and return the names of these fields.

    None: it is not an object.
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


@lru_cache
def _decoders(schema: type[Struct]) -> list[tuple[str, str, msgspec.json.Decoder[Any]]]:
    return [(f.name, f.encode_name, msgspec.json.Decoder(f.type)) for f in msgspec.structs.fields(schema)]


def salvage(
    raws: Iterable[Raw | memoryview],
    decoder: msgspec.json.Decoder[S],
    schema: type[S],
    rest: Callable[[S], S | None],
) -> tuple[list[S], int]:
    """Read items one by one; `rest` keeps what it can of an item with a field of the wrong type.

    Return the items, and how many had such a field or were not objects.
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
