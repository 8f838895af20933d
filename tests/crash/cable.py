"""A cable between an exporter and its database, which tests cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import sqlalchemy as sa


class Cable:
    """Carries bytes between a port of the loopback and the socket of a server; made by `cable`."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self._forgotten: list[asyncio.Event] = []
        self._refuses = False
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    def cut(self, how: Literal["silent", "reset"]) -> None:
        """Carry nothing more: without a word, as a network does that drops, or with the connections ended."""
        self._whole.clear()
        if how == "reset":
            self._refuses = True
            self._abort()

    def forget(self) -> None:
        """Carry nothing more of the connections that there are, without a word; new ones are carried."""
        self._forgotten.append(self._whole)
        self._whole.clear()
        self._whole = asyncio.Event()
        self._whole.set()

    def mend(self) -> None:
        """Carry again, new connections and those that are still there."""
        self._refuses = False
        self._whole.set()

    async def end(self) -> None:
        """Break all connections, and wait until nothing is left of them."""
        self._refuses = True
        for event in (self._whole, *self._forgotten):
            event.set()
        while self._serving:
            self._abort()
            await asyncio.wait(self._serving, timeout=0.01)

    def _abort(self) -> None:
        for writer in [*self._writers]:
            writer.transport.abort()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to carry a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end closes it."""
        if self._refuses:
            writer.transport.abort()
            return
        await self._whole.wait()
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:  # the server is being restarted
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        await asyncio.gather(
            self._carry(reader, there_writer, self.sent),
            self._carry(there_reader, writer, self.carried),
        )
        self._writers -= {writer, there_writer}

    def carried(self, data: bytes) -> bytes:
        """What becomes of the bytes that the server sends."""
        return data

    def sent(self, data: bytes) -> bytes:
        """What becomes of the bytes that the server gets."""
        return data

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        whole = self._whole
        with suppress(OSError):
            while data := await reader.read(65536):
                await whole.wait()
                writer.write(change(data))
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def cable(socket: Path, kind: type[Cable] = Cable) -> AsyncIterator[Cable]:
    """Lay a cable to the server that listens at `socket` until the block ends."""
    line = kind(socket)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        await line.end()
        await server.wait_closed()


def through(line: Cable, url: str) -> str:
    """The address of the same database at the other end of the cable."""
    parsed = sa.make_url(url)
    return (
        parsed.set(host="127.0.0.1", port=line.port, query={})
        .update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        .render_as_string(hide_password=False)
    )
