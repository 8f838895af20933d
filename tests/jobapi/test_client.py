"""The client's rules, with the platform faked at the wire."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from exporter.jobapi.client import JobApi
from exporter.jobapi.errors import (
    ApiError,
    ConnectError,
    CredentialsError,
    DeadlineError,
    HttpError,
    NotUnderstoodError,
    PlatformFailure,
    RecordNotFound,
    TooLargeError,
)
from exporter.model import Results
from exporter.settings import SettingsError
from tests.harness.recorded import config

NO_ROWS = b'{"status":"success","message":"","content":[]}'
NOW = 1_800_000_000.0


@dataclass
class Ears:
    """An observer that remembers each request."""

    heard: list[tuple[str, int, str | None]] = field(default_factory=list)

    def request(self, *, endpoint: str, seconds: float, size: int, reason: str | None) -> None:
        assert seconds >= 0
        self.heard.append((endpoint, size, reason))


@dataclass
class Platform:
    """A platform that gives its answers in turn, repeats the last one, and remembers the requests."""

    answers: list[Callable[[], httpx.Response]]
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])()


class Longest(random.Random):
    """Jitter that is always at its upper end."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def answer(status: int = 200, content: bytes = NO_ROWS, **headers: Any) -> Callable[[], httpx.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx.Response(status, headers=named, content=content)


def broken(error: Exception) -> Callable[[], httpx.Response]:
    def answer() -> httpx.Response:
        raise error

    return answer


@dataclass
class Bench:
    """A client with everything around it faked."""

    api: JobApi
    platform: Platform
    ears: Ears
    slept: list[float]


