"""A platform of canned answers in a process of its own, fast enough not to be what is measured.

The answers are those of the simulator's observed dialect over a world that stands still; each is made once.
`python -m tests.benchmarks.canned RECORDS HOSTS STDOUT_BYTES` prints its port and serves until it is ended.
"""

import asyncio
import sys
from urllib.parse import parse_qsl, urlsplit

from exporter.simulator.observed import ObservedDialect
from exporter.simulator.scenarios import Scenario
from exporter.simulator.server import ENDPOINTS
from exporter.simulator.traffic import Traffic
from exporter.simulator.world import World

NOW = 1_700_000_000.0  # in November 2023


class Answers:
    """All answers by target, as bytes on the wire."""

    def __init__(self, *, records: int, hosts: int, stdout_bytes: int) -> None:
        self._world = World(seed=1)
        scenario = Scenario(rate=1.0, huge=1.0, huge_hosts=hosts, run=5.0)
        Traffic(seed=1, scenario=scenario).history(self._world, records, NOW)
        self._dialect = ObservedDialect(stdout_bytes=stdout_bytes)
        self._made: dict[bytes, bytes] = {}

    def get(self, target: bytes) -> bytes:
        """Give the answer to a GET of this target."""
        answer = self._made.get(target)
        if answer is None:
            answer = self._made[target] = self._make(target.decode())
        return answer

    def _make(self, target: str) -> bytes:
        url = urlsplit(target)
        endpoint = ENDPOINTS.get(url.path)
        if endpoint is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = self._dialect.answer(self._world, endpoint, dict(parse_qsl(url.query))).body
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as one client that waits for each answer needs it."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._read += data
        while b"\r\n\r\n" in self._read:
            request, _, self._read = self._read.partition(b"\r\n\r\n")
            self._transport.write(self._answers.get(request.split(b" ", 2)[1]))


async def serve(answers: Answers) -> None:
    """Serve on a free port of the loopback, and print it."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    records, hosts, stdout_bytes = map(int, sys.argv[1:])
    asyncio.run(serve(Answers(records=records, hosts=hosts, stdout_bytes=stdout_bytes)))
