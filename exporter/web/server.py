"""What is served: metrics, the page, health and readiness; the same rules for every request.

In this order: the rate limit, the user, the path, the method. As in the exporter-toolkit, users guard
every path, health and readiness included: to a stranger all paths look alike. Paths are compared byte
for byte, nothing is decoded or tidied up, so there is no second spelling of any. Bodies are dropped.
No handler waits for a poll or does work of its own: each hands out what is there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from exporter import __version__
from exporter.metrics.exposition import Scrape
from exporter.web.auth import Logins, Verdict
from exporter.web.clients import client_of
from exporter.web.config import WebError
from exporter.web.listener import Connection, Gate, Limits
from exporter.web.reload import Policy, Watcher

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Route = Callable[[web.BaseRequest], Awaitable[web.Response]]

METHODS = ("GET", "HEAD")
PIECE = 131_072  # bytes sent at once: all that a client that does not read makes us hold beside the kernel
_TARGET_FORM = ("http://", "https://")  # a proxy's: the whole URL in the request line
HEADERS: Mapping[str, str] = {
    "Server": "job-exporter",  # else aiohttp names itself, Python and both versions
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",  # every answer is of this moment, and may be for one user only
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """An HTML document, and the Content-Security-Policy that it needs."""

    html: str
    policy: str


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Where and how to listen."""

    listen_addresses: tuple[str, ...] = (":16868",)
    config_file: Path | None = None  # in the exporter-toolkit's format; None: plain HTTP for everyone
    telemetry_path: str = "/metrics"


