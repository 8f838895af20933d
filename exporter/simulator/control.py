"""The pages under /sim/: tests look at the truth there and pull the strings.

GET truth (`?since=` POSIX seconds of the end; sums under `tally`), stats; POST faults, scenario, advance,
stop-traffic, clear-stats with a JSON object. A bad request gets 400 and `{"error": "…"}`.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from exporter.simulator.platform import Platform
from exporter.simulator.truth import tally

LANDING = """job-exporter simulate: a job platform to play with. No real jobs run here.

GET  /api/v1/job/record/page?pageNo=1&pageSize=20   records, page by page
GET  /api/v1/job/record?id=                         one record
GET  /api/v1/job/record/result?id=                  the results of its hosts
     (send Content-Type: application/json)
GET  /-/healthy                                     200 while the simulator answers
GET  /sim/truth  /sim/stats                         what really happened, what was asked for
POST /sim/faults  /sim/scenario  /sim/advance  /sim/stop-traffic  /sim/clear-stats
"""

_Step = Callable[[Platform, Mapping[str, object]], None]


def add_control(app: web.Application, platform: Platform) -> None:
    """Put the control pages of a platform into its server."""

    async def landing(_: web.Request) -> web.Response:
        return web.Response(text=LANDING)

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def truth(request: web.Request) -> web.Response:
        platform.tick()
        try:
            since = float(request.query.get("since", "-inf"))
        except ValueError:
            return _json({"error": "since must be POSIX seconds"}, status=400)
        return _json(describe_truth(platform, since))

    async def stats(_: web.Request) -> web.Response:
        now = platform.tick()
        return _json({"now": now, "scenario": platform.scenario, **msgspec.to_builtins(platform.stats)})

    app.router.add_get("/", landing)
    app.router.add_get("/-/healthy", healthy)
    app.router.add_get("/sim/truth", truth)
    app.router.add_get("/sim/stats", stats)
    for name, step in _STEPS.items():
        app.router.add_post(f"/sim/{name}", _handler(platform, step))


def describe_truth(platform: Platform, since: float) -> dict[str, object]:
    """Give the truth of what finished after `since` (POSIX seconds), fit for JSON."""
    world = platform.world
    facts = [fact for fact in world.truth().values() if fact.finished >= since]
    sums = tally(facts)
    return {
        "total": len(world),
        "open": sorted(world.open_ids()),
        "lost": sorted(world.lost_ids()),
        "pending_events": platform.traffic.pending(),
        "finished": facts,
        "tally": {
            "results": sums.results,
            "durations": sums.durations,
            "kinds": [[*key, count] for key, count in sums.kinds.items()],
            "hosts": [[*key, count] for key, count in sums.hosts.items()],
            "outcomes": [[*key, count] for key, count in sums.outcomes.items()],
        },
    }


def _json(content: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def _handler(platform: Platform, step: _Step) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read() or b"{}", type=dict[str, object])
            platform.tick()
            step(platform, wanted)
        except ValueError as error:  # msgspec's errors are ValueErrors too
            return _json({"error": str(error)}, status=400)
        return _json({"now": platform.tick()})

    return handle


def _scenario(platform: Platform, wanted: Mapping[str, object]) -> None:
    platform.change_scenario(str(wanted.get("name")))


def _advance(platform: Platform, wanted: Mapping[str, object]) -> None:
    seconds = wanted.get("seconds")
    if not isinstance(seconds, int | float):
        raise ValueError("seconds must be a number")  # noqa: TRY004 - one kind of error for a bad request
    platform.clock.advance(seconds)


def _stop(platform: Platform, wanted: Mapping[str, object]) -> None:
    platform.traffic.stop(platform.world, platform.clock.now(), drain=wanted.get("drain") is True)


_STEPS: Mapping[str, _Step] = {
    "faults": lambda platform, wanted: platform.faults.change(wanted),
    "scenario": _scenario,
    "advance": _advance,
    "stop-traffic": _stop,
    "clear-stats": lambda platform, _: platform.stats.clear(),
}
