"""What the poller asks, answered by the model: bytes are classified and decoded as those of a socket are."""

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from typing import Any, Literal, TypeVar

import httpx

from exporter.jobapi import decoder
from exporter.jobapi.answers import classify
from exporter.jobapi.client import PageCost
from exporter.jobapi.errors import ConnectError, DeadlineError, Endpoint, TooLargeError
from exporter.model import Page, Record, Results
from tests.harness.inprocess import Clock, EndlessError
from tests.model.platform import Answer, Platform

T = TypeVar("T")
LAG = 30.0  # seconds by which the second copy of the database is behind
FIRST_BYTE = 60.0  # seconds that a page is waited for
IMPATIENT = 10.0  # and one that is known to be fast


@dataclass
class Weather:
    """What goes wrong now, for all records alike."""

    down: Literal["", "connect", "500", "503", "database"] = ""
    lookups: Literal["", "404", "500", "timeout"] = ""  # answers to all look-ups of records
    results: Literal["", "500"] = ""
    total: Literal["", "absent", "zero", "few", "stale"] = ""
    empty_pages: bool = False  # with a false total: pages show nothing
    lagging: bool = False  # each answer may come from a copy that is behind
    page_seconds: float = 0.05
    drops: float = 0.0  # share of all requests that fail


@dataclass
class ModelApi:
    """The job API over the model, as of the clock; stands for HTTP."""

    platform: Platform
    clock: Clock
    rng: random.Random
    weather: Weather = field(default_factory=Weather)
    asked: Counter[str] = field(default_factory=Counter)
    left: int = 0  # requests until a poll is taken for endless
    sizes: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=500))
    ahead: float | None = None  # the platform's clock, as its last answer told it
    log: list[str] = field(default_factory=list)

    def platform_now(self) -> float | None:
        """The platform's clock by the last answer's Date."""
        return None if self.ahead is None else self.clock.now + self.ahead

    async def page(
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]:
        """Answer a page after the seconds that it takes."""
        assert number >= 1
        assert size >= 1
        at = self._moment()
        answer = self.platform.page(
            number, size, at, total=self._false_total(at), empty=self.weather.empty_pages
        )
        first_byte = FIRST_BYTE if patient else IMPATIENT
        took = first_byte if answer.failure == "timeout" else self.weather.page_seconds
        decode = partial(decoder.decode_page, number=number, size=size, zone=UTC)
        try:
            page = self._answer("page", answer, decode)
        finally:
            self.clock.now += took
        return page, PageCost(seconds=took, size=len(answer.body) + answer.weight)

    async def record(self, record_id: str) -> Record:
        """Answer a look-up."""
        answer = self.platform.record(record_id, self._moment())
        if self.weather.lookups:
            answer = _FAILURES[self.weather.lookups]
        record = self._answer("record", answer, partial(decoder.decode_record, zone=UTC))
        assert record.id == record_id
        return record

    async def results(self, record_id: str) -> Results:
        """Answer a question for host rows."""
        answer = self.platform.results(record_id, self._moment())
        if self.weather.results:
            answer = _FAILURES[self.weather.results]
        return self._answer("result", answer, decoder.decode_results)

    def _moment(self) -> float:
        """The moment whose state answers."""
        return self.clock.now - LAG if self.weather.lagging and self.rng.random() < 0.5 else self.clock.now

    def _false_total(self, at: float) -> int | None:
        count = len(self.platform.there(at))
        self.sizes.append((at, count))
        match self.weather.total:
            case "absent":
                return -1
            case "zero":
                return 0
            case "few":
                return count // 5
            case "stale":
                return next(size for moment, size in self.sizes if moment >= at - 120)
            case _:
                return None

    def _answer(self, endpoint: Endpoint, answer: Answer, decode: Callable[[bytes], T]) -> T:
        self.asked[endpoint] += 1
        self.left -= 1
        if self.left < 0:
            raise EndlessError
        if self.weather.down:
            answer = _FAILURES[self.weather.down]
        elif self.weather.drops and self.rng.random() < self.weather.drops:
            answer = _FAILURES[self.rng.choice(["connect", "500", "timeout"])]
        match answer.failure:
            case "connect":
                raise ConnectError("connection refused")
            case "timeout":
                raise DeadlineError("no answer")
            case "too_large":
                raise TooLargeError("more than 64 MB")
        self.ahead = self.platform.ahead
        response = httpx.Response(answer.status)
        return classify(endpoint, response, answer.body, decode, now=self.clock.wall(), masked=_plain)


def _plain(text: str) -> str:
    return text


_FAILURES: dict[str, Any] = {
    "connect": Answer(failure="connect"),
    "timeout": Answer(failure="timeout"),
    "404": Answer(status=404, body=b'{"message":"no Route matched with those values"}'),
    "500": Answer(status=500, body=b"Internal Server Error"),
    "503": Answer(status=503, body=b"no healthy upstream"),
    "database": Answer(body=b'{"status":"error","message":"dial tcp: connection refused","content":null}'),
}
