"""The wire to Redis: a relay that doubles and drops the messages of the task queues while it is told to.

Every process of the stack talks to Redis through it. A dead or frozen server looks as it does without the relay.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from tests.relay import Relay


class Wire(Relay):
    """The relay, as a context; it listens on `port`. Queues are Redis keys."""

    def __init__(self, redis_port: int, queues: Collection[bytes]) -> None:
        super().__init__(redis_port)
        self.tampering = False
        self.seen = 0
        """Messages that came while tampering: every second one was dropped, the others were doubled."""
        self.doubled: set[bytes] = set()
        self._queues = queues

    async def _forward(self, client: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                command = await _read(client)
                requests.write(_written(self._tampered(command) if self.tampering else command))
                await requests.drain()

    def _tampered(self, command: list[bytes]) -> list[bytes]:
        """A push of a message twice, or not at all: then a question whose answer is a length too."""
        if command[0].upper() != b"LPUSH" or command[1] not in self._queues:
            return command
        self.seen += 1
        if self.seen % 2 == 0:
            return [b"LLEN", command[1]]
        self.doubled.update(command[2:])
        return [*command, *command[2:]]


async def _read(client: asyncio.StreamReader) -> list[bytes]:
    """A command: in Redis' protocol an array of strings, each with its length in front."""
    parts = int((await client.readuntil(b"\r\n"))[1:])
    return [await _read_part(client) for _ in range(parts)]


async def _read_part(client: asyncio.StreamReader) -> bytes:
    size = int((await client.readuntil(b"\r\n"))[1:])
    return (await client.readexactly(size + 2))[:-2]


def _written(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
