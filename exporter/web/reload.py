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
from exporter.web.auth import Logins, Users
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
    users: Users | None = None
    rate: RateLimit | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def build(config: FileConfig, logins: Logins) -> Policy:
    """Make the policy of a checked file. Raises WebError: a certificate cannot be used."""
    return Policy(
        tls=tls_config.build(config.tls) if config.tls else None,
        users=Users(config.users, logins) if config.users else None,
        rate=RateLimit(config.rate) if config.rate.interval else None,
        headers={name: value for name, value in config.http.headers.items() if value},
    )


def weaker(new: FileConfig, old: FileConfig) -> str | None:
    """The key in which `new` is weaker than `old`; None: there is none. Both are checked."""
    if old.users and not new.users:
        return "basic_auth_users"
    if not old.tls:
        return None
    if not new.tls:
        return "tls_server_config"
    before, after = tls_config.strictness(old.tls), tls_config.strictness(new.tls)
    return next((f"tls_server_config.{key}" for key in before if after[key] < before[key]), None)


class Watcher:
    """The current policy of the file at `path`; without a path, plain HTTP for everyone.

    Every connection and request checks the files: that costs one stat per file, some microseconds. A change
    that is refused is logged once, and tried again when a file changes.
    """

    def __init__(self, path: Path | None, logins: Logins) -> None:
        """Read the file. Raises WebError."""
        self._path = path
        self._logins = logins
        self._seen: dict[Path, _Stamp] = {}
        self._config = FileConfig()
        self._policy = self._read()

    def current(self) -> Policy:
        """The current policy."""
        if any(_stamp(path) != stamp for path, stamp in self._seen.items()):
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
        # If the file itself is invalid, the stamps of the other files stay: their change may repair it.
        self._seen = {**self._seen, self._path: _stamp(self._path)}
        config = parse(self._path)
        others = config.tls.files() if config.tls else ()
        self._seen = {self._path: self._seen[self._path], **{path: _stamp(path) for path in others}}
        try:
            policy = self._replacement(config)
        except WebError as error:
            raise WebError(f"web configuration file {self._path}: {error}") from None
        self._config = config
        return policy

    def _replacement(self, config: FileConfig) -> Policy:
        policy = build(config, self._logins)
        if key := weaker(config, self._config):
            raise WebError(f"{key} is missing or weaker than before; restart to allow that")
        return policy


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
