"""How a platform talks: the parts that both dialects share. PURE: a world and a query in, bytes out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal, Protocol

import msgspec

from exporter.simulator.record import Record
from exporter.simulator.world import World

Endpoint = Literal["page", "record", "result"]
TimeFormat = Literal["rfc3339", "plain"]

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
ZERO_TIME = "0001-01-01T00:00:00Z"

# Every text that may hold secrets holds this one: a test that finds it in a log or a metric found a leak.
CANARY = "s3cr3t-canary"

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)  # 18 digits: what surely fits the platform's 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response without its transport: `records` is how many records a page delivered."""

    body: bytes
    status: int = 200
    content_type: str | None = JSON_TYPE
    records: int = 0


class Dialect(Protocol):
    """One way to write the world down."""

    def answer(self, world: World, endpoint: Endpoint, query: Mapping[str, str]) -> Answer:
        """Answer a request for one of the three endpoints; bad queries get the dialect's error."""
        ...

    def failure(self, message: str) -> Answer:
        """Answer that the platform failed."""
        ...

    def unauthorized(self, *, known_scheme: bool) -> Answer:
        """Answer that the credentials are wrong, or (`known_scheme=False`) no basic ones at all."""
        ...

    def wrong_content_type(self) -> Answer:
        """Answer to a request without `Content-Type: application/json`."""
        ...


def integer(text: str | None) -> int | None:
    """Read a query parameter as the platform does; None for what is no integer."""
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


def make_zone(offset_hours: float) -> timezone:
    """Give the server's zone; offset 0 is UTC, which is written `Z`."""
    return timezone(timedelta(hours=offset_hours)) if offset_hours else UTC


def write_time(seconds: int, zone: timezone, style: TimeFormat = "rfc3339") -> str:
    """Write POSIX seconds in whole seconds of the zone."""
    moment = datetime.fromtimestamp(seconds, zone)
    if style == "plain":
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    return moment.isoformat().removesuffix("+00:00") + ("Z" if zone is UTC else "")


def hosts_of(record: Record) -> str:
    """Give the list of host ids in a string: `null` when it has none (as recorded), empty when untold."""
    if not record.spec.hosts_listed:
        return ""
    return msgspec.json.encode([host.id for host in record.spec.hosts] or None).decode()


def script_of(record: Record) -> str:
    """Give the script of a record: text that no one else may see."""
    return f'echo "{record.spec.name}"; mysql -u root -p{CANARY}-script <<<"select 1 & 2"'


def stdout_of(status: str, size: int) -> str:
    """Give what a host wrote, about `size` characters; empty until it reported."""
    if not status:
        return ""
    line = f"部署 ok ✅ \x1b[32m{CANARY}-stdout\x1b[0m\r\n"
    return line * max(1, size // len(line))


def stderr_of(status: str) -> str:
    """Give what a host complained."""
    return f'"{CANARY}-stderr"\n' if status.lower() in {"fail", "error"} else ""
