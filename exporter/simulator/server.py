"""The simulated platform on a socket: the three endpoints of the job API, with its manners and faults."""

import asyncio
import base64
import binascii
import hmac
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from types import TracebackType
from typing import Self

from aiohttp import hdrs, web

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.control import add_control
from exporter.simulator.dialect import TEXT_TYPE, Answer, Endpoint
from exporter.simulator.faults import Fault
from exporter.simulator.observed import DATABASE_DOWN
from exporter.simulator.platform import Platform

ENDPOINTS: dict[str, Endpoint] = {
    "/api/v1/job/record/page": "page",
    "/api/v1/job/record": "record",
    "/api/v1/job/record/result": "result",
}
CHUNKED_FROM = 2049  # bytes; what the recorded platform sent chunked was larger than its 2048-byte buffer
HTML = Answer(body=b"<html><body><h1>502 Bad Gateway</h1></body></html>", content_type="text/html")
NO_LINGER = struct.pack("ii", 1, 0)  # closing a socket resets the connection


class RunningSimulator:
    """A server that listens at `url`; close it, or use it as an async context manager."""

    def __init__(self, platform: Platform, runner: web.AppRunner, url: str) -> None:
        self.platform = platform
        self.url = url
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and drop the connections."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def serve(config: SimulatorConfig) -> RunningSimulator:
    """Start a platform; OSError when the address is taken or not ours."""
    platform = Platform(config)
    app = web.Application()
    app.router.add_route("*", "/api/{tail:.*}", _Api(platform).handle)
    app.on_response_prepare.append(_headers(platform))
    add_control(app, platform)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError:
        await runner.cleanup()
        raise
    host, port = runner.addresses[0][:2]
    return RunningSimulator(platform, runner, make_url(host, port))


def make_url(host: str, port: int) -> str:
    """Give the base URL of an address; IPv6 goes into brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def run(config: SimulatorConfig, *, ready: Callable[[RunningSimulator], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once the server listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        async with await serve(config) as simulator:
            if ready is not None:
                ready(simulator)
            await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


class _Api:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def handle(self, request: web.Request) -> web.StreamResponse:
        endpoint = ENDPOINTS.get(request.path.removesuffix(".json"))
        if endpoint is None:
            return _respond(_text(404, "404 page not found\n"))
        if request.method != hdrs.METH_GET:
            return _respond(Answer(body=b"", status=405, content_type=None))
        platform = self._platform
        fault = platform.faults.pick()
        platform.stats.requests[endpoint] += 1
        if fault is not None:
            platform.stats.faults[fault] += 1
        if fault is Fault.RESET:
            return _reset(request)
        if endpoint == "page" and platform.faults.settings.page_delay:
            await asyncio.sleep(platform.faults.settings.page_delay)
        if fault is Fault.SLOW:
            await asyncio.sleep(platform.faults.settings.slow_seconds)
        answer = self._failed(fault) or self._answer(request, endpoint)
        self._note(endpoint, answer)
        if fault is Fault.TRUNCATED:
            return await _truncate(request, answer)
        response = _respond(answer)
        if fault is Fault.TOO_MANY:
            response.headers[hdrs.RETRY_AFTER] = str(platform.faults.settings.retry_after)
        return response

    def _note(self, endpoint: Endpoint, answer: Answer) -> None:
        stats = self._platform.stats
        stats.body_bytes[endpoint] += len(answer.body)
        stats.page_records += answer.records
        if endpoint == "page":
            stats.largest_page = max(stats.largest_page, len(answer.body))

    def _failed(self, fault: Fault | None) -> Answer | None:
        dialect = self._platform.dialect
        made: dict[Fault, Callable[[], Answer]] = {
            Fault.SERVER_ERROR: lambda: _text(500, "Internal Server Error\n"),
            Fault.NOT_JSON: lambda: HTML,
            Fault.API_ERROR: lambda: dialect.failure("something went wrong"),
            Fault.DATABASE_DOWN: lambda: dialect.failure(DATABASE_DOWN),
            Fault.TOO_MANY: lambda: _text(429, "Too Many Requests\n"),
            Fault.UNAUTHORIZED: lambda: dialect.unauthorized(known_scheme=True),
            Fault.FORBIDDEN: lambda: _text(403, "Forbidden\n"),
        }
        return made[fault]() if fault in made else None

    def _answer(self, request: web.Request, endpoint: Endpoint) -> Answer:
        platform = self._platform
        refused = self._refuse(request.headers.get(hdrs.AUTHORIZATION, ""))
        if refused is not None:  # as recorded: this error wins over a missing Content-Type
            return refused
        if request.content_type.lower() != "application/json" or hdrs.CONTENT_TYPE not in request.headers:
            return platform.dialect.wrong_content_type()
        platform.tick()
        return platform.dialect.answer(platform.world, endpoint, request.query)

    def _refuse(self, header: str) -> Answer | None:
        config = self._platform.config
        scheme, _, value = header.partition(" ")
        if config.username is None and config.token is None:
            return None
        basic = scheme.lower() == "basic"
        if basic and config.username is not None:
            right = _same(_decode(value), f"{config.username}:{config.password}")
        else:
            right = scheme.lower() == "bearer" and config.token is not None and _same(value, config.token)
        return None if right else self._platform.dialect.unauthorized(known_scheme=basic)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _text(status: int, text: str) -> Answer:
    return Answer(body=text.encode(), status=status, content_type=TEXT_TYPE)


def _respond(answer: Answer) -> web.Response:
    response = web.Response(body=answer.body, status=answer.status)
    if answer.content_type is not None:
        response.headers[hdrs.CONTENT_TYPE] = answer.content_type
    if answer.content_type == TEXT_TYPE:
        response.headers["X-Content-Type-Options"] = "nosniff"
    if len(answer.body) >= CHUNKED_FROM:
        response.enable_chunked_encoding()
    return response


async def _truncate(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Promise the whole body, send half of it, and hang up."""
    response = web.StreamResponse(status=answer.status)
    response.content_length = len(answer.body)
    response.headers[hdrs.CONTENT_TYPE] = answer.content_type or TEXT_TYPE
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _reset(request: web.Request) -> web.StreamResponse:
    """Reset the connection; the response that the server wants is never sent."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        request.transport.abort()
    return web.Response()


def _headers(platform: Platform) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def prepare(_: web.Request, response: web.StreamResponse) -> None:
        now = platform.clock.now() + platform.config.clock_skew
        response.headers[hdrs.DATE] = formatdate(now, usegmt=True)
        response.headers.pop(hdrs.SERVER, None)
        if response.status in {405, 415}:
            response.headers.pop(hdrs.CONTENT_TYPE, None)  # as recorded

    return prepare
