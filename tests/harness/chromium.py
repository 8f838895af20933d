"""A headless Chromium, driven by its own protocol over a WebSocket; nothing but loopback is asked."""

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness.deploy import ROOT

PATIENCE = 60.0  # seconds: a browser on a busy machine takes its time to start
SCREENSHOTS = ROOT / ".output" / "screenshots"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium() -> str:
    """Where Chromium is; without it the test fails where CI is set, and is skipped on a person's machine."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "chromium is not here: it comes as a Debian package"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return found


@dataclass
class Tab:
    """A page that was opened, and what the browser said about it."""

    socket: aiohttp.ClientWebSocketResponse
    session: str
    said: list[str] = field(default_factory=list)  # errors, warnings, dialogs, blocked by policy
    asked: list[str] = field(default_factory=list)  # URLs that were requested
    _number: int = 0
    _loaded: bool = False

    async def call(self, method: str, **params: Any) -> Mapping[str, Any]:
        """Ask the browser, and wait for its answer."""
        self._number += 1
        number = self._number
        await self.socket.send_json(
            {"id": number, "method": method, "params": params, "sessionId": self.session}
        )
        while True:
            message = await self.socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, message
                result: Mapping[str, Any] = message["result"]
                return result
            self._heard(message)

    def _heard(self, message: Mapping[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Log.entryAdded":
                self.said.append(params["entry"]["text"])
            case "Audits.issueAdded":
                self.said.append(params["issue"]["code"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Page.javascriptDialogOpening":
                self.said.append(str(params))

    async def show(self, url: str, *, width: int = 1280, dark: bool = False, script: bool = True) -> None:
        """Open a page at this width, light or dark, with or without JavaScript."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setScriptExecutionDisabled", value=not script)
        for domain in ("Page", "Network", "Log", "Runtime", "Audits"):
            await self.call(f"{domain}.enable")
        self._loaded = False
        await self.call("Page.navigate", url=url)
        while not self._loaded:
            self._heard(await self.socket.receive_json(timeout=PATIENCE))

    async def value(self, expression: str) -> Any:
        """Evaluate JavaScript from outside the page: its policy does not bind us."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def picture(self, name: str, *, whole: bool = True) -> Path:
        """Put a picture of the page into the folder that CI keeps."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": size["height"] if whole else 1400,
            "scale": 1,
        }
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """Run a Chromium with its profile in `folder`, with one empty tab."""
    process = await asyncio.create_subprocess_exec(
        chromium(),
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(PATIENCE):
            url = await _listening(process.stderr)
        drain = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            yield Tab(socket=socket, session=await _attached(socket))
        drain.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(65536):
        pass


async def _listening(log: asyncio.StreamReader) -> str:
    async for line in log:
        if b"DevTools listening on " in line:
            return line.split()[-1].decode()
    raise AssertionError("chromium ended before it listened")


async def _attached(socket: aiohttp.ClientWebSocketResponse) -> str:
    """A session of a new tab."""
    await socket.send_json({"id": -1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
    target = (await _answer(socket, -1))["targetId"]
    params = {"targetId": target, "flatten": True}
    await socket.send_json({"id": -2, "method": "Target.attachToTarget", "params": params})
    return str((await _answer(socket, -2))["sessionId"])


async def _answer(socket: aiohttp.ClientWebSocketResponse, number: int) -> Mapping[str, Any]:
    while True:
        message = await socket.receive_json(timeout=PATIENCE)
        if message.get("id") == number:
            result: Mapping[str, Any] = message["result"]
            return result
