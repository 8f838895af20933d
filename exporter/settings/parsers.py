"""Text → value, for the settings. Each parser raises ValueError with a text that says what to write.

The same text is read from a flag, a variable and the file; values of the right type pass unchanged, so
that code may construct settings directly. Parsers of secrets never repeat what they were given.
"""

import difflib
import ipaddress
import itertools
import math
import os
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, SecretStr

_NUMBER = r"\d+(?:\.\d+)?"
_DURATION = re.compile(
    rf"(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m(?!s))?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?", re.ASCII
)
_DURATION_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)  # of the groups of _DURATION
_SIZE = re.compile(rf"({_NUMBER})\s*([kmg]?i?b)?", re.ASCII | re.IGNORECASE)
_SIZE_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_LISTEN = re.compile(r"(?:\[([^\[\]\s]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)", re.ASCII)
_LARGEST_OFFSET = timedelta(hours=14)  # Kiritimati; a larger offset is a typing error
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110, field-value, in ASCII; no line ends
# Set by the HTTP client: a second value would break the framing or cause status 415.
_CLIENT_HEADERS = frozenset({"connection", "content-length", "content-type", "transfer-encoding"})
_NOT_IN_URL = re.compile(r"[\s\x00-\x20\x7f\\]")  # urlsplit drops some of these silently
_TELEMETRY_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_QUOTED_LENGTH = 60  # enough to recognise a mistyped value; the error stays one line

RECORD_LABELS = ("provider", "script_type")  # in the order of the metrics' labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where to listen: `host` "" is every interface, `port` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Give the text that reads as this address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def quote(value: object) -> str:
    """Show a value that is not secret inside a one-line message."""
    text = repr(value)
    return text if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]}…"


def duration(value: object) -> float:
    """Read `15s`, `5m`, `24h`, `30d`, `1h30m`, `200ms` or plain seconds; gives seconds, not negative."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (text := value.strip()):
        if re.fullmatch(_NUMBER, text, re.ASCII):
            seconds = float(text)
        elif match := _DURATION.fullmatch(text):
            parts = zip(match.groups(), _DURATION_SECONDS, strict=True)
            seconds = math.fsum(float(number) * unit for number, unit in parts if number)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{quote(value)} is no duration; write 15s, 5m, 24h, 30d, 1h30m or plain seconds")
    return seconds


def history(value: object) -> float:
    """Read `none` (0.0), `all` (inf) or a duration; gives seconds before the first start."""
    if isinstance(value, str) and value.strip() in ("none", "all"):
        return 0.0 if value.strip() == "none" else math.inf
    if value == math.inf:
        return math.inf
    try:
        return duration(value)
    except ValueError:
        raise ValueError(f"{quote(value)} is none of: none, all, a duration such as 24h") from None


def size(value: object) -> int:
    """Read `64MiB`, `64MB`, `512kB` or plain bytes; gives bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = _SIZE_BYTES.get((match[2] or "b").lower()) if match else None
    number = float(match[1]) if match else math.inf
    if unit is None or math.isinf(number):
        raise ValueError(f"{quote(value)} is no size; write 64MiB, 64MB or plain bytes")
    return round(number * unit)


def listen_address(value: object) -> ListenAddress:
    """Read `:16868`, `host:port` or `[::1]:port`."""
    if isinstance(value, ListenAddress):
        return value
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if not match or int(match[3]) > 65535 or (match[1] and not _is_ipv6(match[1])):
        raise ValueError(
            f"{quote(value)} is no address to listen on; write :16868, host:16868 or [::1]:16868"
        )
    return ListenAddress(host=match[1] or match[2], port=int(match[3]))


def time_zone(value: object) -> tzinfo:
    """Read the IANA name of a time zone, or a fixed offset such as `+08:00`."""
    if isinstance(value, tzinfo):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text in ("UTC", "Z"):
        return UTC  # also on a machine without time zone data
    if match := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset <= _LARGEST_OFFSET:
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(text, sorted(zoneinfo.available_timezones()), n=1)
        known = f"; the nearest known one is {near[0]}" if near else ""
        raise ValueError(
            f"{quote(value)} is no time zone; write a name such as Asia/Shanghai "
            f"or an offset such as +08:00{known}"
        ) from None


