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

    def __init__(self, *, limit: int, whole: int = WHOLE) -> None:
        """`limit`: bytes; `held` stays below while what is to be kept does."""
        self._limit = limit
        self._kept = bytearray()
        self._pending = bytearray()  # not scanned yet, or begins with a string whose end is missing
        self._wanted = min(whole, limit) + 1  # pending bytes to wait for before they are scanned
        self._is_dropping = False  # inside a string that is dropped
        self.received = 0  # bytes

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._kept) + len(self._pending)

    def add(self, piece: bytes) -> None:
        """Add the next bytes."""
        self.received += len(piece)
        self._pending += piece
        if len(self._pending) >= self._wanted or self.held > self._limit:
            self._scan()
            # A long string that is kept is not scanned again with each piece.
            self._wanted = 0 if self._is_dropping else 2 * len(self._pending)

    def content(self) -> bytes:
        """Return what was kept."""
        return b"".join((self._kept, self._pending))

    def _scan(self) -> None:
        """Move what is kept of the pending bytes."""
        data, self._pending = bytes(self._pending), bytearray()
        masked = data.replace(rb"\\", b"..").replace(rb"\"", b"..")
        escape = masked[-1:] if masked.endswith(b"\\") else b""  # that is cut
        start = position = 0
        if self._is_dropping:
            start = masked.find(b'"')
            if start < 0:
                self._pending += escape
                return
            position, self._is_dropping = start + 1, False
        for match in _STRING.finditer(masked, position):
            key, is_whole = match["key"], match["end"]
            if key and _is_unread(data[match.start() : match.end("key")]):
                self._kept += data[start : match.end("key") + 1]
                start = match.end() - len(is_whole)
                if not is_whole:
                    self._is_dropping = True
                    self._pending += escape
                    return
            elif match["cut"] or (key and not is_whole):
                self._kept += data[start : match.start()]
                self._pending += data[match.start() :]
                return
        self._kept += data[start:]


def _is_unread(key: bytes) -> bool:
    """Whether no decoder reads this key; with an escape in it, it could be any."""
    name = key.split(b'"', 2)[1]
    return name not in _NEEDED and b"\\" not in name
