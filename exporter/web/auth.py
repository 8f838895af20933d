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
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import bcrypt
from aiohttp import BasicAuth

Verify = Callable[[bytes, bytes], bool]

WORKERS = 2  # concurrent comparisons; each uses a core
REMEMBERED = 128  # verified logins in the cache
ADDRESSES = 4096  # addresses whose failures are counted
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
    matches: asyncio.Future[bool]
    clients: int = 0


class Logins:
    """Checks all logins of the process. `verify(password, hash)` is a parameter for tests."""

    def __init__(self, *, verify: Verify = bcrypt.checkpw) -> None:
        self._verify = verify
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="login")
        self._secret = secrets.token_bytes(32)
        self._verified: set[bytes] = set()
        self._logins: dict[bytes, _Login] = {}  # waiting or running
        self._waiting: dict[bytes, _Login] = {}  # in the order of arrival
        self._running: set[asyncio.Future[bool]] = set()
        self._failures: Counter[str] = Counter()  # by address
        self._newest_next = True

    async def admit(self, users: Mapping[str, str], authorization: str | None, address: str) -> bool:
        """Check an Authorization header, sent from an address; `users`: name → bcrypt hash.

        False: the header is missing or malformed, the user unknown or the password wrong.
        """
        try:
            credentials = BasicAuth.decode(authorization or "", "latin-1")  # keeps the bytes
            name = credentials.login.encode("latin-1").decode()
        except ValueError:
            return False
        hashed = users.get(name, "").encode()
        password = credentials.password.encode("latin-1")
        return await self._matches(name, password, hashed or DUMMY, address) and bool(hashed)

    async def close(self) -> bool:
        """Drop waiting logins; False: a comparison still runs, and only the end of the process stops it."""
        self._waiting.clear()
        for login in self._logins.values():
            login.matches.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE)
        return not self._running

    async def _matches(self, name: str, password: bytes, hashed: bytes, address: str) -> bool:
        key = hmac.digest(self._secret, repr((name, password, hashed)).encode(), "sha256")
        if key in self._verified:
            return True
        login = self._logins.get(key)
        if login is None:
            matches = asyncio.get_running_loop().create_future()
            login = _Login(password=password, hashed=hashed, address=address, matches=matches)
            self._logins[key] = self._waiting[key] = login
            self._start()
        login.clients += 1
        try:
            return await asyncio.shield(login.matches)
        finally:
            login.clients -= 1
            if not login.clients and key in self._waiting:
                del self._waiting[key], self._logins[key]

    def _start(self) -> None:
        while self._waiting and len(self._running) < WORKERS:
            keys = list(self._waiting)[:: -1 if self._newest_next else 1]
            self._newest_next = not self._newest_next
            key = min(keys, key=lambda key: self._failures[self._waiting[key].address])  # the first of equals
            login = self._waiting.pop(key)
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._compare, login)
            self._running.add(work)
            work.add_done_callback(partial(self._done, key, login))

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
        elif work.result():
            if len(self._verified) >= REMEMBERED:
                self._verified.clear()
            self._verified.add(key)
            del self._failures[login.address]
            login.matches.set_result(True)
        else:
            if len(self._failures) >= ADDRESSES:
                self._failures.clear()
            self._failures[login.address] += 1
            login.matches.set_result(False)
        self._start()