def platform_url(value: object) -> str:
    """Read the address of the platform; gives it in one spelling, without a trailing slash; "" is none."""
    text = value.strip() if isinstance(value, str) else ""
    if text == value == "":
        return ""
    if "@" in text:
        raise ValueError("must not hold a user or password; give api.username and api.password-file")
    if "?" in text or "#" in text:
        raise ValueError("must not hold a query or fragment; leave out all from the first ? or #")
    parts = _web_url(text)
    path = parts.path.rstrip("/")
    if "/api/v1" in path:
        raise ValueError("must end before /api/v1, which the exporter adds itself")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    standard = parts.port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{host}{'' if standard else f':{parts.port}'}{path}"


def proxy_url(value: object) -> SecretStr | None:
    """Read the address of a proxy; it may hold a password, so it is never shown; "" is none."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None or text == "":
        return None
    if not isinstance(text, str) or _web_url(text).path.strip("/"):
        raise ValueError("must be the address of a proxy alone, such as http://proxy.example:3128")
    return SecretStr(text)


def record_url(value: object) -> str:
    """Read the template of a link to a record, with `{id}` in its path or query; "" is none."""
    text = value.strip() if isinstance(value, str) else ""
    if text == value == "":
        return ""
    parts = _web_url(text)
    if "{" in parts.netloc or "@" in parts.netloc:
        raise ValueError("must hold neither a user nor {id} before its path")
    rest = text.replace("{id}", "")
    if rest == text or "{" in rest or "}" in rest:
        raise ValueError("must hold {id} where the record's id belongs, and no other braces")
    return text


def user_name(value: object) -> str | None:
    """Read the user of basic authentication, which a colon would end; "" is none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or re.search(r"[:\x00-\x1f\x7f]", value):
        raise ValueError(f"{quote(value)} is no user name; leave out colons and line ends")
    return value


def telemetry_path(value: object) -> str:
    """Read the path of the metrics: not that of the landing page, nor below `/-/`."""
    if not isinstance(value, str) or not _TELEMETRY_PATH.fullmatch(value) or value.startswith("/-/"):
        raise ValueError(f"{quote(value)} is no path for metrics; write one such as /metrics, not below /-/")
    return value


def state_url(value: object) -> SecretStr:
    """Read the address of the ledger; it may hold a password, so it is never shown."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.match(r"(?:sqlite|postgresql)(?:\+[a-z0-9_]+)?://", text):
        raise ValueError(
            "is no address of a ledger; write sqlite:///job-exporter.db or postgresql+psycopg://host/name"
        )
    return SecretStr(text)


def readable_file(value: object) -> Path | None:
    """Read the path of a file that can be read now; "" is none. Doesn't open it: it may be a pipe."""
    if value is None or value == "":
        return None
    if not isinstance(value, str | Path):
        raise ValueError("must be the path of one file")  # noqa: TRY004  pydantic tells only ValueErrors
    path = Path(value).expanduser()
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueError(f"cannot read {quote(str(path))}: {reason}; check the path") from None
    if path.is_dir():
        raise ValueError(f"cannot read {quote(str(path))}: it is a folder; name a file")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {quote(str(path))}: permission denied; let this user read it")
    return path


def headers(value: object) -> tuple[tuple[str, SecretStr], ...]:
    """Read a mapping, `Name: value` lines, or several of them; gives pairs in their order."""
    pairs: list[tuple[str, SecretStr]] = []
    for number, (name, content) in enumerate(_header_pairs(value), start=1):
        text = content.get_secret_value() if isinstance(content, SecretStr) else content
        if not _HEADER_NAME.fullmatch(name) or not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"header {number} is not of the form 'Name: value' on one line")
        if name.lower() in _CLIENT_HEADERS:
            raise ValueError(f"header {name} is set by the exporter itself; leave it out")
        if name.lower() in {known.lower() for known, _ in pairs}:
            raise ValueError(f"header {name} is given twice; give it once")
        pairs.append((name, SecretStr(text.strip())))
    return tuple(pairs)


