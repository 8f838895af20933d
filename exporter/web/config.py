"""Reads the web configuration file, in the format of Prometheus' exporter-toolkit.

All keys of that format are known. Values that Python's ssl does not support are refused with a message, never
ignored: the server must not be weaker than its file says. `http_server_config.http2` has no effect, because
this server speaks HTTP/1.1 only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from exporter.settings.parsers import duration
from exporter.settings.text import YamlError, nearest, read_yaml, word

FILES = ("cert_file", "key_file", "client_ca_file")  # keys of tls_server_config
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

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig = field(default_factory=HttpConfig)
    rate_limit: RateConfig = field(default_factory=RateConfig)
    basic_auth_users: dict[str, str] = field(default_factory=dict, repr=False)  # name -> bcrypt hash

    def files(self) -> tuple[Path, ...]:
        """The files that this one names."""
        names = [getattr(self.tls_server_config, name, None) for name in FILES]
        return tuple(Path(name) for name in names if name)


def parse(path: Path) -> FileConfig:
    """Read and check the file at `path`.

    Raises WebError: the file is unreadable or not valid YAML, a key is unknown, a value is invalid. Messages
    repeat no value that may be secret.
    """
    try:
        config = _document(read_yaml(path.read_bytes()), path.parent)
        _check_headers(config.http_server_config.headers)
        _check_users(config.basic_auth_users)
    except OSError as error:
        raise WebError(f"cannot read the web configuration file {path}: {error.strerror}") from None
    except (WebError, YamlError) as error:
        line = "".join(letter if letter.isprintable() else "?" for letter in str(error))
        raise WebError(f"web configuration file {path}: {line}") from None
    return config


def _document(data: Any, folder: Path) -> FileConfig:
    """Convert the file's mapping. Paths in it are relative to `folder`."""
    top = _mapping(data, "", FileConfig)
    tls = top["tls_server_config"] = _mapping(top.get("tls_server_config"), "tls_server_config", TlsConfig)
    rate = top["rate_limit"] = _mapping(top.get("rate_limit"), "rate_limit", RateConfig)
    http = _mapping(top.get("http_server_config"), "http_server_config", HttpConfig)
    users = top.get("basic_auth_users")
    for name in FILES:
        if isinstance(tls.get(name), str):
            if not tls[name].isprintable():
                raise WebError(f"tls_server_config.{name} contains characters that no path can contain")
            tls[name] = str(folder / tls[name])
    if isinstance(users, dict):  # a key without a value: the blank after its colon may be missing
        top["basic_auth_users"] = {name: hashed or "" for name, hashed in users.items()}
    try:
        if "interval" in rate:
            rate["interval"] = duration(rate["interval"])
        # All scalars are text: "20" may be a number.
        config = msgspec.convert({**top, "http_server_config": http}, FileConfig, strict=False)
    except msgspec.ValidationError as error:
        # msgspec names types and places, never values: "Expected `str`, got `int` - at `$.rate_limit.burst`".
        problem, _, place = str(error).partition(" - at ")
        raise WebError(f"{place.strip('`').removeprefix('$.')}: {problem}") from None
    except ValueError:
        raise WebError("rate_limit.interval: not a duration such as 1s or 250ms") from None
    if config.rate_limit.interval and config.rate_limit.burst < 1:
        raise WebError("rate_limit.burst must be at least 1; otherwise every request is refused")
    return config if tls else replace(config, tls_server_config=None)


def _mapping(data: Any, where: str, section: type[Any]) -> dict[str, Any]:
    """The keys that have a value. Raises WebError if there are unknown ones, or `data` is not a mapping."""
    if not isinstance(data, dict | None):
        raise WebError(f"{where or 'the file'} must be a mapping of keys to values")
    known = [each.name for each in fields(section)]
    for key in data or {}:
        if key not in known:
            prefix = where and where + "."
            near = nearest(key, known)
            raise WebError(f"unknown key {prefix}{word(key)}; the nearest known one is {prefix}{near}")
    return {key: value for key, value in (data or {}).items() if value not in (None, "")}


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
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


def _check_users(users: Mapping[str, str]) -> None:
    for name, hashed in users.items():
        if ":" in name:
            raise WebError(f"basic_auth_users.{word(name)}: a user name cannot contain a colon")
        if not _BCRYPT.fullmatch(hashed):
            hint = "not a bcrypt hash; make one with: htpasswd -nBC 10 ''"
            raise WebError(f"basic_auth_users.{word(name)}: {hint}")
