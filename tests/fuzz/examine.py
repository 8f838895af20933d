"""What must hold of any body, in all three decoders, whole and as the filter leaves it."""

import time
import zlib
from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from exporter.jobapi import decoder
from exporter.jobapi.errors import NotUnderstoodError
from exporter.jobapi.json_filter import Body
from tests.jobapi.test_decoder_properties import check

ZONES = (UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=14)), timezone(-timedelta(hours=12)))
SECONDS = 1.0  # of CPU, for a body of 64 KB at most: the usual is a hundredth of a millisecond a KB

Decode = Callable[..., Any]
DECODERS: tuple[Decode, ...] = (
    lambda body, zone: decoder.decode_page(body, number=2, size=20, zone=zone),
    lambda body, zone: decoder.decode_record(body, zone=zone),
    lambda body, _zone: decoder.decode_results(body),
)


class FoundError(AssertionError):
    """A violated rule."""


def examine(body: bytes, decoders: tuple[Decode, ...] = DECODERS) -> None:
    """Decode a body with each decoder. Raises FoundError, or any undocumented error of the decoder."""
    chance = zlib.crc32(body)  # what is varied depends on the body alone, so that a finding can be repeated
    zone = ZONES[chance % len(ZONES)]
    kept = filtered(body, 1 + (chance >> 2) % 40)
    for decode in decoders:
        began = time.process_time()
        whole = outcome(decode, body, zone)
        if time.process_time() - began > SECONDS:
            raise FoundError(f"{len(body)} bytes took more than {SECONDS} s")
        rest = outcome(decode, kept, zone)
        if rest != whole and whole is not NotUnderstoodError:  # dropped text may be malformed
            raise FoundError("the filter changes the meaning of a body")


def outcome(decode: Decode, body: bytes, zone: Any) -> Any:
    """The checked value, or the kind of a documented error."""
    try:
        value = decode(body, zone)
    except NotUnderstoodError as error:
        said = str(error)
        if not (1 <= len(said) <= 200 and said.isprintable()):
            raise FoundError(f"an error that says {said!r}") from None
        return NotUnderstoodError
    except decoder.PlatformError as error:
        said = decoder.one_line(str(error))
        if not (1 <= len(said) <= 200 and said.isprintable()):
            raise FoundError(f"an error that says {said!r}") from None
        return decoder.PlatformError  # its kind depends on the message, which the filter may drop
    check(value)
    return value


def filtered(body: bytes, pieces: int) -> bytes:
    """The part that the filter keeps of a body that comes in so many pieces."""
    size = -(-len(body) // pieces) or 1
    kept = Body(limit=1 << 30, whole=0)
    for start in range(0, len(body), size):
        kept.add(body[start : start + size])
    return kept.content()
