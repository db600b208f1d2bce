"""A relay between a client and a server on this machine, which a test can hold up or cut."""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Relay:
    """As a context; it listens on `port`. A connection ends when the server ends it, and is reset while it refuses."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._ways: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._ways) // 2

    def freeze(self) -> None:
        """Let nothing through until `thaw`, and keep what comes."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def thaw(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """End all connections, and refuse new ones until `mend`."""
        self._refusing = True
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def mend(self) -> None:
        """Take connections again."""
        self._refusing = False

    async def _cut(self) -> None:
        for way in self._ways:
            way.cancel()
        while self._ways:
            await asyncio.sleep(0)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _relay(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            server, requests = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            answers.transport.abort()
            return
        ways = {asyncio.create_task(self._forward(client, requests)), asyncio.create_task(self._back(server, answers))}
        self._ways |= ways
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ways -= ways
            for way in ways:
                way.cancel()
            requests.transport.abort()
            answers.transport.abort()

    async def _forward(self, client: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        """From the client to the server."""
        await self._copy(client, requests)

    async def _back(self, server: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """From the server to the client."""
        await self._copy(server, answers)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK):
                await self._open.wait()
                target.write(chunk)
                await target.drain()
