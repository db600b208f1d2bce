"""The wire to Redis: a relay that doubles and drops the messages of the task queues while it is told to.

Every process of the stack talks to Redis through it. A connection ends when Redis ends it, and is reset while Redis
refuses, so that a dead or frozen server looks as it does without the relay.
"""

import asyncio
import threading
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Wire:
    """The relay, as a context; it listens on `port`. Queues are Redis keys."""

    def __init__(self, redis_port: int, queues: Collection[bytes]) -> None:
        self.port = 0
        self.tampering = False
        self.seen = 0
        """Messages that came while tampering: every second one was dropped, the others were doubled."""
        self.doubled: set[bytes] = set()
        self._redis_port = redis_port
        self._queues = queues
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)

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

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _relay(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            redis, commands = await asyncio.open_connection("127.0.0.1", self._redis_port)
        except OSError:
            answers.transport.abort()
            return
        ways = [asyncio.create_task(self._forward(client, commands)), asyncio.create_task(_copy(redis, answers))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            commands.transport.abort()
            answers.transport.abort()

    async def _forward(self, client: asyncio.StreamReader, commands: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                command = await _read(client)
                commands.write(_written(self._tampered(command) if self.tampering else command))
                await commands.drain()

    def _tampered(self, command: list[bytes]) -> list[bytes]:
        """A push of a message twice, or not at all: then a question whose answer is a length too."""
        if command[0].upper() != b"LPUSH" or command[1] not in self._queues:
            return command
        self.seen += 1
        if self.seen % 2 == 0:
            return [b"LLEN", command[1]]
        self.doubled.update(command[2:])
        return [*command, *command[2:]]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()


async def _read(client: asyncio.StreamReader) -> list[bytes]:
    """A command: in Redis' protocol an array of strings, each with its length in front."""
    parts = int((await client.readuntil(b"\r\n"))[1:])
    return [await _read_part(client) for _ in range(parts)]


async def _read_part(client: asyncio.StreamReader) -> bytes:
    size = int((await client.readuntil(b"\r\n"))[1:])
    return (await client.readexactly(size + 2))[:-2]


def _written(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
