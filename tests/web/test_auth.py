"""Users: who is let in, what a login costs, and that logins cannot starve scrapes."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.web.auth import PER_CLIENT, QUEUE, WORKERS, Logins, Users, Verdict
from exporter.web.config import RateConfig
from exporter.web.reload import RateLimit
from exporter.web.server import Web
from tests.harness.web import (
    Answer,
    Counting,
    ask,
    connected,
    get,
    hashed,
    read_answer,
    request,
    rewrite,
    serving,
    shown,
)

USERS = {"alice": hashed("open sesame"), "bob": hashed("böb")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users:\n" + "".join(f"  {name}: {value}\n" for name, value in USERS.items()))
    return path


def basic(name: str, password: str | bytes) -> str:
    secret = password if isinstance(password, bytes) else password.encode()
    return "Authorization: Basic " + base64.b64encode(name.encode() + b":" + secret).decode()


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready", "/no-such-path"])
async def test_users_guard_every_path(file: Path, path: str) -> None:
    """Without credentials every path answers the same 401, as in the toolkit; with them it is served."""
    async with serving(file=file) as web:
        refused = await get(web, path)
        admitted = await get(web, path, basic("alice", "open sesame"))
        assert (await ask(web, request(path, method="POST"))).status == 401
    assert (refused.status, refused.text) == (401, "Unauthorized\n")
    assert refused.headers["www-authenticate"] == 'Basic realm="job-exporter"'
    assert refused.headers["x-frame-options"] == "deny"
    assert admitted.status == (404 if path == "/no-such-path" else 200)


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        ("alice", "open sesame", 200),
        ("bob", "böb", 200),
        ("alice", "wrong", 401),
        ("alice", "", 401),
        ("bob", "open sesame", 401),
        ("mallory", "open sesame", 401),
        ("", "x", 401),
        ("alice", "open sesame" + "x" * 80, 401),
        ("alice", b"open\0sesame", 401),
        ("alice", b"\xff\xfe", 401),
    ],
)
async def test_each_login_costs_one_comparison(
    file: Path, name: str, password: str | bytes, status: int
) -> None:
    """Right, wrong, unknown, over-long or odd: one bcrypt comparison each, so that none stands out."""
    verify = Counting()
    async with serving(file=file, verify=verify) as web:
        assert (await get(web, "/metrics", basic(name, password))).status == status
    assert verify.asked.total() == 1


async def test_an_unknown_user_is_as_dear_as_one_that_there_is() -> None:
    """Each name is compared with the hash of a user, always the same one, and not all with one user's.

    So the cost of a comparison, which may differ from user to user, tells of no name whether there is one.
    """
    asked: list[bytes] = []

    def verify(_password: bytes, given: bytes) -> bool:
        asked.append(given)
        return True  # a password that fits by chance lets nobody in

    logins = Logins(verify=verify)
    users = Users(USERS, logins)
    for name in [f"mallory {number}" for number in range(64)] * 2:
        assert await users.admit(basic(name, "x").partition(": ")[2], "") is Verdict.REFUSED
    await logins.close()
    assert set(asked) == {value.encode() for value in USERS.values()}
    assert asked[:64] == asked[64:]


@pytest.mark.parametrize("length", [72, 73])
async def test_a_password_matches_whole_or_not(length: int) -> None:
    """The hash covers 72 bytes; a longer password does not match by its beginning."""
    logins = Logins()
    users = Users({"alice": hashed("x" * 72)}, logins)
    verdict = await users.admit(basic("alice", "x" * length).partition(": ")[2], "")
    assert verdict is (Verdict.ADMITTED if length == 72 else Verdict.REFUSED)
    await logins.close()


@pytest.mark.parametrize(
    "header",
    [
        "Authorization:", "Authorization: Basic", "Authorization: Basic !!!", "Authorization: Basic YWxpY2U=",
        "Authorization: Bearer abc", "Authorization: Basic /////w==", "Authorization: Basic \xff", "X: y",
        "Authorization: Basic YQ==YQ==",
    ],
)  # fmt: skip
async def test_malformed_credentials_are_refused_without_work(file: Path, header: str) -> None:
    """What holds no name and password is a 401 that costs nothing."""
    verify = Counting()
    async with serving(file=file, verify=verify) as web:
        assert (await get(web, "/metrics", header)).status == 401
    assert not verify.asked


async def test_the_scheme_may_be_in_any_case(file: Path) -> None:
    """`basic` is as good as `Basic`."""
    async with serving(file=file) as web:
        assert (await get(web, "/metrics", basic("bob", "böb").replace("Basic", "bAsic"))).status == 200


async def test_a_user_that_is_known_costs_nothing_more(file: Path) -> None:
    """After one login scrapes cost a digest; a wrong password still costs, and changes nothing."""
    verify = Counting()
    async with serving(file=file, verify=verify) as web:
        for password in ("open sesame", "open sesame", "wrong", "wrong", "open sesame"):
            await get(web, "/metrics", basic("alice", password))
        assert verify.asked == {b"open sesame": 1, b"wrong": 2}
        web.reload()
        await get(web, "/metrics", basic("alice", "open sesame"))
    assert verify.asked[b"open sesame"] == 2


async def test_a_changed_password_ends_the_old_one_at_once(file: Path) -> None:
    """When the file changes, what was remembered is forgotten."""
    async with serving(file=file) as web:
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).status == 200
        rewrite(file, f"basic_auth_users: {{alice: {hashed('new')}}}")
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).status == 401
        assert (await get(web, "/metrics", basic("alice", "new"))).status == 200


async def test_equal_logins_at_once_share_one_comparison(file: Path) -> None:
    """A hundred scrapes after a restart cost one comparison, and all are admitted."""
    verify = Counting()
    async with serving(file=file, verify=verify) as web:
        answers = await asyncio.gather(
            *(get(web, "/metrics", basic("alice", "open sesame")) for _ in range(100))
        )
    assert {answer.status for answer in answers} == {200}
    assert verify.asked.total() < 100
    assert verify.asked[b"open sesame"] <= 2  # a second one if some came after the first was done


class Stuck:
    """bcrypt that takes as long as the test wants."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.release.wait(10)
        with self._lock:
            self.at_once -= 1
        return password == b"open sesame"


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    verify = Stuck()
    yield verify
    verify.release.set()


