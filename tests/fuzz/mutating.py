"""Bodies made of recorded ones: broken as bytes, bent as JSON, put together from two, or blown up."""

import json
import random
from collections.abc import Callable
from typing import Any

from tests.jobapi.test_decoder_properties import BODIES, KEYS, SPLICES

LARGEST = 65_536  # bytes of a body that is blown up
WORDS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53, 2**64, -(2**63), 10**400, 0.5, 1e308, "", "x", "x" * 65, "x" * 500,
    "\0", "\ud83d", "\u2028", "null", "[]", '["a"]', '[["a"]]', "a,b", "success", "error", "DONE",
    "cancelled", "record not found", "invalid user", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59",
    "0001-01-02T00:00:00+23:59", "2026-10-25 02:30:00", "2026-11-23T08:00:00.999999999+08:00",
    "2026-W01-1T00", [], {}, [[]], [None], [{}], {"": ""},
)  # fmt: skip
NAMES = (*KEYS, "stdout", "stderr", "script", "parameters", "", "\\", '"', "h\u00f6sts")


class Mutator:
    """Makes bodies; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._values = [json.loads(body) for body in BODIES if body[:1] in b"{["]
        self._ways: tuple[tuple[Callable[[bytes], bytes], float], ...] = (
            (self._bent, 10),
            (self._spliced, 8),
            (self._flipped, 4),
            (self._cut, 2),
            (self._joined, 2),
            (self._blown_up, 0.02),
        )

    def make(self) -> bytes:
        """Make a body."""
        return self.mutate(self._rng.choice(BODIES))

    def mutate(self, body: bytes) -> bytes:
        """Change a body in one to four ways."""
        ways, weights = zip(*self._ways, strict=True)
        for way in self._rng.choices(ways, weights, k=self._rng.randint(1, 4)):
            body = way(body)
        return body

    def _spliced(self, body: bytes) -> bytes:
        start = self._rng.randint(0, len(body))
        end = min(len(body), start + self._rng.randint(0, 40))
        piece = self._rng.choice((*SPLICES, b"\\", b"\\u12", body[start:end] * 2, self._rng.randbytes(3)))
        return body[:start] + piece + body[end:]

    def _flipped(self, body: bytes) -> bytes:
        if not body:
            return b"\xff"
        changed = bytearray(body)
        changed[self._rng.randrange(len(body))] ^= 1 << self._rng.randrange(8)
        return bytes(changed)

    def _cut(self, body: bytes) -> bytes:
        return body[: self._rng.randint(0, len(body))]

    def _joined(self, body: bytes) -> bytes:
        other = self._rng.choice(BODIES)
        return body[: self._rng.randint(0, len(body))] + other[self._rng.randint(0, len(other)) :]

    def _blown_up(self, body: bytes) -> bytes:
        """Repeat one piece many times, which shows growth of time and memory."""
        start = self._rng.randint(0, len(body))
        end = min(len(body), start + self._rng.randint(1, 200))
        piece = body[start:end] or b"["
        return body[:start] + piece * (LARGEST // len(piece)) + body[end:]

    def _bent(self, body: bytes) -> bytes:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = self._rng.choice(self._values)
        for _ in range(self._rng.randint(1, 3)):
            value = self._bend(value)
        spacing = self._rng.choice((None, None, 1))
        return json.dumps(value, ensure_ascii=self._rng.random() < 0.5, indent=spacing).encode(
            "utf-8", "surrogatepass"
        )

    def _bend(self, value: Any) -> Any:
        """Replace, add or remove something at a random place."""
        if isinstance(value, dict) and value and self._rng.random() < 0.9:
            key = self._rng.choice(list(value))
            match self._rng.randrange(8):
                case 0:
                    return {name: inner for name, inner in value.items() if name != key}
                case 1:
                    return {**value, self._rng.choice(NAMES): self._rng.choice(WORDS)}
                case 2:
                    return {
                        self._rng.choice(NAMES) if name == key else name: one for name, one in value.items()
                    }
                case _:
                    return {**value, key: self._bend(value[key])}
        if isinstance(value, list) and value and self._rng.random() < 0.9:
            place = self._rng.randrange(len(value))
            return [*value[:place], self._bend(value[place]), *value[place + self._rng.randint(0, 1) :]]
        return self._rng.choice((*WORDS, [value], {self._rng.choice(NAMES): value}))
