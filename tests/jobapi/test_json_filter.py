"""The sieve: whatever the body and however it is cut, what is kept decodes to what the whole would."""

import json
from collections.abc import Iterable
from datetime import UTC
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.jobapi import decoder as wire
from exporter.jobapi import schema
from exporter.jobapi.json_filter import SHORT, Body, Sieve
from tests.jobapi.test_decoder_properties import BODIES, KEYS, mutations

LONG = SHORT * 2
OUTPUTS = ["stdout", "stderr", "script", "message", "a:b", 'q"', "back\\", ": ", "ho\\u0073ts"]
DECODERS = (
    lambda body: wire.decode_page(body, number=1, size=20, zone=UTC),
    lambda body: wire.decode_record(body, zone=UTC),
    lambda body: wire.decode_results(body, zone=UTC),
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
    """JSON in one of its spellings, whole or with a piece replaced."""
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


def sieved(body: bytes, at: Iterable[int]) -> bytes:
    """What is kept of a body that comes in pieces."""
    whole = Body(whole=0)
    start = 0
    for end in sorted({cut for cut in at if cut < len(body)} | {len(body)}):
        whole.add(body[start:end])
        start = end
    assert whole.received == len(body)
    return whole.content()


def outcomes(body: bytes) -> list[Any]:
    """What each decoder makes of it: a value, or an error. Long messages of errors are not kept."""
    seen: list[Any] = []
    for decode in DECODERS:
        try:
            seen.append(decode(body))
        except wire.DecodeError as error:
            seen.append(str(error))
        except wire.PlatformError:
            seen.append(wire.PlatformError)
    return seen


@given(bodies() | mutations() | st.sampled_from(BODIES), cuts)
@example(b'{"id":"a","stdout":"\\ud83d\\ude00\\\\"}', list(range(99)))
def test_what_is_kept_decodes_as_the_whole(body: bytes, at: list[int]) -> None:
    """Any body, cut anywhere, sieved or not: the same value, or the same error."""
    assert outcomes(sieved(body, at)) == outcomes(body)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_string_ends_where_json_says(trap: str) -> None:
    """Outputs full of quotes, backslashes and escapes are left out, wherever they are cut; the rest stays."""
    output = trap * (LONG // len(trap))
    row = {"hostId": "a" * LONG, "stdout": output, "idcName": trap, "status": "success"}
    for ascii_only in (True, False):
        body = json.dumps([row, row], ensure_ascii=ascii_only).encode()
        left = [{**row, "stdout": ""}] * 2
        for cut in range(len(body)):
            assert json.loads(sieved(body, [cut])) == left
        assert json.loads(sieved(body, range(len(body)))) == left


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(rb"\q", id="an unknown escape"),
        pytest.param(b"\x01", id="a control character"),
        pytest.param(rb"\u12g4", id="no hexadecimal digit"),
        pytest.param(b"\\" * 5, id="the end is escaped"),
    ],
)
def test_what_is_left_out_is_checked(output: bytes) -> None:
    """A body that is malformed where nobody reads is malformed, wherever it is cut."""
    body = b'{"id":"a","stdout":"%b%b"}' % (b"x" * LONG, output)
    with pytest.raises(wire.DecodeError) as whole:
        wire.decode_record(body, zone=UTC)
    for cut in range(len(body)):
        with pytest.raises(wire.DecodeError, match=str(whole.value)):
            wire.decode_record(sieved(body, [cut]), zone=UTC)


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00", rb"\ud83d\u0041", rb"\ud83d\ud83d", rb"\\\ud83d"])
def test_half_an_emoji_in_an_output_costs_nothing(half: bytes) -> None:
    """An output that was cut by its length ends so; the rest of the body is read, wherever that is cut."""
    body = b'{"id":"a","stdout":"%b%b","provider":"ssh"}' % (b"x" * LONG, half)
    for cut in range(len(body)):
        read = wire.decode_record(sieved(body, [cut]), zone=UTC)
        assert (read.id, read.provider) == ("a", "ssh")


def test_what_is_left_out_is_not_held() -> None:
    """An output of many megabytes passes through in the memory of a piece of it."""
    body = Body(whole=1000)
    body.add(b'{"id":"a","stdout":"')
    for _ in range(1000):
        body.add(b'ok \\"\\ud83d\\ude00\\\\' * 500)
        assert body.held < 100
    body.add(b'","provider":"ssh"}')
    assert wire.decode_record(body.content(), zone=UTC).provider == "ssh"
    assert body.received > 9_000_000


def test_after_what_is_no_json_nothing_is_kept() -> None:
    """A malformed body that goes on for ever fills no memory."""
    for broken in (b'"a" "b"', b'{"stdout":"%b\\q' % (b"x" * LONG)):
        sieve = Sieve()
        sieve.feed(broken)
        assert [sieve.feed(b'{"id":"a"}'), sieve.held] == [b"", 0]
        assert len(sieve.finish()) < 20


def test_a_small_body_is_kept_as_it_is() -> None:
    """Up to its limit a body is not looked at; one byte more, and all of it is sieved."""
    text = b'{"id":"a","script":"%b"}' % (b"x" * LONG)
    small, large = Body(whole=len(text)), Body(whole=len(text) - 1)
    for piece in (text[:60], text[60:]):
        small.add(piece)
        large.add(piece)
    assert (small.content(), small.held) == (text, len(text))
    assert (large.content(), large.held) == (b'{"id":"a","script":""}', 22)


def test_a_long_text_that_is_read_is_tried_only_as_it_doubles() -> None:
    """A list of hosts that fills many pieces costs time by its length, not by its square."""

    class Counting(Sieve):
        tries = 0

        def _sift(self, *args: Any) -> int:
            self.tries += 1
            return super()._sift(*args)

    hosts = b"a," * 500_000
    sieve = Counting()
    kept = sieve.feed(b'{"id":"a","hosts":"')
    for start in range(0, len(hosts), 1000):
        kept += sieve.feed(hosts[start : start + 1000])
    assert kept == b'{"id":"a",'
    assert sieve.held > len(hosts)
    assert sieve.tries < 20
    assert kept + sieve.feed(b'"}') + sieve.finish() == b'{"id":"a","hosts":"%b"}' % hosts


def test_every_field_that_is_read_is_needed() -> None:
    """What a decoder names is kept, whatever its length; a message only of an error, which is never long."""
    assert {"hosts", "recordId", "hostId", "idcName", "status", "List", "TotalCount"} <= schema.NEEDED
    assert not schema.NEEDED & {"stdout", "stderr", "script", "parameters", "message"}
