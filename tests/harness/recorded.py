"""The recorded responses of a real platform, as `recorded/INDEX.md` lists them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from exporter.jobapi.client import JobApi
from exporter.jobapi.errors import Endpoint
from exporter.settings import ApiSettings

FOLDER = Path(__file__).parents[1] / "recorded"
ENDPOINTS: dict[str, Endpoint] = {"page": "page", "page.json": "page", "record": "record", "result": "result"}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One response and the request that it answered."""

    name: str
    endpoint: Endpoint
    query: dict[str, str]
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def number(self) -> int:
        """The page number that was asked; 1 where it was no number."""
        return _number(self.query.get("pageNo"), 1)

    @property
    def size(self) -> int:
        """The page size that was asked; 20 where it was no number."""
        return _number(self.query.get("pageSize"), 20)

    def response(self, _: httpx.Request | None = None) -> httpx.Response:
        """Return the response as a client meets it."""
        return httpx.Response(self.status, headers=self.headers, content=self.body)

    async def ask(self, api: JobApi) -> object:
        """Ask the recorded question: a Page, a Record or Results."""
        if self.endpoint == "page":
            return (await api.page(self.number, self.size))[0]
        record_id = self.query.get("id", "")
        return await (api.record(record_id) if self.endpoint == "record" else api.results(record_id))


def config(base_url: str = "http://platform.test:6868", **changes: Any) -> ApiSettings:
    """Settings for tests: nothing is tried twice, and responses are small."""
    return ApiSettings(**{"base_url": base_url, "max_response_bytes": 1_000_000, "retries": 0, **changes})


def recordings() -> dict[str, Recording]:
    """Return every recording of the index by name."""
    index = (FOLDER / "INDEX.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+)\.http \| `\S+ ([^`]+)` \|", index, re.MULTILINE)
    return {name: _load(name, target) for name, target in rows}


def _load(name: str, target: str) -> Recording:
    head, body = (FOLDER / f"{name}.http").read_bytes().split(b"\r\n\r\n", 1)
    status_line, *lines = head.decode("ascii").split("\r\n")
    url = urlsplit(target)
    return Recording(
        name=name,
        endpoint=ENDPOINTS[url.path.rstrip("/").rpartition("/")[2]],
        query={key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()},
        status=int(status_line.split()[1]),
        headers=[(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)],
        body=body,
    )


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,9}", text) else default
