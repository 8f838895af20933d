"""The current web configuration, reloaded when one of its files changes.

A new configuration is refused, and the old one stays, when it is invalid or weaker: without TLS or users that
were there before, or less strict to clients. So an empty or half-written file never opens the server. To
weaken the configuration, restart.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from exporter.web import tls as tls_config
from exporter.web.config import FileConfig, RateConfig, WebError, parse

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int] | None  # mtime (ns), size, inode; None: no such file


class RateLimit:
    """A token bucket for all clients, like the toolkit's: `burst` tokens, a new one per `interval`."""

    def __init__(self, config: RateConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._burst, self._clock = config.interval, config.burst, clock
        self._tokens, self._at = float(config.burst), clock()

    def allow(self) -> bool:
        """Take a token; False: there is none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, kw_only=True)
class Policy:
    """TLS, users, rate limit, and headers to add."""

    tls: tls_config.Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)  # name → bcrypt hash
    rate: RateLimit | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def build(config: FileConfig) -> Policy:
    """Make the policy of a checked file. Raises WebError: a certificate cannot be used."""
    tls = config.tls_server_config
    return Policy(
        tls=tls_config.build(tls) if tls else None,
        users=config.basic_auth_users,
        rate=RateLimit(config.rate_limit) if config.rate_limit.interval else None,
        headers={name: value for name, value in config.http_server_config.headers.items() if value},
    )


def _refuse_weaker(new: FileConfig, old: FileConfig) -> None:
    after = _strictness(new)
    for key, before in _strictness(old).items():
        if after.get(key, 0) < before:
            raise WebError(f"{key} is missing or weaker than before; restart to allow that")


def _strictness(config: FileConfig) -> dict[str, int]:
    """How strict a configuration is to clients: key → a number; higher is stricter."""
    tls = config.tls_server_config
    return {
        "basic_auth_users": bool(config.basic_auth_users),
        "tls_server_config": bool(tls),
        **(tls_config.strictness(tls) if tls else {}),
    }


class Watcher:
    """The current policy of the file at `path`; without a path, plain HTTP for everyone.

    Every connection and request checks the files: that costs one stat per file, some microseconds. A change
    that is refused is logged once, and tried again when a file changes.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file. Raises WebError."""
        self._path = path
        self._stamps: dict[Path, _Stamp] = {}  # of all files that were named, when they were read
        self._config = FileConfig()
        self._policy = self._read()

    def current(self) -> Policy:
        """The current policy."""
        if any(_stamp(path) != stamp for path, stamp in self._stamps.items()):
            self.reload()
        return self._policy

    def reload(self) -> bool:
        """Read all files again; False: they are refused and logged, and the previous policy stays."""
        try:
            self._policy = self._read()
        except WebError as error:
            log.error("web configuration refused; the previous one stays", error=str(error))  # noqa: TRY400
            return False
        if self._path:
            log.info("web configuration reloaded", file=str(self._path))
        return True

    def _read(self) -> Policy:
        if self._path is None:
            return Policy()
        # Stamps are taken before reading, so a change in between is noticed later.
        self._stamps = {path: _stamp(path) for path in (*self._stamps, self._path)}
        config = parse(self._path)
        self._stamps.update((path, _stamp(path)) for path in config.files())
        try:
            policy = build(config)
            _refuse_weaker(config, self._config)
        except WebError as error:
            raise WebError(f"web configuration file {self._path}: {error}") from None
        self._config = config
        return policy


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
