"""Serves metrics, the page, health and readiness, with the same rules for every request.

The rules are checked in this order: rate limit, user, path, method. As in the exporter-toolkit, users protect
every path, health and readiness included. Paths are compared byte by byte and never decoded, so each path has
one spelling. Request bodies are dropped. Handlers return what is in memory; none waits for a poll.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from exporter.metrics.exposition import Scrape
from exporter.settings import WebSettings
from exporter.web.addresses import BACKLOG, listen, log_failed_accepts
from exporter.web.auth import Logins
from exporter.web.connections import Connection, Limits, Server
from exporter.web.reload import Policy, Watcher

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Route = Callable[[web.BaseRequest], Awaitable[web.Response]]

METHODS = ("GET", "HEAD")
_TARGET_FORM = ("http://", "https://")  # a proxy may put the whole URL into the request line
HEADERS: Mapping[str, str] = {
    "Server": "job-exporter",  # the default names aiohttp and Python, with their versions
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",  # each response is current, and may be for one user only
}


class Web:
    """The server. All callables run on the event loop and must return at once, without I/O.

    `scrape(accept, accept_encoding)` gets the two request headers; "" if missing. `ready()` returns None, or
    why the exporter is not ready; the text is shown to clients. `routes` maps further exact paths to
    handlers; the headers of a handler's response override ours.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        scrape: Callable[[str, str], Scrape],
        ready: Callable[[], str | None],
        routes: Mapping[str, Route] | None = None,
        limits: Limits | None = None,
        logins: Logins | None = None,
    ) -> None:
        """Read the web configuration file. Raises WebError."""
        self._settings = settings
        self._watcher = Watcher(settings.config_file)
        self._scrape = scrape
        self._ready = ready
        self._limits = limits or Limits()
        self._logins = logins or Logins()
        self._routes: dict[str, Route] = {
            "/-/healthy": self._serve_healthy,
            "/-/ready": self._serve_ready,
            **(routes or {}),
            settings.telemetry_path: self._serve_metrics,
        }
        self._server: Server | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports in the order of the addresses; empty before `start` and after `stop`."""
        return tuple(address[1] for address in self._runner.addresses) if self._runner else ()

    async def start(self) -> None:
        """Listen. Raises WebError; then nothing is left open."""
        addresses = self._settings.listen_address
        sockets = listen(addresses)
        self._server = Server(
            self._handle,
            tls=lambda: self._watcher.current().tls,
            failure=self._failure,
            limits=self._limits,
        )
        log_failed_accepts(asyncio.get_running_loop())
        self._runner = web.ServerRunner(self._server, shutdown_timeout=self._limits.stop)
        await self._runner.setup()
        policy = self._watcher.current()
        for address, opened in zip(addresses, sockets, strict=True):
            await web.SockSite(self._runner, opened, backlog=BACKLOG).start()
            port = opened.getsockname()[1]
            log.info(
                "listening", address=str(address), port=port, tls=bool(policy.tls), users=bool(policy.users)
            )

    async def stop(self) -> bool:
        """Accept nothing more, let responses in flight finish (at most a second), close all connections.

        False: a thread still compares a password; it cannot be stopped.
        """
        if self._runner and self._server:
            runner, self._runner = self._runner, None
            await runner.cleanup()
            for connection in list(self._server.open):
                connection.abort()
        return await self._logins.close()

    def reload(self) -> bool:
        """Reload the web configuration (SIGHUP); False: it was refused, and the log says why."""
        return self._watcher.reload()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        policy = self._watcher.current()
        connection = cast("Connection", request.protocol)
        connection.head_received()
        response = _finish(await self._answer(request, policy), policy.headers)
        try:
            async with asyncio.timeout(self._limits.send):
                return await _send(response, request, self._limits.buffer)
        except TimeoutError:
            connection.abort()
            raise ConnectionError("the client did not read its response in time") from None

    async def _answer(self, request: web.BaseRequest, policy: Policy) -> web.Response:
        if policy.rate and not policy.rate.allow():
            return text("Too many requests", 429, {"Retry-After": "1"})
        if policy.users:
            authorization = request.headers.get("Authorization")
            if not await self._logins.admit(policy.users, authorization, request.remote or ""):
                return text("Unauthorized", 401, {"WWW-Authenticate": 'Basic realm="job-exporter"'})
        route = self._routes.get(_path(request))
        if route is None:
            return text("Not found", 404)
        if request.method not in METHODS:
            return text("Method not allowed", 405, {"Allow": ", ".join(METHODS)})
        return await route(request)

    def _failure(self, request: web.BaseRequest, status: int, error: BaseException | None) -> web.Response:
        if status >= 500:
            # A bug of ours. Neither the log line nor the response repeats the client's bytes.
            log.error("request failed", path=_path(request)[:100], exc_info=error)
        policy = self._watcher.current()
        return _finish(text(HTTPStatus(status).phrase, status), policy.headers)

    async def _serve_metrics(self, request: web.BaseRequest) -> web.Response:
        scrape = self._scrape(_joined(request, "Accept"), _joined(request, "Accept-Encoding"))
        headers = {"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"}
        if scrape.content_encoding:
            headers["Content-Encoding"] = scrape.content_encoding
        return web.Response(body=scrape.body, headers=headers)

    async def _serve_healthy(self, _request: web.BaseRequest) -> web.Response:
        return text("healthy")

    async def _serve_ready(self, _request: web.BaseRequest) -> web.Response:
        reason = self._ready()
        return text("ready") if reason is None else text(f"not ready: {reason}", 503)


def text(words: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response of one line of plain text."""
    return web.Response(text=words + "\n", status=status, headers=headers)


def _finish(response: web.Response, configured: Mapping[str, str]) -> web.Response:
    """Add the common headers. Configured headers override those of the response, and these override ours."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.update(configured)
    return response


async def _send(response: web.Response, request: web.BaseRequest, piece: int) -> web.StreamResponse:
    """Send a response in pieces: TLS would encrypt a whole body before a slow client has read any of it."""
    body = response.body
    if request.method == "HEAD" or not isinstance(body, bytes) or len(body) <= piece:
        await response.prepare(request)
        await response.write_eof()
        return response
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    view = memoryview(body)
    for start in range(0, len(body), piece):
        await stream.write(view[start : start + piece])
    await stream.write_eof()
    return stream


def _path(request: web.BaseRequest) -> str:
    target = request.raw_path
    if target.startswith(_TARGET_FORM):
        return urlsplit(target).path or "/"
    return target.partition("?")[0]


def _joined(request: web.BaseRequest, name: str) -> str:
    return ", ".join(request.headers.getall(name, ()))
