"""The page of the whole exporter, over HTTP, beside a simulated platform."""

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import aiohttp

from exporter.app import Exporter
from exporter.settings import load
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.dialect import CANARY
from exporter.simulator.server import serve
from tests.harness.page import Reader

PATIENCE = 60.0  # seconds for the history to be counted


async def test_the_exporter_serves_its_page(tmp_path: Path) -> None:
    """Counts are on the page and failures in the JSON; secrets of records are in neither."""
    async with await serve(SimulatorConfig(port=0, history=200, scenario="traps", rate=0)) as platform:
        settings = load(
            [
                f"--api.base-url={platform.url}",
                f"--state.url=sqlite:///{tmp_path}/ledger.db",
                "--poll.history=all",
                "--poll.settle-grace=1s",
                "--poll.interval=1s",
                "--web.listen-address=127.0.0.1:0",
                "--web.record-url=http://jobs.example/{id}",
            ],
            {},
        )
        exporter = Exporter(settings)
        await exporter.start()
        try:
            page, failures = await _told(f"http://127.0.0.1:{exporter.web.ports[0]}")
        finally:
            await exporter.stop()
    told = Reader(page)
    assert told.find("h1")[0].text in {"Working", "Catching up"}
    assert told.rows("杭州")
    items = json.loads(failures)["failures"]
    assert items[0]["url"] == "http://jobs.example/" + quote(items[0]["id"], safe="")
    shown = {row.attributes["id"] for row in told.find("tr") if "id" in row.attributes}
    assert shown
    assert shown <= {"record-" + quote(item["id"], safe="") for item in items}
    assert CANARY not in page + failures


async def _told(url: str) -> tuple[str, str]:
    """The page and the failures, once the first poll has ended."""
    async with aiohttp.ClientSession(url) as client, asyncio.timeout(PATIENCE):
        while True:
            async with client.get("/-/ready") as answer:
                if answer.status == 200:
                    break
            await asyncio.sleep(0.1)  # the first poll has no event that a client could wait for
        async with client.get("/") as page, client.get("/api/failures") as failures:
            return await page.text(), await failures.text()
