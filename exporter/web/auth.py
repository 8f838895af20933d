"""Who may read: bcrypt users, and how much work a stranger can cause.

- bcrypt runs in WORKERS threads, never on the event loop. Logins that find QUEUE others waiting, or
  PER_CLIENT of their own client (see `clients.py`), are answered 503 at once: a flood of logins
  delays logins only.
- A user that has logged in is remembered by a keyed digest of the password, so that a scrape costs
  microseconds. One digest a user, gone when the configuration is read anew.
- An unknown user costs as much as a wrong password: the password is compared with the hash of a user
  picked by the (keyed) name, and the result is thrown away. So even users with hashes of unlike cost
  do not stand out.
- Equal logins under way share one comparison: a hundred scrapes after a restart cost one.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto

import bcrypt

Verify = Callable[[bytes, bytes], bool]

WORKERS = 2  # bcrypt at once
QUEUE = 16  # at cost 10 (70 ms) the last of them waits half a second; a scraper times out after 10 s
PER_CLIENT = 4  # so that one client cannot fill the queue alone
LONGEST = 72  # bcrypt reads no more bytes; a longer password would match by its beginning


class Verdict(Enum):
    """What comes of credentials."""

    ADMITTED = auto()
    REFUSED = auto()  # wrong, unknown, malformed or missing: told to nobody which
    BUSY = auto()  # too many logins wait; try again


class Logins:
    """The bcrypt work of the process, bounded. `verify(password, hash)` is bcrypt's unless a test counts."""

    def __init__(
        self,
        *,
        verify: Verify = bcrypt.checkpw,
        workers: int = WORKERS,
        queue: int = QUEUE,
        per_client: int = PER_CLIENT,
    ) -> None:
        self._verify = verify
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="login")
        self._limit = workers + queue
        self._per_client = per_client
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}
        self._clients: Counter[str] = Counter()

    async def matches(self, key: bytes, password: bytes, hashed: bytes, client: str) -> bool | None:
        """Compare a password with a hash; None: too much waits. `key` stands for the same question."""
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= self._limit or self._clients[client] >= self._per_client:
                return None
            task = asyncio.create_task(self._compare(password, hashed))
            self._under_way[key] = task
            self._clients[client] += 1
            task.add_done_callback(lambda _: self._done(key, client))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Drop what waits; a comparison that runs ends by itself."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _compare(self, password: bytes, hashed: bytes) -> bool:
        usable = len(password) <= LONGEST and b"\0" not in password
        shown = password[:LONGEST].replace(b"\0", b" ")  # as dear as any other, whatever comes of it
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._verify, shown, hashed) and usable

    def _done(self, key: bytes, client: str) -> None:
        del self._under_way[key]
        self._clients[client] -= 1
        self._clients += Counter()  # drops the zeros: addresses must not pile up


class Users:
    """The users of one configuration file (at least one): name → bcrypt hash."""

    def __init__(self, hashes: Mapping[str, str], logins: Logins) -> None:
        self._hashes = {name: hashed.encode() for name, hashed in hashes.items()}
        self._decoys = list(self._hashes.values())
        self._logins = logins
        self._secret = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}

    async def admit(self, authorization: str | None, client: str) -> Verdict:
        """Judge an Authorization header; `client` as `clients.client_of` names it."""
        credentials = _basic(authorization)
        if credentials is None:
            return Verdict.REFUSED
        name, password = credentials
        digest = self._digest(b"%d:%s:%s" % (len(name), name.encode(), password))
        if hmac.compare_digest(self._known.get(name, b""), digest):
            return Verdict.ADMITTED
        hashed = self._hashes.get(name)
        matches = await self._logins.matches(digest, password, hashed or self._decoy(name), client)
        if matches is None:
            return Verdict.BUSY
        if not matches or hashed is None:
            return Verdict.REFUSED
        self._known[name] = digest
        return Verdict.ADMITTED

    def _digest(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, data, hashlib.sha256)

    def _decoy(self, name: str) -> bytes:
        pick = int.from_bytes(self._digest(name.encode())[:8], "big")
        return self._decoys[pick % len(self._decoys)]


def _basic(authorization: str | None) -> tuple[str, bytes] | None:
    """Take name and password out of a Basic header; None: there are none to be found."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
