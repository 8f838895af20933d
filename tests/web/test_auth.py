"""Users: who is let in, what a login costs, and that logins cannot starve scrapes."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from structlog.testing import capture_logs

from exporter.web.auth import DUMMY, REMEMBERED, WORKERS, Logins
from exporter.web.config import RateConfig
from exporter.web.reload import RateLimit
from tests.harness.web import (
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
    until,
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


def header(name: str, password: str | bytes) -> str:
    return basic(name, password).partition(": ")[2]


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


async def test_an_unknown_user_is_compared_with_a_dummy_and_never_admitted() -> None:
    """The dummy hash has cost 10, whatever the costs of the users; a match with it means nothing."""
    asked: list[bytes] = []

    def verify(_password: bytes, given: bytes) -> bool:
        asked.append(given)
        return True

    logins = Logins(verify=verify)
    assert not await logins.admit(USERS, header("mallory", "x"), "")
    await logins.close()
    assert asked == [DUMMY]
    assert DUMMY.startswith(b"$2b$10$")
    assert not bcrypt.checkpw(b"x", DUMMY)


@pytest.mark.parametrize("length", [72, 73])
async def test_a_password_matches_whole_or_not(length: int) -> None:
    """The hash covers 72 bytes; a longer password does not match by its beginning."""
    logins = Logins()
    users = {"alice": hashed("x" * 72)}
    assert await logins.admit(users, header("alice", "x" * length), "") is (length == 72)
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
    """After one login scrapes cost a digest, also after a reload; a wrong password costs a comparison."""
    verify = Counting()
    async with serving(file=file, verify=verify) as web:
        for password in ("open sesame", "open sesame", "wrong", "wrong", "open sesame"):
            await get(web, "/metrics", basic("alice", password))
        assert verify.asked == {b"open sesame": 1, b"wrong": 2}
        web.reload()
        await get(web, "/metrics", basic("alice", "open sesame"))
    assert verify.asked[b"open sesame"] == 1


async def test_few_verified_logins_are_remembered() -> None:
    """All are forgotten when there are too many: memory stays bounded, whoever can log in."""
    verify = Counting()
    logins = Logins(verify=verify)
    password = hashed("x")
    for number in [*range(REMEMBERED + 1), 0]:
        assert await logins.admit({f"user {number}": password}, header(f"user {number}", "x"), "")
    await logins.close()
    assert verify.asked[b"x"] == REMEMBERED + 2


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
    """bcrypt that takes as long as the test wants; `in_step` lets the threads go on together only."""

    def __init__(self) -> None:
        self.in_step: threading.Barrier | None = None
        self.release = threading.Event()
        self.at_once = self.most = 0
        self.asked: list[bytes] = []
        self._lock = threading.Lock()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        with self._lock:
            self.asked.append(password)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.release.wait(10)
        if self.in_step:
            self.in_step.wait(10)
        with self._lock:
            self.at_once -= 1
        return password == b"open sesame"


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    verify = Stuck()
    yield verify
    verify.release.set()


async def test_a_flood_of_logins_leaves_known_users_served(file: Path, stuck: Stuck) -> None:
    """While every worker is busy and others wait, who has logged in before is answered."""
    async with serving(file=file, verify=stuck) as web:
        stuck.release.set()
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).status == 200
        stuck.release.clear()
        tasks = [asyncio.create_task(get(web, "/", basic("alice", f"guess {i}"))) for i in range(40)]
        await until(lambda: stuck.at_once == WORKERS)
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).body == shown().body
        stuck.release.set()
        assert {answer.status for answer in await asyncio.gather(*tasks)} == {401}
    assert stuck.most == WORKERS


async def test_a_right_login_is_soon_compared_amid_a_flood(stuck: Stuck) -> None:
    """Among equals the newest and the oldest take turns: no login waits for the whole queue."""
    stuck.in_step = threading.Barrier(WORKERS)
    logins = Logins(verify=stuck)
    wrong = [asyncio.create_task(check(logins, f"guess {i}", f"10.0.0.{i}")) for i in range(501)]
    await asyncio.sleep(0)
    right = asyncio.create_task(check(logins, "open sesame", "192.0.2.1"))
    await asyncio.sleep(0)
    stuck.release.set()
    assert await right
    assert not any(await asyncio.gather(*wrong))
    await logins.close()
    assert stuck.asked.index(b"open sesame") <= WORKERS + 2
    assert stuck.asked.index(b"guess %d" % WORKERS) <= WORKERS + 2


async def test_addresses_that_failed_wait_for_those_that_did_not(stuck: Stuck) -> None:
    """However many addresses guess on without a pause, a login from another one comes next."""
    logins = Logins(verify=stuck)
    stuck.release.set()
    for number in range(100):
        assert not await check(logins, f"first guess {number}", f"10.0.0.{number}")
    stuck.release.clear()
    busy = [asyncio.create_task(check(logins, f"busy {number}", "10.0.0.0")) for number in range(WORKERS)]
    await until(lambda: stuck.at_once == WORKERS)
    right = asyncio.create_task(check(logins, "open sesame", "192.0.2.1"))
    await asyncio.sleep(0)
    wrong = [asyncio.create_task(check(logins, f"guess {i}", f"10.0.0.{i}")) for i in range(101)]
    await asyncio.sleep(0)
    stuck.asked.clear()
    stuck.in_step = threading.Barrier(WORKERS)
    stuck.release.set()
    assert await right
    await asyncio.gather(*busy, *wrong)
    await logins.close()
    assert stuck.asked.index(b"open sesame") <= 1  # the two threads may begin in either order


async def check(logins: Logins, password: str, address: str) -> bool:
    return await logins.admit(USERS, header("alice", password), address)


async def test_a_client_that_leaves_takes_its_login_with_it(stuck: Stuck) -> None:
    """Logins of clients that are gone are not compared, unless another client waits for the same one."""
    logins = Logins(verify=stuck)
    gone = [asyncio.create_task(check(logins, f"guess {i}", "")) for i in range(100)]
    shared = [asyncio.create_task(check(logins, "shared", "")) for _ in range(2)]
    await asyncio.sleep(0)
    for task in (*gone, shared[0]):
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    stuck.release.set()
    assert await shared[1] is False
    await logins.close()
    assert len(stuck.asked) == WORKERS + 1


async def test_a_client_that_disconnects_leaves_the_queue(file: Path, stuck: Stuck) -> None:
    """The end of a connection is the end of its login."""
    async with serving(file=file, verify=stuck) as web:
        for number in range(WORKERS + 5):
            async with connected(web.ports[0]) as (_, writer):
                writer.write(request("/", basic("alice", f"guess {number}")))
                await get(web, "/metrics")  # a round trip: the login has arrived
        await get(web, "/metrics")
        stuck.release.set()
        assert (await get(web, "/metrics", basic("alice", "open sesame"))).status == 200
    assert len(stuck.asked) == WORKERS + 1


async def test_a_comparison_that_fails_is_a_fault_of_ours(file: Path) -> None:
    """It is answered with 500 and logged, and later logins are compared."""

    def broken(_password: bytes, _hashed: bytes) -> bool:
        raise ValueError("invalid salt")

    async with serving(file=file, verify=broken) as web:
        with capture_logs() as logs:
            for _ in range(WORKERS + 1):
                assert (await get(web, "/", basic("alice", "x"))).status == 500
    assert [line["event"] for line in logs] == ["request failed"] * (WORKERS + 1)


async def test_the_stop_does_not_wait_for_logins(file: Path, stuck: Stuck) -> None:
    """Logins under way at the stop are dropped; the stop says that a thread still compares."""
    async with serving(file=file, verify=stuck) as web, connected(web.ports[0]) as (reader, writer):
        writer.write(request("/", basic("alice", "x")))
        await get(web)
        async with asyncio.timeout(8):  # what is stuck is so for longer
            assert not await web.stop()
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