async def flood(web: Web, logins: int) -> list[asyncio.Task[Answer]]:
    """Begin so many different logins, and let them all arrive."""
    tasks = [asyncio.create_task(get(web, "/metrics", basic("alice", f"guess {i}"))) for i in range(logins)]
    await get(web)
    return tasks


async def test_logins_beyond_the_queue_are_refused_at_once(file: Path, stuck: Stuck) -> None:
    """One address has a few logins waiting; more get 503 and the time to come back, and cost nothing."""
    async with serving(file=file, verify=stuck) as web:
        tasks = [asyncio.create_task(get(web, "/", basic("alice", f"guess {i}"))) for i in range(50)]
        done = asyncio.as_completed(tasks)
        refused = [await next(done) for _ in range(50 - PER_CLIENT)]
        stuck.release.set()
        answers = await asyncio.gather(*tasks)
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}
    assert sorted(answer.status for answer in answers) == [401] * PER_CLIENT + [503] * (50 - PER_CLIENT)
    assert stuck.most <= WORKERS


async def test_a_flood_of_logins_leaves_known_users_served(file: Path, stuck: Stuck) -> None:
    """While every worker is busy and the queue full, who has logged in before is answered."""
    async with serving(file=file, verify=stuck) as web:
        stuck.release.set()
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).status == 200
        stuck.release.clear()
        tasks = await flood(web, 40)
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).body == shown().body
        stuck.release.set()
        await asyncio.gather(*tasks)


async def test_the_queue_is_bounded_over_all_addresses(stuck: Stuck) -> None:
    """Many addresses together cannot make more work wait than the queue holds."""
    logins = Logins(verify=stuck)
    tasks = [
        asyncio.create_task(logins.matches(b"%d" % number, b"x", b"", f"10.0.0.{number}"))
        for number in range(WORKERS + QUEUE + 5)
    ]
    refused = await asyncio.gather(*tasks[WORKERS + QUEUE :])
    stuck.release.set()
    assert refused == [None] * 5
    assert await asyncio.gather(*tasks[: WORKERS + QUEUE]) == [False] * (WORKERS + QUEUE)
    assert not logins._clients  # nothing is kept of addresses that have come and gone
    await logins.close()


async def test_the_stop_does_not_wait_for_logins(file: Path, stuck: Stuck) -> None:
    """Logins under way at the stop are dropped."""
    async with serving(file=file, verify=stuck) as web, connected(web.ports[0]) as (reader, writer):
        writer.write(request("/", basic("alice", "x")))
        await get(web)
        async with asyncio.timeout(8):  # what is stuck is so for longer
            await web.stop()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)


async def test_credentials_are_never_logged(file: Path) -> None:
    """A refused login leaves no line with name, password or header."""
    async with serving(file=file) as web:
        with capture_logs() as logs:
            await get(web, "/metrics", basic("canary", "canary"))
    assert logs == []


def test_the_rate_limit_is_a_bucket_of_tokens() -> None:
    """A burst at once, then one each interval; what is not used is saved up to the burst only."""
    now = [0.0]
    limit = RateLimit(RateConfig(interval=2.0, burst=3), clock=lambda: now[0])
    assert [limit.allow() for _ in range(4)] == [True, True, True, False]
    now[0] = 1.9
    assert not limit.allow()
    now[0] = 2.1
    assert [limit.allow(), limit.allow()] == [True, False]
    now[0] = 100.0
    assert [limit.allow() for _ in range(4)] == [True, True, True, False]


async def test_requests_over_the_rate_get_429(tmp_path: Path) -> None:
    """The limit comes before the user: refused requests cost no login."""
    verify = Counting()
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{a: {USERS['alice']}}}\nrate_limit: {{interval: 1h, burst: 2}}")
    async with serving(file=file, verify=verify) as web:
        answers = [await get(web, "/metrics", basic("a", "wrong")) for _ in range(3)]
    assert [answer.status for answer in answers] == [401, 401, 429]
    assert answers[2].headers["retry-after"] == "1"
    assert verify.asked.total() == 2