def bench(*answers: Callable[[], httpx.Response], **changes: Any) -> Bench:
    platform, ears, slept = Platform(list(answers)), Ears(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    api = JobApi(
        config(**changes),
        ears,
        transport=httpx.MockTransport(platform),
        rng=Longest(),
        sleep=sleep,
        wall=lambda: NOW,
    )
    return Bench(api=api, platform=platform, ears=ears, slept=slept)


async def test_every_request_says_what_it_wants() -> None:
    """Content type, plain encoding and both page parameters are always sent, below the base path."""
    body = b'{"list":[],"totalCount":0}'
    b = bench(answer(content=body), base_url="http://gateway.test/act2/")
    page, cost = await b.api.page(3, 20)
    (request,) = b.platform.asked
    assert str(request.url) == "http://gateway.test/act2/api/v1/job/record/page?pageNo=3&pageSize=20"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("job-exporter/")
    assert "authorization" not in request.headers
    assert (page.number, page.size, page.total, cost.size) == (3, 20, 0, len(body))
    assert cost.seconds >= 0


@pytest.mark.parametrize("record_id", ["r1", "a b+c&d=e#f?g/h%20i", "语言", '"\n\t', "../../x"])
async def test_ids_are_sent_as_they_are(record_id: str) -> None:
    """An id with any characters is encoded, and arrives as one parameter."""
    b = bench(answer())
    assert await b.api.results(record_id) == Results(rows=())
    assert dict(b.platform.asked[0].url.params) == {"id": record_id}
    assert b.platform.asked[0].url.path == "/api/v1/job/record/result"


async def test_a_record_must_be_the_one_asked() -> None:
    """A response about another record than requested is an error."""
    b = bench(answer(content=b'{"id":"r2"}'))
    with pytest.raises(NotUnderstoodError, match="another id"):
        await b.api.record("r1")
    assert (await b.api.record("r2")).id == "r2"


@pytest.mark.parametrize(
    ("given", "error", "reason", "said"),
    [
        (answer(401), CredentialsError, "auth", "HTTP 401"),
        (answer(403), CredentialsError, "auth", "HTTP 403"),
        (
            answer(content=b'{"status":"error","message":"invalid user","content":null}'),
            CredentialsError,
            "auth",
            "refused the credentials: invalid user",
        ),
        (
            answer(content=b'{"status":"error","message":"Invalid authorization data "}'),
            CredentialsError,
            "auth",
            "refused the credentials",
        ),
        (answer(content=b'{"status":"error","message":"db down"}'), PlatformFailure, "api", "db down"),
        (
            answer(content=b'{"status":"error","message":"record not found"}'),
            PlatformFailure,
            "api",
            "not found",
        ),
        (answer(302, location="https://elsewhere.test/?token=secret"), HttpError, "http", "set api.base-url"),
        (answer(404), HttpError, "http", "check api.base-url"),
        (answer(404, b"{}"), HttpError, "http", "check api.base-url"),
        (answer(400), HttpError, "http", "parameters"),
        (answer(415), HttpError, "http", "Content-Type"),
        (answer(429), HttpError, "http", "too many requests"),
        (answer(204), HttpError, "http", "HTTP 204"),
        (answer(500, b"secret"), HttpError, "http", "HTTP 500"),
        (answer(content=b"<html>secret"), NotUnderstoodError, "decode", "HTML instead of JSON"),
        (answer(content_encoding="br"), NotUnderstoodError, "decode", "unsupported compression"),
        (broken(httpx.DecodingError("secret")), NotUnderstoodError, "decode", "cannot be decompressed"),
        (broken(httpx.ConnectError("secret")), ConnectError, "connect", "http://platform.test:6868"),
        (broken(httpx.ReadError("secret")), ConnectError, "connect", "broke"),
        (broken(httpx.ReadTimeout("secret")), DeadlineError, "timeout", "within 60 s"),
        (answer(content=b" " * 1_000_001), TooLargeError, "too_large", "1000000 bytes"),
    ],
)
async def test_failures_are_told_apart(
    given: Callable[[], httpx.Response], error: type[ApiError], reason: str, said: str
) -> None:
    """Each failure has its class, reason and advice, and quotes no content."""
    b = bench(given)
    with pytest.raises(ApiError, match=said) as caught:
        await b.api.page(1, 20)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert [(endpoint, heard) for endpoint, _, heard in b.ears.heard] == [("page", reason)]


@pytest.mark.parametrize(
    "given",
    [
        answer(content=b'{"status":"error","message":"record not found"}'),
        answer(content=b'{"status":"error","message":"Record Not Found "}'),
        answer(404, b'{"error":1}'),
    ],
)
async def test_an_unknown_record_is_an_answer(given: Callable[[], httpx.Response]) -> None:
    """An unknown id is an answer, not a failure of the API."""
    b = bench(given, retries=3)
    with pytest.raises(RecordNotFound) as caught:
        await b.api.record("r1")
    assert caught.value.reason == "api"
    assert [heard for _, _, heard in b.ears.heard] == [None]


async def test_a_404_of_a_web_server_is_no_unknown_record() -> None:
    """A wrong base URL does not look like deleted records."""
    with pytest.raises(HttpError):
        await bench(answer(404, b"404 page not found")).api.record("r1")


@pytest.mark.parametrize(
    "passing",
    [
        broken(httpx.ConnectError("")),
        broken(httpx.ReadTimeout("")),
        answer(500),
        answer(503),
        answer(429),
    ],
)
async def test_what_may_pass_is_tried_again(passing: Callable[[], httpx.Response]) -> None:
    """The observer sees each retry, and the pauses grow with full jitter."""
    b = bench(passing, passing, passing, answer(), retries=3)
    assert await b.api.results("r1") == Results(rows=())
    assert b.slept == [0.2, 0.4, 0.8]
    assert len(b.ears.heard) == 4
    assert [reason is None for _, _, reason in b.ears.heard] == [False, False, False, True]


async def test_tries_are_bounded_and_so_are_their_pauses() -> None:
    """After the last retry the failure is raised; no pause is longer than five seconds."""
    b = bench(answer(500), retries=7)
    with pytest.raises(HttpError):
        await b.api.results("r1")
    assert len(b.platform.asked) == 8
    assert b.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize(
    "lasting",
    [
        answer(400),
        answer(401),
        answer(404),
        answer(302),
        answer(content=b"<"),
        answer(content=b'{"status":"error","message":"db down"}'),
        answer(content=b" " * 1_000_001),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(lasting: Callable[[], httpx.Response]) -> None:
    """Wrong credentials and addresses, malformed and large bodies are not retried."""
    b = bench(lasting, retries=3)
    with pytest.raises(ApiError):
        await b.api.results("r1")
    assert len(b.platform.asked) == 1


async def test_a_page_that_was_too_slow_is_not_asked_again() -> None:
    """A page that timed out is not retried, because it may be what slows the platform."""
    b = bench(broken(httpx.ReadTimeout("")), retries=3)
    with pytest.raises(DeadlineError):
        await b.api.page(9, 20)
    assert len(b.platform.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "7"},
        {"retry_after": formatdate(NOW + 7, usegmt=True), "date": formatdate(NOW, usegmt=True)},
        {"retry_after": formatdate(NOW + 7, usegmt=True)},
    ],
)
async def test_retry_after_is_honoured(status: int, headers: dict[str, Any]) -> None:
    """A Retry-After in seconds or as a date replaces our own pause."""
    b = bench(answer(status, **headers), answer(), retries=1)
    await b.api.results("r1")
    assert b.slept == [7.0]


@pytest.mark.parametrize(
    ("value", "told"),
    [("11", 11.0), ("3600", 60.0), ("9" * 400, 60.0), (formatdate(NOW + 86_400, usegmt=True), 60.0)],
)
async def test_a_long_retry_after_is_left_to_the_poll(value: str, told: float) -> None:
    """A Retry-After longer than the timeout raises at once, and is at most a minute."""
    b = bench(answer(503, retry_after=value), retries=3)
    with pytest.raises(HttpError) as caught:
        await b.api.results("r1")
    assert caught.value.retry_after == told
    assert b.slept == []


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", formatdate(NOW - 60, usegmt=True)])
async def test_a_retry_after_without_meaning_changes_little(value: str) -> None:
    """An unreadable Retry-After is ignored; a date in the past means no wait."""
    b = bench(answer(503, retry_after=value), answer(), retries=1)
    await b.api.results("r1")
    assert b.slept == [0.0 if "GMT" in value else 0.2]


async def test_retry_after_counts_only_where_it_belongs() -> None:
    """A Retry-After of another status than 429 and 503 is ignored."""
    b = bench(answer(500, retry_after="7"), answer(), retries=1)
    await b.api.results("r1")
    assert b.slept == [0.2]


async def test_the_platforms_clock_is_compared_with_ours() -> None:
    """The skew comes from the Date header; responses without one do not change it."""
    b = bench(answer(date=formatdate(NOW + 5, usegmt=True)), answer(), answer(date="noon"))
    assert b.api.clock_skew is None
    for _ in range(3):
        await b.api.results("r1")
        assert b.api.clock_skew == pytest.approx(5.5, abs=0.2)


async def test_slow_answers_do_not_move_a_known_skew() -> None:
    """A long round trip does not change the skew, because it is too inexact."""
    now = 100.0
    taken = iter([0.5, 5.5, 1.0])
    shifts = iter([5, 9, 7])

    def slowly(_: httpx.Request) -> httpx.Response:
        nonlocal now
        now += next(taken)
        date = formatdate(NOW + now - 100.0 + next(shifts), usegmt=True)
        return httpx.Response(200, headers={"date": date}, content=NO_ROWS)

    transport = httpx.MockTransport(slowly)
    api = JobApi(config(), transport=transport, wall=lambda: NOW + now - 100, monotonic=lambda: now)
    skews = []
    for _ in range(3):
        await api.results("r1")
        skews.append(api.clock_skew)
    assert skews == pytest.approx([5.25, 5.25, 8.0])


async def test_the_platforms_clock_goes_on_though_ours_is_set() -> None:
    """The platform's time follows our monotonic clock: a jump of our wall clock changes only the skew."""
    wall, monotonic = NOW, 50.0
    api = JobApi(
        config(),
        transport=httpx.MockTransport(Platform([answer(date=formatdate(NOW, usegmt=True))])),
        wall=lambda: wall,
        monotonic=lambda: monotonic,
    )
    assert api.platform_now() is None
    await api.results("r1")
    wall, monotonic = NOW - 7200 + 30, 80.0
    assert api.platform_now() == pytest.approx(NOW + 30.5)
    assert api.clock_skew == pytest.approx(7200.5)


@pytest.mark.parametrize(
    ("given", "may_be"),
    [
        (answer(400), True),
        (answer(413), True),
        (answer(500), True),
        (answer(504), True),
        (answer(404, b'{"error":"no such page"}'), True),
        (answer(404, b"404 page not found"), False),
        (answer(401), False),
        (answer(403), False),
        (answer(429), False),
        (answer(503), False),
        (answer(304), False),
        (answer(204), False),
        (answer(content=b'{"status":"error","message":"db down"}'), True),
        (answer(content=b'{"status":"error","message":"invalid user"}'), False),
        (answer(content=b"{"), True),
        (answer(content=b" " * 1_000_001), True),
        (broken(httpx.ReadTimeout("")), True),
        (broken(httpx.ConnectTimeout("")), False),
        (broken(httpx.ConnectError("")), False),
        (broken(httpx.ReadError("")), False),
    ],
)
async def test_failures_that_one_record_may_cause(given: Callable[[], httpx.Response], may_be: bool) -> None:
    """No record can cause a failed connection, an overload or refused credentials."""
    with pytest.raises(ApiError) as caught:
        await bench(given).api.page(1, 20)
    assert caught.value.may_be_record is may_be


async def test_a_page_can_be_asked_for_once_only() -> None:
    """Without retries the first failure is raised; with them a server error is retried."""
    b = bench(answer(500), retries=2)
    for retry, asked in ((False, 1), (True, 3)):
        b.platform.asked.clear()
        with pytest.raises(HttpError):
            await b.api.page(1, 20, retry=retry)
        assert len(b.platform.asked) == asked


@pytest.mark.parametrize(
    ("limit", "patient", "first_byte"),
    [(10.0, True, 60.0), (2.0, True, 12.0), (90.0, True, 90.0), (10.0, False, 10.0)],
)
async def test_how_long_a_page_may_take_to_begin(limit: float, patient: bool, first_byte: float) -> None:
    """Six times the timeout and a minute at most, but not less than the timeout, which bounds connecting."""
    b = bench(answer(content=b'{"list":[],"totalCount":0}'), timeout=limit)
    await b.api.page(1, 20, patient=patient)
    assert b.platform.asked[0].extensions["timeout"] == {"connect": limit, "read": first_byte}


async def test_look_ups_begin_within_the_timeout() -> None:
    """A look-up by id has the plain timeout, because it is cheap for the platform."""
    b = bench(answer(), timeout=2.0)
    await b.api.results("r1")
    assert b.platform.asked[0].extensions["timeout"] == {"connect": 2.0, "read": 2.0}


async def test_failed_answers_tell_the_time_too() -> None:
    """A failed response also tells the platform's clock."""
    b = bench(answer(500, date=formatdate(NOW - 3600, usegmt=True)))
    with pytest.raises(HttpError):
        await b.api.results("r1")
    assert b.api.clock_skew == pytest.approx(-3599.5, abs=0.2)


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    """Concurrency is bounded for the client as a whole."""
    flying, most = 0, 0
    gate = asyncio.Event()

    async def handler(_: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        if flying == 3:
            gate.set()
        await gate.wait()
        flying -= 1
        return httpx.Response(200, content=NO_ROWS)

    api = JobApi(config(concurrency=3), transport=httpx.MockTransport(handler))
    await asyncio.gather(*(api.results(f"r{n}") for n in range(20)))
    await api.aclose()
    assert most == 3


async def test_nothing_of_a_cookie_is_kept() -> None:
    """Cookies of the platform are not sent back."""
    b = bench(answer(set_cookie="session=1; Path=/"))
    await b.api.results("r1")
    await b.api.results("r1")
    assert "cookie" not in b.platform.asked[1].headers


async def test_a_header_of_the_settings_takes_the_place_of_ours() -> None:
    """A header of the settings replaces ours in each request; upper and lower case do not matter."""
    b = bench(answer(), headers={"user-agent": "mine"})
    await b.api.results("r1")
    await b.api.results("r1")
    assert [asked.headers.get_list("User-Agent") for asked in b.platform.asked] == [["mine"], ["mine"]]


async def test_basic_authentication() -> None:
    """User and password are sent as UTF-8 in base64."""
    b = bench(answer(), username="exporter", password=SecretStr("pässword"))
    await b.api.results("r1")
    assert b.platform.asked[0].headers["authorization"] == "Basic ZXhwb3J0ZXI6cMOkc3N3b3Jk"


async def test_headers_of_ones_own() -> None:
    """Custom headers are sent with every request, beside other credentials."""
    headers = {"X-Token": "t", "Accept": "a/b"}
    b = bench(answer(), username="u", password=SecretStr("p"), headers=headers)
    await b.api.results("r1")
    sent = b.platform.asked[0].headers
    assert (sent["x-token"], sent["accept"]) == ("t", "a/b")
    assert sent["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("setting", "expected"), [("token_file", "Bearer new"), ("password_file", "Basic dTpuZXc=")]
)
async def test_secret_files_are_read_again_when_they_change(
    tmp_path: Path, setting: str, expected: str
) -> None:
    """A rotated secret is used from the next request on, its trailing newline dropped."""
    path = tmp_path / "secret"
    path.write_text("first\n")
    b = bench(answer(), username="u" if setting == "password_file" else None, **{setting: path})
    await b.api.results("r1")
    replacement = tmp_path / "replacement"
    replacement.write_text("new\r\n")
    replacement.rename(path)
    await b.api.results("r1")
    first, second = (request.headers["authorization"] for request in b.platform.asked)
    assert first != second == expected


async def test_a_secret_file_that_vanishes_is_an_auth_failure(tmp_path: Path) -> None:
    """While running, an unreadable secret file is a failure that names the file."""
    path = tmp_path / "token"
    path.write_text("t")
    b = bench(answer(), token_file=path, retries=3)
    path.unlink()
    with pytest.raises(CredentialsError, match=r"api\.token-file .*token: No such file"):
        await b.api.results("r1")
    assert b.platform.asked == []
    assert b.ears.heard == [("result", 0, "auth")]


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"a\0b", b"\xff\xfe", b"x" * 70_000])
def test_a_secret_file_must_hold_one_line(tmp_path: Path, content: bytes) -> None:
    """A secret file with more than one line is refused at the start, without quoting it."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"api\.token-file"):
        bench(answer(), token_file=path)


@pytest.mark.parametrize("settings", [["ca_file"], ["cert_file", "key_file"]])
def test_certificates_that_cannot_be_used_are_refused(tmp_path: Path, settings: list[str]) -> None:
    """An empty file is named with its setting."""
    empty = tmp_path / "empty.pem"
    empty.touch()
    given = config("https://platform.test", **dict.fromkeys(settings, empty))
    with pytest.raises(SettingsError, match=f"api.{settings[0].replace('_', '-')} .*empty.pem"):
        JobApi(given)


async def test_secrets_reach_no_log_and_no_repr() -> None:
    """At debug level, in failures too, neither credentials nor bodies nor headers are shown."""
    canaries: dict[str, Any] = {
        "headers": {"X-Token": "canary-1"},
        "username": "u",
        "password": SecretStr("canary-2"),
    }
    shown = [repr(config(**canaries))]
    with structlog.testing.capture_logs() as logs:
        for given in (answer(content=b"[canary-3]"), answer(500, b"canary-3", x="canary-4"), answer()):
            b = bench(given, **canaries)
            try:
                await b.api.results("r1")
            except ApiError as error:
                shown.append(repr(error))
            shown.append(repr(b.api.__dict__))
    assert len(logs) == 3
    assert "canary" not in repr(shown) + repr(logs)