class Web:
    """The server. Every callable given is called on the event loop and must answer from what is at hand.

    `scrape(accept, accept_encoding)`: the two headers, "" where missing. `ready()`: None, or in words
    why not yet; everyone who may read sees them. `landing()`: the page at `/` (None: one line of text).
    `routes`: further exact paths; a handler returns a response, and its own headers win over ours.
    """

    def __init__(
        self,
        config: WebConfig,
        *,
        scrape: Callable[[str, str], Scrape],
        ready: Callable[[], str | None],
        landing: Callable[[], Page] | None = None,
        routes: Mapping[str, Route] | None = None,
        limits: Limits | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._config = config
        self._scrape = scrape
        self._ready = ready
        self._landing = landing
        self._limits = limits or Limits()
        self._logins = logins or Logins()
        self._routes = self._all_routes(routes or {})
        self._watcher: Watcher | None = None
        self._server: web.Server | None = None
        self._gate: Gate | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports listened on, in the order of `listen_addresses`; none before `start`."""
        return self._gate.ports if self._gate else ()

    async def start(self) -> None:
        """Read the web configuration file and listen; raises WebError, one line, and then holds nothing."""
        watcher = Watcher(self._config.config_file, self._logins)
        server = web.Server(self._handle)
        limits = self._limits
        gate = Gate(
            lambda tls: Connection(server, limits, tls, self._failure), lambda: watcher.current().tls, limits
        )
        self._watcher, self._server = watcher, server
        gate.open(self._config.listen_addresses)
        self._gate = gate
        policy = watcher.current()
        for address, port in zip(self._config.listen_addresses, gate.ports, strict=True):
            log.info("listening", address=address, port=port, tls=bool(policy.tls), users=bool(policy.users))

    async def stop(self) -> None:
        """Take no more, let answers under way finish (a second at most), end every connection."""
        if self._gate and self._server:
            self._gate.close()
            self._server.pre_shutdown()
            await self._server.shutdown(self._limits.stop)
            await self._gate.drop()
            self._gate = None
        await self._logins.close()

    def reload(self) -> bool:
        """Read the web configuration again (SIGHUP); False: it is broken (logged), the old one stays."""
        return self._watcher.reload() if self._watcher else False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        policy = cast("Watcher", self._watcher).current()
        with cast("Connection", request.protocol).serving():
            response = _finish(await self._answer(request, policy), policy.headers)
            # Sent here, not by aiohttp after this returns: the deadline covers a client that does not read.
            await _send(response, request)
        return response

    async def _answer(self, request: web.BaseRequest, policy: Policy) -> web.Response:
        if policy.rate and not policy.rate.allow():
            return text("Too many requests", 429, {"Retry-After": "1"})
        if policy.users:
            client = client_of(request.remote or "")
            verdict = await policy.users.admit(request.headers.get("Authorization"), client)
            if verdict is Verdict.BUSY:
                return text("Too many logins are waiting", 503, {"Retry-After": "1"})
            if verdict is Verdict.REFUSED:
                return text("Unauthorized", 401, {"WWW-Authenticate": 'Basic realm="job-exporter"'})
        route = self._routes.get(_path(request))
        if route is None:
            return text("Not found", 404)
        if request.method not in METHODS:
            return text("Method not allowed", 405, {"Allow": ", ".join(METHODS)})
        return await route(request)

    def _failure(self, request: web.BaseRequest, status: int, error: BaseException | None) -> web.Response:
        if status >= 500:
            # A fault of ours. The client's bytes are in neither the log line nor the answer.
            log.error("request failed", path=_path(request)[:100], exc_info=error)
        policy = cast("Watcher", self._watcher).current()
        return _finish(text(HTTPStatus(status).phrase, status), policy.headers)

    def _all_routes(self, further: Mapping[str, Route]) -> dict[str, Route]:
        path = self._config.telemetry_path
        ours: dict[str, Route] = {
            "/": self._serve_landing,
            "/-/healthy": self._serve_healthy,
            "/-/ready": self._serve_ready,
        }
        if (
            not path.startswith("/")
            or path.startswith("//")
            or not path.isprintable()
            or set(path) & set(" ?#%")
        ):
            raise WebError(f"telemetry path {path!r} must be a plain path such as /metrics")
        if path in ours and path != "/":
            raise WebError(f"telemetry path {path} is taken; choose another such as /metrics")
        return {**ours, **further, path: self._serve_metrics}

    async def _serve_metrics(self, request: web.BaseRequest) -> web.Response:
        scrape = self._scrape(_joined(request, "Accept"), _joined(request, "Accept-Encoding"))
        headers = {"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"}
        if scrape.content_encoding:
            headers["Content-Encoding"] = scrape.content_encoding
        return web.Response(body=scrape.body, status=scrape.status, headers=headers)

    async def _serve_landing(self, _request: web.BaseRequest) -> web.Response:
        if self._landing is None:
            return text(f"job-exporter {__version__}: metrics at {self._config.telemetry_path}")
        page = self._landing()
        return web.Response(
            text=page.html, content_type="text/html", headers={"Content-Security-Policy": page.policy}
        )

    async def _serve_healthy(self, _request: web.BaseRequest) -> web.Response:
        return text("healthy")

    async def _serve_ready(self, _request: web.BaseRequest) -> web.Response:
        reason = self._ready()
        return text("ready") if reason is None else text(f"not ready: {reason}", 503)


def text(words: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make an answer of one plain line."""
    return web.Response(text=words + "\n", status=status, headers=headers)


def _finish(response: web.Response, configured: Mapping[str, str]) -> web.Response:
    """Add the headers of every answer; the file's win over a page's, a page's over ours."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.update(configured)
    return response


async def _send(response: web.Response, request: web.BaseRequest) -> None:
    """Send an answer piece by piece: given whole, a transport copies what its client does not take yet."""
    body = response.body
    await response.prepare(request)
    if request.method == "HEAD" or not isinstance(body, bytes) or len(body) <= PIECE:
        await response.write_eof()
        return
    view = memoryview(body)
    for start in range(0, len(body), PIECE):
        await response.write(view[start : start + PIECE])
    await web.StreamResponse.write_eof(response)  # Response's own would send the whole body once more


def _path(request: web.BaseRequest) -> str:
    target = request.raw_path
    if target.startswith(_TARGET_FORM):
        return urlsplit(target).path or "/"
    return target.partition("?")[0]


def _joined(request: web.BaseRequest, name: str) -> str:
    return ", ".join(request.headers.getall(name, ()))
