"""The shapes of the job API's JSON in both dialects.

Only fields that are used are named: msgspec skips all others without making objects of them. `items` checks
the types of most fields, because a field of the wrong type must cost only itself.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

BOM = b"\xef\xbb\xbf"  # a byte order mark; RFC 8259 lets a parser ignore it

Scalar = str | int | float | bool | None
Other = Scalar | list[Any]  # JSON that is no object


class Item(Struct, gc=False):
    """A record in either dialect, or a host row of a page; every field may be missing."""

    record_id: Any = field(default=None, name="recordId")
    id: Any = None
    start_time: Any = None
    start_time_camel: Any = field(default=None, name="startTime")
    end_time: Any = None
    end_time_camel: Any = field(default=None, name="endTime")
    execute_status: Any = None
    execute_status_camel: Any = field(default=None, name="executeStatus")
    result_status: Any = None
    result_status_camel: Any = field(default=None, name="resultStatus")
    hosts: Any = None
    provider: Any = None
    script_type: Any = None
    script_type_camel: Any = field(default=None, name="scriptType")
    timeout: Any = None

    def __post_init__(self) -> None:
        """Take the observed spelling of what the documented one leaves out."""
        self.start_time = _first(self.start_time, self.start_time_camel)
        self.end_time = _first(self.end_time, self.end_time_camel)
        self.execute_status = _first(self.execute_status, self.execute_status_camel)
        self.result_status = _first(self.result_status, self.result_status_camel)
        self.script_type = _first(self.script_type, self.script_type_camel)


class Row(Struct, gc=False):
    """A host row of the results."""

    host_id: Any = field(default=None, name="hostId")
    host_ip: Any = field(default=None, name="hostIp")
    entity_id: Any = field(default=None, name="entityId")
    status: Any = None
    idc: Any = field(default=None, name="idcName")


class PageBody(Struct):
    """A page in either spelling."""

    items: list[Item | Other] | None = field(default=None, name="list")
    items_capital: list[Item | Other] | None = field(default=None, name="List")
    total: int | None = field(default=None, name="totalCount")
    total_capital: int | None = field(default=None, name="TotalCount")
    count: Any = field(default=None, name="pageCount")
    count_capital: Any = field(default=None, name="PageCount")
    size: Any = field(default=None, name="pageSize")
    size_capital: Any = field(default=None, name="PageSize")

    def __post_init__(self) -> None:
        """Take the observed spelling of what the documented one leaves out."""
        self.items = _first(self.items, self.items_capital)
        self.total = _first(self.total, self.total_capital)
        self.count = _first(self.count, self.count_capital)
        self.size = _first(self.size, self.size_capital)


# A response is decoded in one pass: the value's fields are here (documented), or in `content` (observed). To
# look for the content first would take 1.6 times the CPU for the results of 1,000 hosts, and decoding is a
# third of what such a record costs.
class PageAnswer(PageBody):
    """A page, or an envelope around one."""

    status: Any = None
    message: Any = None
    content: PageBody | Other | UnsetType = UNSET


class RecordAnswer(Item):
    """A record, or an envelope around one."""

    status: Any = None
    message: Any = None
    content: Item | Other | UnsetType = UNSET


class ResultsAnswer(Row):
    """One host row, or an envelope around one or several."""

    message: Any = None
    content: list[Row | Other] | Row | Scalar | UnsetType = UNSET


# The names of all fields that are read. `message` is left out: only that of an error is read, whose body is
# never large, and every host row has one too.
NEEDED = frozenset(
    field.encode_name
    for schema in (PageAnswer, RecordAnswer, ResultsAnswer)
    for field in msgspec.structs.fields(schema)
) - {"message"}

# `float_hook`: a number such as 1e999, which no float can hold, becomes infinite instead of an error.
PAGE = msgspec.json.Decoder[Any](PageAnswer | Other, float_hook=float)
RECORD = msgspec.json.Decoder[Any](RecordAnswer | Other, float_hook=float)
RESULTS = msgspec.json.Decoder[Any](list[Row | Other] | ResultsAnswer | Scalar, float_hook=float)

_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"  # the first half of a surrogate pair
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))


def mended(body: bytes) -> bytes:
    """Replace lone surrogates (half an emoji) and what is not UTF-8 by U+FFFD.

    Escaped backslashes are replaced by two NULs meanwhile, which JSON cannot contain.
    """
    body = body.decode(errors="replace").encode()
    if b"\0" in body:
        return body
    return _LONE.sub(rb"\\ufffd", body.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")


def _first(one: Any, other: Any) -> Any:
    return one if one is not None else other
