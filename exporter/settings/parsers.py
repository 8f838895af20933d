"""The types of the settings: text → value. Errors are one line that says what to write.

Most are types of pydantic. Values of the right type pass unchanged, so that code may construct settings
directly. Validators of secrets never repeat the input. The texts at the end of a type: what the documentation
calls its values; then, if pydantic's message would not tell, what is wrong with any other input.
"""

import ipaddress
import itertools
import math
import os
import re
import stat
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    ByteSize,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
)

from exporter.settings.text import nearest, quote

_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(
    rf"(?=\d)(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?|{_NUMBER}",
    re.ASCII,
)
_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001, 1.0)  # of the unit of each number; the last has none
_LISTEN = re.compile(r"(?:\[([^\[\]\s]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110, field-value, in ASCII; no line ends
# Set by the HTTP client: a second value would break the framing or cause status 415.
_CLIENT_HEADERS = frozenset({"connection", "content-length", "content-type", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where to listen: `host` "" is every interface, `port` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """The text that reads as this address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def duration(value: object) -> float:
    """Read `15s`, `5m`, `24h`, `30d`, `1h30m`, `200ms` or plain seconds. Returns seconds, not negative."""
    seconds = math.nan
    if isinstance(value, int | float):
        seconds = float(value)
    elif match := _DURATION.fullmatch(str(value).strip()):
        parts = zip(match.groups(), _SECONDS, strict=True)
        seconds = math.fsum(float(number) * unit for number, unit in parts if number)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{quote(value)} is no duration; write 15s, 5m, 24h, 30d, 1h30m or plain seconds")
    return seconds


def _history(value: object) -> float | None:
    """Read `none` as 0 and `all` as None; the rest is a duration."""
    text = str(value).strip()
    if value is None or text == "all":
        return None
    return 0.0 if text == "none" else duration(value)


def listen_address(value: object) -> ListenAddress:
    """Read `:16868`, `host:16868` or `[::1]:16868`. Raises ValueError without a text."""
    if isinstance(value, ListenAddress):
        return value
    match = _LISTEN.fullmatch(str(value))
    if match is None or int(match[3]) > 65535:
        raise ValueError
    if match[1]:
        ipaddress.IPv6Address(match[1])
    return ListenAddress(host=match[1] or match[2], port=int(match[3]))


def _time_zone(value: object) -> tzinfo:
    """Read the IANA name of a time zone, or a fixed offset such as `+08:00`."""
    if isinstance(value, tzinfo):
        return value
    text = str(value).strip()
    if text in ("UTC", "Z"):
        return UTC  # also on a machine without time zone data
    if match := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset <= timedelta(hours=14):  # Kiritimati; a larger one is a typing error
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()  # an abbreviation or offset has no near name that is right
        near = f"{nearest(text, known)} (the nearest known one)" if "/" in text and known else "Asia/Shanghai"
        advice = f"write a name such as {near}, or an offset such as +08:00"
        raise ValueError(f"{quote(value)} is no time zone; {advice}") from None


def _http_url(text: str) -> AnyHttpUrl:
    """Parse an http or https URL; the error does not repeat its text, which may hold a password."""
    try:
        url = AnyHttpUrl(text)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Input ")
        raise ValueError(f"{problem}; write one such as http://jobs.example:6868") from None
    if url.port == 0 or re.search(r"[\s\\]", text):  # the parser would drop or replace such characters
        raise ValueError("must hold neither blanks nor backslashes, and a port from 1 to 65535, if any")
    return url


def _platform_url(text: str) -> str:
    """Give the address of the platform in one spelling, without a trailing slash; "" is none."""
    if text == "":
        return ""
    url = str(_http_url(text.strip()))
    if "@" in text:
        raise ValueError("must not hold a user or password; give api.username and api.password-file")
    if "?" in url or "#" in url:
        raise ValueError("must not hold a query or fragment; leave out all from the first ? or #")
    if "/api/v1" in url:
        raise ValueError("must end before /api/v1, which the exporter adds itself")
    return url.rstrip("/")


def _proxy_url(secret: SecretStr) -> SecretStr:
    _http_url(secret.get_secret_value())
    return secret


def _state_url(secret: SecretStr) -> SecretStr:
    if not re.match(r"(?:sqlite|postgresql)(?:\+[a-z0-9_]+)?://", secret.get_secret_value()):
        raise ValueError
    return secret


def _readable(path: Path) -> Path:
    """Check that this user can read a file. It is not opened: it may be a pipe."""
    path = path.expanduser()
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueError(f"cannot read {quote(str(path))}: {reason}; check the path") from None
    if is_folder or not os.access(path, os.R_OK):
        reason = "it is a folder; name a file" if is_folder else "permission denied; let this user read it"
        raise ValueError(f"cannot read {quote(str(path))}: {reason}")
    return path


def _headers(value: object) -> object:
    """Read a mapping, `Name: value` lines, or several of them. Returns pairs in their order."""
    if isinstance(value, tuple):
        return value
    pairs: list[tuple[str, str]] = []
    for number, (name, content) in enumerate(_header_pairs(value), start=1):
        if not (
            _HEADER_NAME.fullmatch(name) and isinstance(content, str) and HEADER_VALUE.fullmatch(content)
        ):
            raise ValueError(f"header {number} is not of the form 'Name: value' on one line")
        if name.lower() in _CLIENT_HEADERS:
            raise ValueError(f"header {name} is set by the exporter itself; leave it out")
        if name.lower() in {known.lower() for known, _ in pairs}:
            raise ValueError(f"header {name} is given twice; give it once")
        pairs.append((name, content.strip()))
    return tuple(pairs)


def _header_pairs(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((name.strip(), content) for name, content in value.items())
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_header_pairs, value))
    else:
        for line in filter(str.strip, str(value).split("\n")):
            name, colon, content = line.partition(":")
            yield name.strip(), content if colon else None


def _items(value: object) -> list[Any]:
    """List the items of a value; texts are split at commas and line ends, and blank ones dropped."""
    items: list[Any] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            items += filter(None, map(str.strip, re.split(r"[,\n]", item)))
        else:
            items.append(item)
    return items


def _ascending(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if bounds[0] <= 0 or list(bounds) != sorted(set(bounds)):
        raise ValueError
    return bounds


def _lower(value: object) -> object:
    """Read a word in any case; `warn` is what other exporters call a warning."""
    text = value.strip().lower() if isinstance(value, str) else value
    return "warning" if text == "warn" else text


_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)

Duration = Annotated[float, BeforeValidator(duration), "duration"]
History = Annotated[
    float | None,
    BeforeValidator(_history),
    "none|all|duration",
    "is none of: none, all, a duration such as 24h",
]
Size = Annotated[ByteSize, "size", "is no size; write 64MiB, 64MB or plain bytes"]
TimeZone = Annotated[tzinfo, PlainValidator(_time_zone), PlainSerializer(str), "zone"]
PlatformUrl = Annotated[str, AfterValidator(_platform_url), "url"]
ProxyUrl = Annotated[Annotated[SecretStr, AfterValidator(_proxy_url)] | None, _EMPTY_IS_NONE, "url"]
StateUrl = Annotated[
    SecretStr,
    AfterValidator(_state_url),
    "url",
    "is no address of a ledger; write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME",
]
ReadableFile = Annotated[Annotated[Path, AfterValidator(_readable)] | None, _EMPTY_IS_NONE, "file"]
Headers = Annotated[tuple[tuple[str, SecretStr], ...], BeforeValidator(_headers), "Name: value"]
UserName = Annotated[
    Annotated[str, Field(pattern=r"\A[^:\x00-\x1f\x7f]+\Z")] | None,
    _EMPTY_IS_NONE,
    "text",
    "is no user name; leave out colons and line ends",
]
Password = Annotated[SecretStr | None, _EMPTY_IS_NONE]
TelemetryPath = Annotated[
    str,
    Field(pattern=r"\A(?!/-(?:/|\Z)|/reference\Z|/api/failures\Z)(?:/[A-Za-z0-9._~-]+)+\Z"),
    "path",
    "is no path for metrics; write one such as /metrics, not below /-/ and no page of the exporter",
]
RecordUrl = Annotated[
    str,
    Field(pattern=r"\A(?:https?://[^\s\\/?#@{}]+[/?#](?:[^\s\\{}]*\{id\})+[^\s\\{}]*)?\Z"),
    "url",
    "is no link to a record; write one such as https://jobs.example/record/{id}",
]
ListenAddresses = Annotated[
    tuple[Annotated[ListenAddress, BeforeValidator(listen_address)], ...],
    BeforeValidator(_items),
    Field(min_length=1),
    "[host]:port",
    "is no address to listen on; write :16868, host:16868 or [::1]:16868",
]
Buckets = Annotated[
    tuple[Annotated[float, BeforeValidator(duration)], ...],
    BeforeValidator(_items),
    Field(min_length=1),
    AfterValidator(_ascending),
    "duration",
    "is no list of ascending positive bounds; write 1,5,30,1m,10m,1h",
]
RecordLabels = Annotated[
    tuple[Literal["provider", "script_type"], ...],
    BeforeValidator(_items),
    AfterValidator(lambda labels: tuple(sorted(set(labels)))),  # in the order of the metrics' labels
]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Form = Annotated[Literal["logfmt", "json"], BeforeValidator(_lower)]
