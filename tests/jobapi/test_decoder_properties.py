"""Whatever comes over the wire: only the documented errors come out, and what is read keeps its bounds."""

import json
from datetime import UTC
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exporter.jobapi import decoder
from exporter.jobapi.errors import NotUnderstoodError
from exporter.model import Page, Record, Results
from tests.harness.recorded import recordings

BODIES = [recording.body for recording in recordings().values() if recording.status == 200]
KEYS = [
    *("status", "message", "content", "list", "List", "totalCount", "TotalCount", "pageCount", "pageSize"),
    *("id", "recordId", "hostId", "hostIp", "idcName", "start_time", "startTime", "end_time", "endTime"),
    *("execute_status", "executeStatus", "result_status", "resultStatus", "hosts", "timeout", "provider"),
]
SPLICES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"-",
    b"\\u0000",
    b"\\ud800",
    b"\\udfff",
    b"\xef\xbb\xbf",
    b"\xff",
    b"<",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=80)
    | st.sampled_from(
        ["success", "error", "done", "cancelled", "2026-11-23T08:00:00Z", "null", "[]", '["a"]', "a,b"]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=25,
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A recorded body with up to five pieces cut out, doubled, or replaced."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        piece = draw(st.sampled_from(SPLICES) | st.binary(max_size=4) | st.just(body[start:end] * 2))
        body = body[:start] + piece + body[end:]
    return body


def read_everywhere(body: bytes) -> None:
    for decode in (_page, _record, _results):
        try:
            value = decode(body)
        except (NotUnderstoodError, decoder.PlatformError) as error:
            said = decoder.one_line(str(error))
        else:
            check(value)
            continue
        assert 1 <= len(said) <= 200
        assert said.isprintable()


def check(value: Page | Record | Results) -> None:
    if isinstance(value, Page):
        ids = [item.id for item in value.items]
        assert len(ids) == len(set(ids))
        assert value.total is not None
        assert value.total >= 0
        for item in value.items:
            assert 1 <= len(item.id) <= 64
            assert item.record is None or item.record.id == item.id
    elif isinstance(value, Record):
        assert 1 <= len(value.id) <= 64
        assert value.timeout is None or value.timeout > 0
        assert 1 <= len(value.provider) <= 128
        assert 1 <= len(value.script_type) <= 128
    else:
        for row in value.rows:
            assert row.host_id
            assert row.host_id == row.names[0]
            assert 1 <= len(row.idc) <= 128


def _page(body: bytes) -> Page:
    return decoder.decode_page(body, number=1, size=20, zone=UTC)


def _record(body: bytes) -> Record:
    return decoder.decode_record(body, zone=UTC)


def _results(body: bytes) -> Results:
    return decoder.decode_results(body)


@given(mutations())
def test_mutated_recordings_give_only_the_documented_errors(body: bytes) -> None:
    """A broken answer is a NotUnderstoodError or a PlatformError, or is read within bounds."""
    read_everywhere(body)


@given(values)
def test_any_json_of_known_keys_gives_only_the_documented_errors(value: Any) -> None:
    """Known keys with values of any type never raise anything else."""
    read_everywhere(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_only_the_documented_errors(body: bytes) -> None:
    """Bytes that are no JSON never raise anything else."""
    read_everywhere(body)


# JSON as other programs write it: half an emoji, control characters escaped, numbers in any notation.
ODD = st.sampled_from(
    [
        rb'"\ud83d"',
        rb'"\\\udc00"',
        b'"\xff"',
        b"7",
        b"-0",
        b"1e400",
        b"[]",
        b"{}",
        b'"\xf0\x9f\x98\x80"',
        b"null",
    ]
)


@given(st.lists(st.tuples(st.sampled_from("abc"), scalars, ODD), max_size=12), st.booleans())
def test_one_bad_row_never_costs_another(rows: list[tuple[str, Any, bytes]], has_mark: bool) -> None:
    """A row is read alike alone and among others, in either dialect, with or without a byte order mark."""
    objects = [
        b'{"hostId":"%b","status":%b,"idcName":"x","stdout":%b,"entityId":%b}'
        % (host.encode(), json.dumps(status).encode(), odd if odd[:1] == b'"' else b'"x"', odd)
        for host, status, odd in rows
    ]
    alone = [row for one in objects for row in _results(b"[%b]" % one).rows]
    array = b"[%b]" % b",".join(objects)
    for body in (array, b'{"status":"success","content":%b}' % array):
        assert list(_results((b"\xef\xbb\xbf" if has_mark else b"") + body).rows) == alone
    assert len(alone) == len(rows)


@given(st.lists(st.tuples(st.sampled_from("abc"), ODD), max_size=8))
def test_one_bad_item_never_costs_another(items: list[tuple[str, bytes]]) -> None:
    """Each item of a page gives its id, whatever its other fields are."""
    objects = [
        b'{"recordId":"%b","startTime":%b,"provider":%b}' % (name.encode(), odd, odd) for name, odd in items
    ]
    page = _page(b'{"totalCount":8,"list":[%b]}' % b",".join(objects))
    assert {item.id for item in page.items} == {name for name, _ in items}
