"""The simulated platform on a real socket: its manners, its faults, its truth."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.fleet import make_fleet
from exporter.simulator.platform import Clock
from exporter.simulator.record import RecordSpec
from exporter.simulator.server import RunningSimulator, make_url, run, serve

PAGE = "/api/v1/job/record/page"
RECORD = "/api/v1/job/record"
RESULT = "/api/v1/job/record/result"
JSON = {"Content-Type": "application/json"}
NOT_INT = '{"status":"error","message":"pageNo is not int","content":null}'
NOW = 1_790_000_000.0
HOSTS = make_fleet({"杭州": 20, "guangzhou-01": 20})
STILL: dict[str, Any] = {"port": 0, "traffic": False, "speed": 0.0, "start_time": NOW}


def client(simulator: RunningSimulator, **settings: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=simulator.url, headers=JSON, trust_env=False, **settings)


def fill(simulator: RunningSimulator, count: int = 30) -> None:
    """Put finished records there, each on two hosts."""
    world = simulator.platform.world
    for number in range(count):
        hosts = (HOSTS["杭州"][number % 20], HOSTS["guangzhou-01"][number % 20])
        name = world.add(RecordSpec(hosts=hosts, id=f"r{number}", start=NOW - 100 + number), NOW)
        world.finish(name, "success", NOW)


@pytest.fixture
async def still() -> AsyncIterator[RunningSimulator]:
    """A platform of 30 records on which nothing happens, and time stands still."""
    async with await serve(SimulatorConfig(**STILL)) as simulator:
        fill(simulator)
        yield simulator


@pytest.fixture
async def http(still: RunningSimulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client(still) as session:
        yield session


async def test_the_three_endpoints_answer(http: httpx.AsyncClient) -> None:
    """A page, a record and its results, as the world has them."""
    page = (await http.get(PAGE, params={"pageNo": 2, "pageSize": 20})).json()["content"]
    assert (page["TotalCount"], page["PageCount"], len(page["List"])) == (30, 2, 20)
    assert (await http.get(RECORD, params={"id": "r7"})).json()["content"]["id"] == "r7"
    assert len((await http.get(RESULT, params={"id": "r7"})).json()["content"]) == 2


@pytest.mark.parametrize(
    ("asked", "headers", "status", "text"),
    [
        (f"GET {PAGE}.json?pageNo=1&pageSize=2", JSON, 200, None),
        (f"GET {PAGE}?pageNo=1&pageSize=2", {"Content-Type": "Application/JSON; charset=utf-8"}, 200, None),
        (f"GET {PAGE}?pageNo=1&pageSize=2", {"Content-Type": "text/plain"}, 415, ""),
        (f"GET {PAGE}?pageNo=1&pageSize=2", {"Accept": "application/json"}, 415, ""),
        (f"GET {PAGE}/?pageNo=1&pageSize=2", JSON, 404, "404 page not found\n"),
        ("GET /api/v2", JSON, 404, "404 page not found\n"),
        (f"POST {PAGE}?pageNo=1&pageSize=2", JSON, 405, ""),
        (f"HEAD {PAGE}?pageNo=1&pageSize=2", JSON, 405, ""),
        (f"GET {PAGE}?pageNo=+1&pageSize=2", JSON, 200, NOT_INT),
    ],
)
async def test_it_has_the_manners_of_the_recorded_platform(
    still: RunningSimulator, asked: str, headers: dict[str, str], status: int, text: str | None
) -> None:
    """Content types, methods, slashes and the suffix, as recorded."""
    method, _, path = asked.partition(" ")
    async with httpx.AsyncClient(trust_env=False) as bare:
        response = await bare.request(method, still.url + path, headers=headers)
    assert response.status_code == status
    assert text is None or response.text == text
    types = {200: "application/json; charset=utf-8", 404: "text/plain; charset=utf-8"}
    assert response.headers.get("Content-Type") == types.get(status)


async def test_small_bodies_have_a_length_and_large_ones_come_in_chunks(http: httpx.AsyncClient) -> None:
    """As recorded; and never compressed, whatever is accepted."""
    small = await http.get(RECORD, params={"id": "none"}, headers={"Accept-Encoding": "gzip"})
    large = await http.get(PAGE, params={"pageNo": 1, "pageSize": 20}, headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Length"] == str(len(small.content))
    assert large.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Encoding" not in large.headers
    assert "Server" not in large.headers


@pytest.mark.parametrize("skew", [0.0, 90.0, -90.0])
async def test_the_date_header_is_the_clock_of_the_platform(skew: float) -> None:
    """Its own time, ahead or behind by the skew asked for."""
    async with (
        await serve(SimulatorConfig(**STILL, clock_skew=skew)) as simulator,
        client(simulator) as session,
    ):
        date = (await session.get("/")).headers["Date"]
    assert parsedate_to_datetime(date).timestamp() == NOW + skew


async def test_the_landing_page_says_what_this_is(http: httpx.AsyncClient) -> None:
    """Nobody shall take it for a real platform."""
    assert "No real jobs run here" in (await http.get("/")).text


BASIC = {"username": "reader", "password": "pass:word"}


@pytest.mark.parametrize(
    ("config", "auth", "message"),
    [
        (BASIC, httpx.BasicAuth("reader", "pass:word"), ""),
        (BASIC, httpx.BasicAuth("reader", "wrong"), "invalid user"),
        (BASIC, httpx.BasicAuth("用户", "密码"), "invalid user"),
        (BASIC, None, "invalid authorization data"),
        (BASIC, {"Authorization": "Bearer abc"}, "invalid authorization data"),
        (BASIC, {"Authorization": "Basic ???"}, "invalid user"),
        (BASIC, {"Authorization": "Basic /w=="}, "invalid user"),
        ({"token": "t0ken"}, {"Authorization": "Bearer t0ken"}, ""),
        ({"token": "t0ken"}, {"Authorization": "Bearer other"}, "invalid authorization data"),
        ({"token": "t0ken"}, {"Authorization": "Basic eDp5"}, "invalid user"),
    ],
)
async def test_credentials_are_checked_as_recorded(config: dict[str, Any], auth: Any, message: str) -> None:
    """Wrong ones are HTTP 200 with the status error, and win over a missing Content-Type."""
    async with (
        await serve(SimulatorConfig(**STILL, **config)) as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False) as session,
    ):
        headers = auth if isinstance(auth, dict) else {}
        basic = auth if isinstance(auth, httpx.Auth) else None
        answer = await session.get(PAGE, headers=headers, auth=basic)
        assert answer.status_code == (200 if message else 415)
        assert not message or answer.json()["message"] == message


async def change(http: httpx.AsyncClient, **faults: Any) -> None:
    (await http.post("/sim/faults", json=faults)).raise_for_status()


async def test_a_reset_is_a_connection_error(http: httpx.AsyncClient) -> None:
    """The client sees its connection break, and the next request works again."""
    await change(http, rate=1, kinds=["reset"])
    with pytest.raises(httpx.NetworkError):
        await http.get(PAGE)
    await change(http, rate=0)
    assert (await http.get(RECORD, params={"id": "r1"})).status_code == 200
    await change(http, down=True)
    with pytest.raises(httpx.NetworkError):
        await http.get(RECORD)


async def test_a_truncated_body_is_a_protocol_error(http: httpx.AsyncClient) -> None:
    """The promised length does not come."""
    await change(http, rate=1, kinds=["truncated"])
    for size in (1, 20):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(PAGE, params={"pageNo": 1, "pageSize": size})


async def test_a_slow_answer_is_a_timeout_for_the_impatient(http: httpx.AsyncClient) -> None:
    """It is the right answer, but late; pages can be slow on their own."""
    await change(http, rate=1, kinds=["slow"], slow_seconds=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await http.get(RECORD, params={"id": "r1"}, timeout=0.05)
    assert (await http.get(RECORD, params={"id": "r1"})).json()["content"]["id"] == "r1"
    await change(http, rate=0, page_delay=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await http.get(PAGE, params={"pageNo": 1, "pageSize": 1}, timeout=0.05)
    assert (await http.get(RECORD, params={"id": "r1"}, timeout=1)).status_code == 200


@pytest.mark.parametrize(
    ("faults", "status", "text"),
    [
        ({"rate": 1, "kinds": ["server-error"]}, 500, "Internal Server Error\n"),
        ({"rate": 1, "kinds": ["not-json"]}, 200, "<html>"),
        ({"rate": 1, "kinds": ["api-error"]}, 200, '"status":"error"'),
        ({"rate": 1, "kinds": ["database-down"]}, 200, "connection refused"),
        ({"database_down": True}, 200, "connection refused"),
        ({"reject_credentials": True}, 200, "invalid user"),
        ({"forbid": True}, 403, "Forbidden\n"),
        ({"retry_after": 3}, 429, "Too Many Requests\n"),
    ],
)
async def test_faults_are_seen_by_the_client(
    http: httpx.AsyncClient, still: RunningSimulator, faults: dict[str, Any], status: int, text: str
) -> None:
    """Each has its status and its words, and is counted."""
    await change(http, **faults)
    answer = await http.get(PAGE, params={"pageNo": 1, "pageSize": 1})
    assert (answer.status_code, text in answer.text) == (status, True)
    assert answer.headers.get("Retry-After") == ("3" if status == 429 else None)
    assert sum(still.platform.stats.faults.values()) == 1


async def test_the_documented_dialect_fails_with_http_statuses() -> None:
    """The same faults in the other dialect."""
    config = SimulatorConfig(**STILL, dialect="documented", username="a", password="b")
    async with await serve(config) as simulator, client(simulator) as session:
        fill(simulator)
        assert (await session.get(PAGE)).status_code == 401
        session.auth = httpx.BasicAuth("a", "b")
        assert (await session.get(PAGE, headers={"Content-Type": ""})).status_code == 400
        page = (await session.get(PAGE)).json()
        assert (page["totalCount"], len(page["list"]), page["list"][0]["id"]) == (30, 10, "r0")
        await change(session, database_down=True)
        assert (await session.get(PAGE)).status_code == 500


async def test_what_was_asked_for_is_counted(http: httpx.AsyncClient) -> None:
    """Requests and bytes by endpoint, records delivered in pages, until they are cleared."""
    page = await http.get(PAGE, params={"pageNo": 1, "pageSize": 20})
    await http.get(RECORD, params={"id": "r1"})
    await http.get(RESULT, params={"id": "r1"})
    await http.get(RESULT, params={"id": "none"})
    stats = (await http.get("/sim/stats")).json()
    assert stats["requests"] == {"page": 1, "record": 1, "result": 2}
    assert stats["page_records"] == 20
    assert stats["body_bytes"]["page"] == stats["largest_page"] == len(page.content)
    assert (stats["now"], stats["scenario"]) == (NOW, "demo")
    await http.post("/sim/clear-stats")
    assert (await http.get("/sim/stats")).json()["requests"] == {}


async def test_the_truth_is_told(http: httpx.AsyncClient, still: RunningSimulator) -> None:
    """Facts of what finished, of late if asked, with their sums."""
    world = still.platform.world
    name = world.add(RecordSpec(hosts=HOSTS["杭州"][:2], id="late"), NOW)
    world.add(RecordSpec(hosts=HOSTS["杭州"][:1], id="open"), NOW)
    world.finish(name, "fail", NOW + 50)
    truth = (await http.get("/sim/truth", params={"since": NOW + 1})).json()
    assert [fact["id"] for fact in truth["finished"]] == ["late"]
    assert (truth["total"], truth["open"], truth["lost"], truth["pending_events"]) == (32, ["open"], [], 0)
    assert truth["tally"] == {
        "results": {"fail": 1},
        "durations": {"fail": [1, 50]},
        "kinds": [["fail", "salt", "bash", 1]],
        "hosts": [["杭州", "fail", 2]],
        "outcomes": [["杭州", "failed", 1]],
    }
    assert len((await http.get("/sim/truth")).json()["finished"]) == 31
    assert (await http.get("/sim/truth", params={"since": "soon"})).status_code == 400


async def test_time_moves_by_the_control_page() -> None:
    """Jobs arrive and end while the time is pushed, and rest after the traffic was stopped."""
    config = SimulatorConfig(port=0, speed=0, start_time=NOW, scenario="traps", rate=2, history=50)
    async with await serve(config) as simulator, client(simulator) as session:
        assert (await session.post("/sim/advance", json={"seconds": 60})).json() == {"now": NOW + 60}
        truth = (await session.get("/sim/truth")).json()
        assert truth["total"] > 100
        assert truth["pending_events"] > 0
        assert (await session.post("/sim/scenario", json={"name": "calm"})).status_code == 200
        await session.post("/sim/stop-traffic", json={"drain": True})
        rest = (await session.get("/sim/truth")).json()
        assert rest["pending_events"] == 0
        assert len(rest["open"]) + len(rest["finished"]) == rest["total"]
        page = (await session.get(PAGE, params={"pageNo": 1, "pageSize": 1})).json()
        assert page["content"]["TotalCount"] == rest["total"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("advance", {"seconds": -1}),
        ("advance", {"seconds": "x"}),
        ("scenario", {"name": "no-such"}),
        ("faults", {"rate": 7}),
        ("faults", [1]),
    ],
)
async def test_bad_control_requests_are_refused(http: httpx.AsyncClient, path: str, body: Any) -> None:
    """They get 400 and say what is wrong."""
    answer = await http.post(f"/sim/{path}", content=json.dumps(body))
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_time_runs_as_fast_as_asked() -> None:
    """A thousand times faster than ours, from the start asked for or from now."""
    ticks = iter([5.0, 5.02])
    assert Clock(speed=1000, start=NOW, monotonic=lambda: next(ticks)).now() == pytest.approx(NOW + 20)
    before = time.time()
    assert before <= Clock(speed=0).now() <= time.time()


async def test_a_taken_port_is_an_error(still: RunningSimulator) -> None:
    """Two platforms cannot share a port."""
    with pytest.raises(OSError, match="address already in use"):
        await serve(SimulatorConfig(port=int(still.url.rpartition(":")[2])))


def test_an_ipv6_address_goes_into_brackets() -> None:
    """Else its colons would be taken for the port's."""
    assert make_url("::1", 7) == "http://[::1]:7"


async def test_the_command_stops_at_sigterm() -> None:
    """It says when it listens, and ends cleanly."""
    urls: list[str] = []

    def ready(simulator: RunningSimulator) -> None:
        urls.append(simulator.url)
        os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(run(SimulatorConfig(**STILL), ready=ready), timeout=5)
    assert urls[0].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "settings",
    [{"scenario": "x"}, {"username": "a"}, {"speed": -1}, {"rate": -1.0}, {"history": -1}, {"fault_rate": 2}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    """A clear error at once, not later."""
    with pytest.raises(ValueError, match=r"\w"):
        SimulatorConfig(**settings)


def test_the_settings_hide_their_secrets() -> None:
    """Password and token are in no representation."""
    text = repr(SimulatorConfig(username="me", password="hidden-1", token="hidden-2"))
    assert "hidden" not in text
