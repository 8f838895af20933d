"""Users and their passwords, checked with bcrypt.

- bcrypt runs in WORKERS threads, never on the event loop.
- Verified logins are cached by a keyed digest of name, hash and password, so a scrape costs microseconds. A
  changed hash makes another digest.
- An unknown user is compared with DUMMY, so response times tell little about which users exist.
- Equal logins at the same time share one comparison: a hundred scrapes after a restart cost one.
- Waiting logins from addresses with the fewest failures are compared first; among equals, the newest and the
  oldest take turns. So a correct login is soon compared during a flood of wrong ones from many addresses.
- No login is rejected because of load. The cap on connections limits the queue. When a client disconnects,
  its login leaves the queue.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeVar

import bcrypt
from aiohttp import BasicAuth

K = TypeVar("K")
V = TypeVar("V")
Verify = Callable[[bytes, bytes], bool]

WORKERS = 2  # concurrent comparisons; each uses a core
REMEMBERED = 128  # verified logins in the cache; the oldest is dropped
ADDRESSES = 4096  # addresses whose failures are counted; the oldest is dropped
LONGEST = 72  # bytes; bcrypt ignores the rest, so a longer password could match by its beginning
GRACE = 0.3  # seconds at shutdown for running comparisons; one of cost 12 takes less
DUMMY = (
    b"$2b$10$Mq5rCwZ8wm27GhVQwhB.B.xif9jrkYGx1Tw8JNjpGmnDuFirDPbZe"  # of a random password that is not stored
)


@dataclass(eq=False, kw_only=True)
class _Login:
    """One comparison, and how many requests wait for it."""

    password: bytes
    hashed: bytes
    address: str
    number: int  # in the order of arrival
    matches: asyncio.Future[bool]
    clients: int = 0


class Logins:
    """Checks all logins of the process. `verify(password, hash)` is a parameter for tests."""

    def __init__(self, *, verify: Verify = bcrypt.checkpw) -> None:
        self._verify = verify
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="login")
        self._secret = secrets.token_bytes(32)
        self._verified: dict[bytes, None] = {}
        self._logins: dict[bytes, _Login] = {}  # waiting or running
        self._waiting: dict[bytes, _Login] = {}
        self._running: set[asyncio.Future[bool]] = set()
        self._failures: dict[str, int] = {}  # by address
        self._numbers = count()
        self._newest_next = True

    async def check(self, name: str, password: bytes, hashed: bytes, address: str) -> bool:
        """Whether a password, sent from an address, matches a hash."""
        parts = (name.encode(), hashed, password)
        key = hmac.digest(
            self._secret, b"".join(b"%d:%s" % (len(part), part) for part in parts), hashlib.sha256
        )
        if key in self._verified:
            return True
        login = self._logins.get(key)
        if login is None:
            login = _Login(
                password=password,
                hashed=hashed,
                address=address,
                number=next(self._numbers),
                matches=asyncio.get_running_loop().create_future(),
            )
            self._logins[key] = self._waiting[key] = login
            self._start()
        login.clients += 1
        try:
            return await asyncio.shield(login.matches)
        finally:
            login.clients -= 1
            if not login.clients and key in self._waiting:
                del self._waiting[key], self._logins[key]

    async def close(self) -> bool:
        """Drop waiting logins; False: a comparison still runs, and only the end of the process stops it."""
        self._waiting.clear()
        for login in self._logins.values():
            login.matches.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE)
        return not self._running

    def _start(self) -> None:
        while self._waiting and len(self._running) < WORKERS:
            key = min(self._waiting, key=self._rank)
            self._newest_next = not self._newest_next
            login = self._waiting.pop(key)
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._compare, login)
            self._running.add(work)
            work.add_done_callback(partial(self._done, key, login))

    def _rank(self, key: bytes) -> tuple[int, int]:
        login = self._waiting[key]
        return self._failures.get(login.address, 0), -login.number if self._newest_next else login.number

    def _compare(self, login: _Login) -> bool:
        usable = len(login.password) <= LONGEST and b"\0" not in login.password
        shown = login.password[:LONGEST].replace(b"\0", b" ")  # costs the same for every password
        return self._verify(shown, login.hashed) and usable

    def _done(self, key: bytes, login: _Login, work: asyncio.Future[bool]) -> None:
        self._running.discard(work)
        self._logins.pop(key, None)
        if login.matches.done() or work.cancelled():
            return
        if error := work.exception():
            login.matches.set_exception(error)
        else:
            login.matches.set_result(work.result())
            failures = self._failures.pop(login.address, 0)
            if work.result():
                _keep(self._verified, key, None, REMEMBERED)
            else:
                _keep(self._failures, login.address, failures + 1, ADDRESSES)
        self._start()


def _keep(where: dict[K, V], key: K, value: V, most: int) -> None:
    """Set an entry; drop the oldest one if there are more than `most`."""
    where[key] = value
    if len(where) > most:
        del where[next(iter(where))]


class Users:
    """The users of one configuration file (at least one): name → bcrypt hash."""

    def __init__(self, hashes: Mapping[str, str], logins: Logins) -> None:
        self._hashes = {name: hashed.encode() for name, hashed in hashes.items()}
        self._logins = logins

    async def admit(self, authorization: str | None, address: str) -> bool:
        """Check an Authorization header; False: missing, malformed, unknown user or wrong password."""
        credentials = _basic(authorization)
        if credentials is None:
            return False
        name, password = credentials
        hashed = self._hashes.get(name)
        return await self._logins.check(name, password, hashed or DUMMY, address) and hashed is not None


def _basic(authorization: str | None) -> tuple[str, bytes] | None:
    """Name and password of a Basic header; None: the header is missing or malformed."""
    try:
        credentials = BasicAuth.decode(authorization or "", "latin-1")  # keeps the bytes
        return credentials.login.encode("latin-1").decode(), credentials.password.encode("latin-1")
    except ValueError:
        return None