def listen_addresses(value: object) -> tuple[ListenAddress, ...]:
    """Read one address or several, apart by commas or lines."""
    addresses = tuple(listen_address(item) for item in _items(value))
    if not addresses:
        raise ValueError("must name at least one address, such as :16868")
    return addresses


def buckets(value: object) -> tuple[float, ...]:
    """Read ascending positive upper bounds (seconds or durations); the bucket +Inf is always there."""
    bounds = tuple(duration(item) for item in _items(value))
    if not bounds or bounds[0] <= 0 or any(low >= high for low, high in itertools.pairwise(bounds)):
        raise ValueError(f"{quote(value)} is no list of ascending positive bounds; write 1,5,30,1m,10m,1h")
    return bounds


def record_labels(value: object) -> tuple[str, ...]:
    """Read a choice out of RECORD_LABELS; gives it in their order."""
    chosen = list(_items(value))
    for label in chosen:
        if label not in RECORD_LABELS:
            raise ValueError(
                f"{quote(label)} is no label of records; choose out of {', '.join(RECORD_LABELS)}"
            )
    return tuple(label for label in RECORD_LABELS if label in chosen)


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _level(value: object) -> object:
    """Read a severity; `warn` is what other exporters call a warning."""
    word = _lower(value)
    return "warning" if word == "warn" else word


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _web_url(text: str) -> SplitResult:
    """Split an http or https URL with a host and a sound port; its text is not repeated in the error."""
    advice = "must begin with http:// or https:// and name a host, such as http://jobs.example:6868"
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound or _NOT_IN_URL.search(text):
        raise ValueError(advice)
    try:
        sound = parts.port != 0
    except ValueError:  # urlsplit looks at a port only when it is asked for it
        sound = False
    if not sound:
        raise ValueError("must have a port from 1 to 65535, or none")
    return parts


def _items(value: object) -> Iterable[Any]:
    """Give the items of a list, each text of it split at commas and line ends; blank ones are left out."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            yield from filter(None, (part.strip() for part in re.split(r"[,\n]", item)))
        else:
            yield item


def _header_pairs(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((str(name).strip(), content) for name, content in value.items())
    elif isinstance(value, str):
        for line in filter(str.strip, value.split("\n")):
            name, _, content = line.partition(":")
            yield name.strip(), content if ":" in line else None
    elif isinstance(value, list | tuple):
        for item in value:
            # A pair is what this parser itself gives.
            yield from [item] if isinstance(item, tuple) else _header_pairs(item)
    else:
        yield "", None


Duration = Annotated[float, BeforeValidator(duration)]
History = Annotated[float, BeforeValidator(history)]
Size = Annotated[int, BeforeValidator(size)]
TimeZone = Annotated[tzinfo, PlainValidator(time_zone), PlainSerializer(str)]
PlatformUrl = Annotated[str, BeforeValidator(platform_url)]
ProxyUrl = Annotated[SecretStr | None, BeforeValidator(proxy_url)]
RecordUrl = Annotated[str, BeforeValidator(record_url)]
TelemetryPath = Annotated[str, BeforeValidator(telemetry_path)]
StateUrl = Annotated[SecretStr, BeforeValidator(state_url)]
ReadableFile = Annotated[Path | None, BeforeValidator(readable_file)]
Headers = Annotated[tuple[tuple[str, SecretStr], ...], BeforeValidator(headers)]
ListenAddresses = Annotated[tuple[ListenAddress, ...], BeforeValidator(listen_addresses)]
Buckets = Annotated[tuple[float, ...], BeforeValidator(buckets)]
RecordLabels = Annotated[tuple[str, ...], BeforeValidator(record_labels)]
Secret = Annotated[SecretStr | None, BeforeValidator(_blank_is_none)]
UserName = Annotated[str | None, BeforeValidator(user_name)]
Word = BeforeValidator(_lower)
Level = BeforeValidator(_level)
