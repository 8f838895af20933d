"""Reads the web configuration file, in the format of Prometheus' exporter-toolkit.

All keys of that format are known. Values that Python's ssl does not support are refused with a message, never
ignored: the server must not be weaker than its file says. `http_server_config.http2` has no effect, because
this server speaks HTTP/1.1 only.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from exporter.settings.parsers import duration
from exporter.settings.text import YamlError, nearest, read_yaml, word

T = TypeVar("T")

# The headers that the toolkit allows in the file, with their allowed values; (): any value.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
# Version, cost, salt of 128 bits (its 22nd character holds 2 of them), hash.
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class WebError(Exception):
    """The web server cannot start, or cannot use a new file. The message is one line with advice."""


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """`tls_server_config` with absolute paths. Versions, ciphers and curves have the names that Go uses."""

    cert: str | None = None
    key: str | None = field(default=None, repr=False)
    client_ca: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_auth_type: str = "NoClientCert"
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """The files that this section names."""
        return tuple(Path(name) for name in (self.cert_file, self.key_file, self.client_ca_file) if name)


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """`http_server_config`: headers to add to every response; `http2` has no effect."""

    http2: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RateConfig:
    """`rate_limit`: one request per `interval` seconds (0: no limit), `burst` of them at once."""

    interval: float = 0.0
    burst: int = 0


@dataclass(frozen=True, kw_only=True)
class FileConfig:
    """A checked web configuration file. The defaults hold without a file: plain HTTP for everyone."""

    tls: TlsConfig | None = None
    http: HttpConfig = field(default_factory=HttpConfig)
    rate: RateConfig = field(default_factory=RateConfig)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)  # name -> bcrypt hash


def parse(path: Path) -> FileConfig:
    """Read and check the file at `path`.

    Raises WebError: the file is unreadable or not valid YAML, a key is unknown, a value is invalid. Messages
    repeat no value that may be secret.
    """
    try:
        return _document(read_yaml(path.read_bytes()), path.parent)
    except OSError as error:
        raise WebError(f"cannot read the web configuration file {path}: {error.strerror}") from None
    except (WebError, YamlError) as error:
        line = "".join(letter if letter.isprintable() else "?" for letter in str(error))
        raise WebError(f"web configuration file {path}: {line}") from None


def _document(data: Any, folder: Path) -> FileConfig:
    known = ("tls_server_config", "http_server_config", "rate_limit", "basic_auth_users")
    top = _mapping(data, "", known)
    tls = _mapping(top.get("tls_server_config"), "tls_server_config", _names(TlsConfig))
    http = _mapping(top.get("http_server_config"), "http_server_config", _names(HttpConfig))
    rate = _mapping(top.get("rate_limit"), "rate_limit", _names(RateConfig))
    for name in ("cert_file", "key_file", "client_ca_file"):
        if isinstance(tls.get(name), str):
            if not tls[name].isprintable():
                raise WebError(f"tls_server_config.{name} contains characters that no path can contain")
            tls[name] = str(folder / tls[name])
    users = top.get("basic_auth_users", {})
    if isinstance(users, dict):  # a key without a value: the blank after its colon may be missing
        users = {name: "" if hashed is None else hashed for name, hashed in users.items()}
    if "interval" in rate:
        rate["interval"] = _duration(rate["interval"], "rate_limit.interval")
    return FileConfig(
        tls=_convert(tls, TlsConfig, "tls_server_config") if tls else None,
        http=_http(_convert(http, HttpConfig, "http_server_config")),
        rate=_rate(_convert(rate, RateConfig, "rate_limit")),
        users=_users(_convert(users, dict[str, str], "basic_auth_users")),
    )


def _names(section: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(section))


def _mapping(data: Any, where: str, known: Collection[str]) -> dict[str, Any]:
    """The keys that have a value. Raises WebError if there are unknown ones, or `data` is not a mapping."""
    if not isinstance(data, dict | None):
        raise WebError(f"{where or 'the file'} must be a mapping of keys to values")
    for key in data or {}:
        if key not in known:
            prefix = where and where + "."
            near = nearest(key, known)
            raise WebError(f"unknown key {prefix}{word(key)}; the nearest known one is {prefix}{near}")
    return {key: value for key, value in (data or {}).items() if value not in (None, "")}


def _convert(data: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(data, kind, strict=False)  # all scalars are text: "20" may be a number
    except msgspec.ValidationError as error:
        # msgspec names types and places, never values: "Expected `str`, got `int` - at `$.cert_file`".
        problem, _, place = str(error).partition(" - at ")
        raise WebError(f"{where}{place.strip('`').removeprefix('$')}: {problem}") from None


def _duration(value: Any, where: str) -> float:
    try:
        return duration(value)
    except ValueError:
        raise WebError(f"{where}: not a duration such as 1s or 250ms") from None


def _http(config: HttpConfig) -> HttpConfig:
    for name, value in config.headers.items():
        if name not in HEADERS:
            known = nearest(name, HEADERS)
            raise WebError(
                f"http_server_config.headers: {word(name)} cannot be set; the nearest that can is {known}"
            )
        if HEADERS[name] and value not in (*HEADERS[name], ""):
            raise WebError(f"http_server_config.headers.{name} must be {' or '.join(HEADERS[name])}")
        if not (value.isascii() and value.isprintable()):
            raise WebError(
                f"http_server_config.headers.{name} contains characters that no header can contain"
            )
    return config


def _rate(config: RateConfig) -> RateConfig:
    if config.interval and config.burst < 1:
        raise WebError("rate_limit.burst must be at least 1; otherwise every request is refused")
    return config


def _users(users: dict[str, str]) -> dict[str, str]:
    for name, hashed in users.items():
        if ":" in name:
            raise WebError(f"basic_auth_users.{word(name)}: a user name cannot contain a colon")
        if not _BCRYPT.fullmatch(hashed):
            hint = "not a bcrypt hash; make one with: htpasswd -nBC 10 ''"
            raise WebError(f"basic_auth_users.{word(name)}: {hint}")
    return users
