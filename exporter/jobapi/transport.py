"""Connections to the platform: credentials, TLS and the proxy.

Secrets are unwrapped only here, and are in no message.
"""

import base64
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from exporter import __version__
from exporter.settings import ApiSettings, SettingsError
from exporter.settings.parsers import HEADER_VALUE
from exporter.settings.text import no_password

MAX_SECRET = 65_536  # bytes; a token has a few KB, but a device given by mistake has no end
SHORTEST_MASKED = 4  # characters; a shorter secret protects nothing, and is part of many words
KEEPALIVE = 60.0  # seconds; four polls, so that an idle exporter keeps its connection
RENEWAL = 120.0  # seconds; so often connections are closed, so that a changed address is noticed
RENEWING = 1.0  # seconds; requests that begin in this time close theirs
BUFFER = 1 << 18  # bytes to read from a socket at once; large bodies take fewer turns
MAX_HEADER = 1 << 16  # bytes of one header line; some gateways send cookies and policies of 20 KB
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",  # without it the platform answers 415, to a GET too
    "User-Agent": f"job-exporter/{__version__}",
}


class Requests:
    """Makes requests with the current credentials."""

    def __init__(self, config: ApiSettings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError if a secret file cannot be used."""
        self._config, self._monotonic = config, monotonic
        self._renewal, self._renewing_until = monotonic() + RENEWAL, 0.0
        self._own: dict[str, str] | None = None
        self._refresh()

    def get(self, url: str, query: Mapping[str, str], *, first_byte: float) -> httpx.Request:
        """Make a GET whose response begins within `first_byte` seconds.

        Raises SettingsError if a secret file cannot be used.
        """
        self._refresh()
        limits = {"timeout": {"connect": self._config.timeout, "read": first_byte}}
        request = httpx.Request("GET", f"{url}?{urlencode(query)}", headers=self._headers, extensions=limits)
        if (now := self._monotonic()) >= self._renewal:
            self._renewal, self._renewing_until = now + RENEWAL, now + RENEWING
        if now < self._renewing_until:
            request.headers["Connection"] = "close"
        return request

    def masked(self, text: str) -> str:
        """Mask our credentials in a text, because the platform may echo them in an error."""
        for secret in sorted(self._sent, key=len, reverse=True):
            if len(secret) >= SHORTEST_MASKED:
                text = text.replace(secret, "***")
        return text

    def _refresh(self) -> None:
        """Read the secret files again: a rotated secret keeps its path."""
        config, password = self._config, ""
        own = {name: secret.get_secret_value() for name, secret in config.headers}
        if config.token_file:
            token = read_secret("api.token-file", config.token_file)
            if not HEADER_VALUE.fullmatch(token):
                raise SettingsError("api.token-file: it holds characters that no header can hold")
            own["Authorization"] = f"Bearer {token}"
        elif config.username is not None:
            password = config.password.get_secret_value() if config.password else ""
            if config.password_file:
                password = read_secret("api.password-file", config.password_file)
            pair = f"{config.username}:{password}".encode()
            own["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
        if own != self._own:  # making the headers anew takes a quarter of the CPU of a request
            bare = (value.rpartition(" ")[2] for value in own.values())  # without the word Bearer or Basic
            self._own, self._sent = own, frozenset((password, *own.values(), *bare))
            self._headers = httpx.Headers(HEADERS)
            self._headers.update(own)


def transport_of(config: ApiSettings) -> AiohttpTransport:
    """Return a transport: httpx over aiohttp, without cookies, netrc and the environment's proxies.

    Raises SettingsError if a certificate cannot be used.
    """
    context = _tls_context(config)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, limit=config.concurrency, keepalive_timeout=KEEPALIVE)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            read_bufsize=BUFFER,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            proxy=config.proxy_url.get_secret_value() if config.proxy_url else None,
        )

    return AiohttpTransport(verify=context, client=session, trust_env=False)


def _tls_context(config: ApiSettings) -> ssl.SSLContext:
    """Trust the given authorities or those of the system; use the client certificate if there is one."""
    ca_file, cert_file, key_file = config.ca_file, config.cert_file, config.key_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"api.ca-file {ca_file}: {error.strerror or 'no certificate in it'}") from None
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file, password=no_password)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(f"api.cert-file {cert_file}, api.key-file {key_file}: {why}") from None
    return context


def read_secret(setting: str, path: Path) -> str:
    """Read the only line of a file. Raises SettingsError, naming the setting or flag."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET + 1)
        value = content.decode().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{setting} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{setting} {path}: not UTF-8 text") from None
    if len(content) > MAX_SECRET:
        raise SettingsError(f"{setting} {path}: too long for a secret")
    if not value or any(c in value for c in "\r\n\0"):
        raise SettingsError(f"{setting} {path}: not a single line of text")
    return value
