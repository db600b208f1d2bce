"""The window, watched: how many jobs are woken, and whether Redis holds a message twice that was sent once."""

import json
from collections import Counter

from redis import Redis, RedisError

from tests.chaos.scene import QUEUES, Scene
from tests.chaos.tables import Tables
from tests.onlooker import Onlooker

WOKEN = "select status, queue, count(*) n from jobs where woken_at is not null group by 1, 2"


class Window(Onlooker):
    """Looks at the tables and the queues.

    Redis holds a message per dispatch at most, so it holds at most the woken jobs and the dispatches that Postgres was
    told to forget.
    """

    every_seconds = 0.2

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.most_woken = 0
        self.longest = 0
        """Messages in one queue at one moment."""
        self.twice: set[str] = set()
        """Task ids of messages that Redis held twice, other than those that the wire had doubled."""
        self._scene = scene
        self._tables: Tables | None = None

    def look(self) -> None:
        self._tables = self._tables or Tables(self._scene.stack.environment["DATABASE_URL"])
        self.most_woken = max([self.most_woken, *(row["n"] for row in self._tables.rows(WOKEN))])
        self._look_into(self._scene.broker)

    def close(self) -> None:
        if self._tables is not None:
            self._tables.close()

    def _look_into(self, broker: Redis) -> None:
        for queue in QUEUES:
            try:
                messages = broker.lrange(queue, 0, -1)
            except RedisError:
                return  # killed or frozen: a fault of ours
            self.longest = max(self.longest, len(messages))
            held = Counter(message for message in messages if message not in self._scene.wire.doubled)
            self.twice |= {json.loads(message)["headers"]["id"] for message, times in held.items() if times > 1}
