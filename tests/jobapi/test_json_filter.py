"""The filter of large bodies: what it keeps decodes to the same values, wherever the body is cut."""

import json
from collections.abc import Iterable
from datetime import UTC
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.jobapi import decoder as wire
from exporter.jobapi import schema
from exporter.jobapi.errors import NotUnderstoodError
from exporter.jobapi.json_filter import Body
from tests.jobapi.test_decoder_properties import BODIES, KEYS, mutations

LONG = 128
ENOUGH = 1 << 30
OUTPUTS = ["stdout", "stderr", "script", "message", "a:b", 'q"', "back\\", ": ", "ho\\u0073ts"]
DECODERS = (
    lambda body: wire.decode_page(body, number=1, size=20, zone=UTC),
    lambda body: wire.decode_record(body, zone=UTC),
    wire.decode_results,
)
# Each kind of character that a string can hold, at the end of it too, and a pair of surrogates.
TRAPS = ['"', "\\", '\\"', "\\\\", "\n", "é", "\U0001f600", '"stdout":"', "}", "x" * LONG]

texts = st.lists(st.sampled_from(TRAPS), max_size=12).map("".join) | st.text(max_size=LONG)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["success", "error", "done"]) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, *OUTPUTS]) | texts, inner, max_size=8)
    ),
    max_leaves=25,
)
cuts = st.lists(st.integers(0, 2000), max_size=8) | st.just(list(range(2000)))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON in one of its notations, whole or with a piece replaced."""
    value = draw(values)
    if draw(st.booleans()):
        value = {"status": "success", "message": "", "content": value}
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    body = text.replace("hosts", draw(st.sampled_from(["hosts", "h\\u006fsts"]))).encode()
    if draw(st.booleans()):
        return body
    start = draw(st.integers(0, len(body)))
    piece = draw(st.sampled_from([b"\\", b'"', b"\\u12", b"\\ud83d", b"\\q", b"\x01", b":", b""]))
    return body[:start] + piece + body[start + draw(st.integers(0, 9)) :]


def filtered(body: bytes, at: Iterable[int]) -> bytes:
    """The part that is kept of a body that comes in pieces."""
    whole = Body(limit=ENOUGH, whole=0)
    start = 0
    for end in sorted({cut for cut in at if cut < len(body)} | {len(body)}):
        whole.add(body[start:end])
        start = end
    assert whole.received == len(body)
    return whole.content()


def outcomes(body: bytes) -> list[Any]:
    """The value or the error of each decoder. Messages of errors are not kept."""
    seen: list[Any] = []
    for decode in DECODERS:
        try:
            seen.append(decode(body))
        except NotUnderstoodError:
            seen.append(NotUnderstoodError)
        except wire.PlatformError:
            seen.append(wire.PlatformError)
    return seen


@given(bodies() | mutations() | st.sampled_from(BODIES), cuts)
@example(b'{"id":"a","stdout":"\\ud83d\\ude00\\\\"}', list(range(99)))
def test_the_rest_decodes_as_the_whole(body: bytes, at: list[int]) -> None:
    """A readable body gives the same value with and without the filter, however it is cut."""
    for whole, rest in zip(outcomes(body), outcomes(filtered(body, at)), strict=True):
        assert rest == whole or whole is NotUnderstoodError


@given(bodies() | mutations(), cuts)
def test_cuts_make_no_difference(body: bytes, at: list[int]) -> None:
    """Any body, malformed ones too, gives the same in one piece and in many."""
    assert outcomes(filtered(body, at)) == outcomes(filtered(body, []))


@pytest.mark.parametrize("trap", TRAPS)
def test_a_string_ends_where_json_says(trap: str) -> None:
    """Outputs full of quotes, backslashes and escapes are dropped, wherever they are cut."""
    output = trap * (LONG // len(trap))
    row = {"hostId": "a" * LONG, "stdout": output, "idcName": trap, "status": "success"}
    for ascii_only in (True, False):
        body = json.dumps([row, row], ensure_ascii=ascii_only).encode()
        left = [{**row, "stdout": ""}] * 2
        for cut in range(len(body)):
            assert json.loads(filtered(body, [cut])) == left
        assert json.loads(filtered(body, range(len(body)))) == left


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(rb"\q", id="an unknown escape"),
        pytest.param(b"\x01", id="a control character"),
        pytest.param(rb"\u12g4", id="no hexadecimal digit"),
        pytest.param(rb"\ud83d", id="half an emoji"),
    ],
)
def test_dropped_text_may_be_malformed(output: bytes) -> None:
    """Malformed text in a dropped string does not make the body unreadable."""
    body = b'{"id":"a","stdout":"%b%b","provider":"ssh"}' % (b"x" * LONG, output)
    for cut in range(len(body)):
        read = wire.decode_record(filtered(body, [cut]), zone=UTC)
        assert (read.id, read.provider) == ("a", "ssh")


def test_a_body_cut_within_dropped_text_is_malformed() -> None:
    """A string that never ends makes the body unreadable, as without the filter."""
    body = b'{"id":"a","stdout":"%b' % (b"x" * LONG)
    for end in (b"", b"\\", b'\\"', b"\\" * 5 + b'"}'):
        for cut in range(len(body + end)):
            with pytest.raises(NotUnderstoodError):
                wire.decode_record(filtered(body + end, [cut]), zone=UTC)


def test_what_is_left_out_is_not_held() -> None:
    """An output of many megabytes takes no more memory than one piece."""
    body = Body(limit=ENOUGH, whole=1000)
    body.add(b'{"id":"a","stdout":"')
    for _ in range(1000):
        body.add(b'ok \\"\\ud83d\\ude00\\\\' * 500)
        assert body.held < 100
    body.add(b'","provider":"ssh"}')
    assert wire.decode_record(body.content(), zone=UTC).provider == "ssh"
    assert body.received > 9_000_000


def test_a_small_body_is_kept_as_it_is() -> None:
    """Up to its limit a body is not filtered; with one byte more, all of it is."""
    text = b'{"id":"a","script":"%b"}' % (b"x" * LONG)
    small, large = (Body(limit=ENOUGH, whole=len(text) - less) for less in (0, 1))
    for piece in (text[:60], text[60:]):
        small.add(piece)
        large.add(piece)
    assert (small.content(), small.held) == (text, len(text))
    assert (large.content(), large.held) == (b'{"id":"a","script":""}', 22)


def test_a_long_text_that_is_read_is_scanned_only_as_it_doubles() -> None:
    """A list of hosts in many pieces takes time linear in its length."""

    class Counting(Body):
        scans = 0

        def _scan(self) -> None:
            self.scans += 1
            super()._scan()

    hosts = b"a," * 500_000
    counting = Counting(limit=ENOUGH, whole=0)
    counting.add(b'{"id":"a","hosts":"')
    for start in range(0, len(hosts), 1000):
        counting.add(hosts[start : start + 1000])
    assert counting.held > len(hosts)
    assert counting.scans < 20
    counting.add(b'"}')
    assert counting.content() == b'{"id":"a","hosts":"%b"}' % hosts


@given(bodies(), cuts, st.integers(1, 200))
def test_the_limit_holds_for_what_is_kept(body: bytes, at: list[int], limit: int) -> None:
    """A body whose kept part is within the limit never exceeds it, however it is cut."""
    kept = len(filtered(body, []))
    whole, start, most = Body(limit=limit), 0, 0
    for end in sorted({cut for cut in at if cut < len(body)} | {len(body)}):
        whole.add(body[start:end])
        start, most = end, max(most, whole.held)
    assert (most > limit) <= (kept > limit)


def test_every_field_that_is_read_is_needed() -> None:
    """Fields that a decoder reads are kept, whatever their length, except messages."""
    assert {"hosts", "recordId", "hostId", "idcName", "status", "List", "TotalCount"} <= schema.NEEDED
    assert not schema.NEEDED & {"stdout", "stderr", "script", "parameters", "message"}
