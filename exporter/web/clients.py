"""Who is one client, and whose connection gives way when all places are taken. PURE.

A client is an IPv4 address, or the /64 that an IPv6 address lies in: that is what a provider gives to one
customer, who may speak from any of its 2^64 addresses.

When there is no place left, the client that holds most of them loses one: the oldest that is not being
served; if it has none such, the one that has been served for longest. So a client alone, whatever it
holds open, reads slowly or says nothing, takes places from itself only; and where all share one address
(a proxy, address translation) who has just begun to be served is the last to be cut.
"""

import ipaddress
from collections.abc import Hashable
from functools import lru_cache
from typing import Generic, Protocol, TypeVar


@lru_cache(maxsize=1024)
def client_of(address: str) -> str:
    """Name the client that an IP address belongs to; any other text is a client of its own."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


class Waiting(Protocol):
    """What is known of a connection."""

    @property
    def served(self) -> bool:
        """Whether a request of it is being answered."""
        ...

    @property
    def since(self) -> float:
        """Since when it is in its state, seconds of a clock that all share."""
        ...


K = TypeVar("K", bound=Hashable)


class Places(Generic[K]):
    """The places that are taken: key → connection, by client."""

    def __init__(self) -> None:
        self._by_client: dict[str, dict[K, Waiting]] = {}
        self._client: dict[K, str] = {}

    def __len__(self) -> int:
        return len(self._client)

    def keys(self) -> list[K]:
        """Give all that hold a place."""
        return list(self._client)

    def take(self, key: K, connection: Waiting, client: str) -> None:
        """Take a place for a connection of `client`."""
        self._client[key] = client
        self._by_client.setdefault(client, {})[key] = connection

    def leave(self, key: K) -> None:
        """Give a place back, if it is still held."""
        client = self._client.pop(key, None)
        if client is not None:
            held = self._by_client[client]
            del held[key]
            if not held:
                del self._by_client[client]

    def loser(self, newcomer: str) -> K:
        """Tell which one gives way to a connection of the client `newcomer`; at least one place is taken."""

        def weight(client: str) -> tuple[int, bool]:
            return len(self._by_client[client]) + (client == newcomer), client == newcomer

        held = self._by_client[max(self._by_client, key=weight)]
        silent = next((key for key, connection in held.items() if not connection.served), None)
        return min(held, key=lambda key: held[key].since) if silent is None else silent
