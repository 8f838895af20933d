"""Leaves long texts that nobody reads out of a large response while it arrives. PURE.

Where the value of a key is a string, and `schema` does not name the key (stdout, stderr, script), the content
of the string is dropped and never held in memory. Everything else stays, so the rest decodes to the same
values. Dropped text is not checked: a malformed escape or control character in it no longer matters.

`make bench` measures the gain: reading a record of 1,000 hosts with 1 MB of stdout each takes 8 MB of memory.
"""

import re

from exporter.jobapi import schema

WHOLE = 4 << 20  # bytes; smaller responses, the usual pages, are not filtered: that would double their cost

_NEEDED = frozenset(name.encode() for name in schema.NEEDED)
# Applied with escapes masked, so that each quote begins or ends a string, and always from outside a string.
_STRING = re.compile(
    rb"""
      (?P<key>"[^"]*+"\s*+:\s*+)"[^"]*+(?P<end>"?)   # a key and its string; without `end` it is cut
    | "[^"]*+"(?=\s*+(?:[^\s:]|:\s*+[^\s"]))         # a string in a list, or a key with another value
    | (?P<cut>")                                     # cut by the end of the data
    """,
    re.VERBOSE,
)


class Body:
    """A response body while it arrives. Above `whole` bytes it is filtered."""

    def __init__(self, *, whole: int = WHOLE) -> None:
        self._whole = whole
        self._filter: Filter | None = None
        self._kept: list[bytes] = []
        self._kept_size = 0
        self.received = 0  # bytes

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._kept_size + (len(self._filter.pending) if self._filter else 0)

    def add(self, piece: bytes) -> None:
        """Add the next bytes."""
        self.received += len(piece)
        if self._filter is None and self.received > self._whole:
            self._filter = Filter()
            piece, self._kept = b"".join([*self._kept, piece]), []
            self._kept_size = 0
        kept = self._filter.feed(piece) if self._filter else piece
        self._kept.append(kept)
        self._kept_size += len(kept)

    def content(self) -> bytes:
        """Return what was kept."""
        return b"".join([*self._kept, self._filter.pending if self._filter else b""])


class Filter:
    """Takes a body piece by piece and returns what to keep; at the end `pending` is kept too."""

    def __init__(self) -> None:
        self.pending = b""  # begins with a string that the last piece did not end
        self._wanted = 0  # bytes to wait for, so that a long string is not scanned again with each piece
        self._dropping = False  # inside a string that is dropped

    def feed(self, piece: bytes) -> bytes:
        """Add the next bytes; return what to keep of all bytes not returned yet."""
        data = self.pending + piece
        if len(data) < self._wanted:
            self.pending = data
            return b""
        masked = data.replace(rb"\\", b"..").replace(rb"\"", b"..")
        kept = self._scan(data, masked)
        self._wanted = 0 if self._dropping else 2 * len(self.pending)
        return kept

    def _scan(self, data: bytes, masked: bytes) -> bytes:
        kept: list[bytes] = []
        start = position = 0
        self.pending = b""
        if self._dropping:
            start = masked.find(b'"')
            if start < 0:
                self.pending = masked[-1:] if masked.endswith(b"\\") else b""  # an escape that is cut
                return b""
            position, self._dropping = start + 1, False
        for match in _STRING.finditer(masked, position):
            key, is_whole = match["key"], match["end"]
            if key and _is_unread(data[match.start() : match.end("key")]):
                kept.append(data[start : match.end("key") + 1])
                start = match.end() - len(is_whole)
                if not is_whole:
                    self._dropping = True
                    self.pending = b"\\" if masked.endswith(b"\\") else b""
                    return b"".join(kept)
            elif match["cut"] or (key and not is_whole):
                self.pending = data[match.start() :]
                return b"".join([*kept, data[start : match.start()]])
        return b"".join([*kept, data[start:]])


def _is_unread(key: bytes) -> bool:
    """Whether no decoder reads this key; with an escape in it, it could be any."""
    name = key.split(b'"', 2)[1]
    return name not in _NEEDED and b"\\" not in name
