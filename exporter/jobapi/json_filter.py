"""Large bodies as they come: what nobody reads is left out, the rest is small JSON of the same shape. PURE.

The content of a string that is the value of a key which `schema` does not name (stdout, stderr, script) is
left out, whatever its length, and nothing of it is held. Numbers, lists, objects and short strings stay:
they cost little. What remains decodes to the same values, or to the same error:

- What is left out is checked as the decoder would. Where it is malformed its string stays open, and a NUL
  and the end of the body follow: the decoder then fails as it would on the whole.
- Where a piece has escaped quotes, these and escaped backslashes are masked first: every quote then begins
  or ends a string. Outside of strings JSON has no backslash; after one it no longer matters what is masked.
"""

import re
from contextlib import suppress

from exporter.jobapi import schema

WHOLE = 4 << 20  # bytes; pages are asked for as large, and to sieve and decode takes up to thrice the time
SHORT = 64  # bytes; to leave out a shorter string costs more than to keep it

END = 16  # bytes that tell how a body ends: a bracket, and some white space
_SPACE = rb"[ \t\n\r]*+"
# A key with an escape may spell any name: its value stays, too.
_NEEDED = rb'(?:%s|[^"\\]*+\\[^"]*+)"' % b"|".join(re.escape(name).encode() for name in sorted(schema.NEEDED))
_PARTS = {b"needed": _NEEDED, b"space": _SPACE, b"short": SHORT}
# All up to a string to be left out (then group 1 ends within its quotes), or to what is cut by the end. The
# group that repeats is greedy, not possessive: before 3.11.5 Python mistakes what such a group matches.
_KEPT = re.compile(
    rb"""(?:[^"]++
    | "%(needed)s%(space)s:%(space)s"[^"]*+"
    | "[^"]*+"%(space)s(?:(?=[,}\]]) | :%(space)s(?:(?=[^" \t\n\r]) | "[^"]{0,%(short)d}"))
    )*("(?!%(needed)s)[^"]*+"%(space)s:%(space)s")?"""
    % _PARTS,
    re.VERBOSE,
)
_CUT = re.compile(rb'"[^"]*+(?:"%(space)s(?::%(space)s(?:"[^"]*+)?)?)?' % _PARTS)
# What the end cuts of an escape, or of a pair of them.
_CUT_ESCAPE = re.compile(rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z")
_MAX_CUT_ESCAPE = 11  # bytes


class Body:
    """A body on its way: a small one as it is, of a large one what the sieve keeps."""

    def __init__(self, *, whole: int = WHOLE) -> None:
        """Keep all of a body of at most `whole` bytes."""
        self._whole = whole
        self._sieve: Sieve | None = None
        self._kept: list[bytes] = []
        self._size = 0  # of what is kept
        self.received = 0  # bytes

    @property
    def held(self) -> int:
        """Bytes that are in memory."""
        return self._size + (self._sieve.held if self._sieve else 0)

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.received += len(piece)
        if self._sieve is None and self.received > self._whole:
            self._sieve = Sieve()
            earlier, self._kept, self._size = self._kept, [], 0
            for one in earlier:
                self._keep(self._sieve.feed(one))
        self._keep(self._sieve.feed(piece) if self._sieve else piece)

    def content(self) -> bytes:
        """Join what is kept, once all was added."""
        return b"".join([*self._kept, self._sieve.finish()] if self._sieve else self._kept)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if piece:
            self._kept.append(piece)


class Sieve:
    """Takes a body piece by piece, in their order, and gives what is kept; then `finish`."""

    def __init__(self) -> None:
        self._held = bytearray()  # cut by the end of the last piece
        self._enough = 0  # bytes; a long string is not tried again with each piece
        self._dropping = False  # within a string that is left out
        self._is_broken = False  # malformed: what follows no longer matters
        self._end = b""  # of the body, as far as it has come

    @property
    def held(self) -> int:
        """Bytes that the next piece decides on."""
        return len(self._held)

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; what is kept, of those before too."""
        self._end = end_of(self._end + piece[-END:])
        if self._is_broken:
            return b""
        self._held += piece
        if len(self._held) < self._enough:
            return b""
        data = bytes(self._held)
        masked = _masked(data) if b'"' in data and rb"\"" in data else data
        kept: list[bytes] = []
        end = self._sift(data, masked, kept)
        self._held = bytearray() if self._is_broken else bytearray(data[end:])
        self._enough = 0 if self._dropping else 2 * len(self._held)
        return b"".join(kept)

    def finish(self) -> bytes:
        """Give the rest, when there is no next piece."""
        return b"\0" + self._end if self._dropping or self._is_broken else bytes(self._held)

    def _sift(self, data: bytes, masked: bytes, kept: list[bytes]) -> int:
        """Add what is to be kept; where the part begins that the end cuts."""
        at = self._drop(masked, 0, kept) if self._dropping else 0
        while not self._dropping and (match := _KEPT.match(masked, at)):
            kept.append(data[at : match.end()])
            at = match.end()
            if match[1] is None:
                if at < len(masked) and not _CUT.fullmatch(masked, at):
                    kept.append(data[at:])  # what is wrong with it the decoder is to see
                    self._is_broken = True
                break
            at = self._drop(masked, at, kept)
        return at

    def _drop(self, masked: bytes, at: int, kept: list[bytes]) -> int:
        """Leave out a string, or as much of it as is there; where to go on."""
        end = masked.find(b'"', at)
        self._dropping = end < 0
        if self._dropping:
            end = _uncut(masked, at)
        if not _is_string(masked, at, end):
            self._dropping = self._is_broken = True
        if self._dropping:
            return end
        kept.append(b'"')
        return end + 1


def end_of(body: bytes) -> bytes:
    """The last bytes of a body."""
    return body[-END:]


def _is_string(masked: bytes, at: int, end: int) -> bool:
    """Whether the decoder would read this piece between quotes."""
    piece = memoryview(masked)[at:end]
    with suppress(*schema.UNREADABLE):
        schema.RAW.decode(b"".join((b'"', piece, b'"')))
        return True
    with suppress(*schema.UNREADABLE):
        schema.RAW.decode(b"".join((b'"', schema.mended(bytes(piece)), b'"')))
        return True
    return False


def _masked(data: bytes) -> bytes:
    """Escaped quotes and backslashes made plain."""
    return data.replace(rb"\\", b"..").replace(rb"\"", b"..")


def _uncut(data: bytes, at: int) -> int:
    """Where, in a string that begins by `at` and goes on beyond the end, an escape begins that is cut."""
    last = max(at, len(data) - _MAX_CUT_ESCAPE)
    start = at + len(data[at:last].rstrip(b"\\"))  # not between a backslash and what it escapes
    cut = _CUT_ESCAPE.search(data[start:].replace(rb"\\", b".."), last - start)
    return start + cut.start() if cut else len(data)
