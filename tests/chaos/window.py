"""The window, watched: how many jobs are woken, and whether Redis holds a message twice that was sent once."""

import json
import threading
from collections import Counter

from redis import Redis, RedisError

from tests.chaos.scene import QUEUES, Scene
from tests.chaos.tables import Tables

LOOK_SECONDS = 0.2
WOKEN = "select status, queue, count(*) n from jobs where woken_at is not null group by 1, 2"


class Window:
    """Looks again and again while its context lasts; what goes wrong there is raised at its end.

    Redis holds a message per dispatch at most, so it holds at most the woken jobs and the dispatches that Postgres was
    told to forget.
    """

    def __init__(self, scene: Scene) -> None:
        self.most_woken = 0
        self.longest = 0
        """Messages in one queue at one moment."""
        self.twice: set[str] = set()
        """Task ids of messages that Redis held twice, other than those that the wire had doubled."""
        self._scene = scene
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="window", daemon=True)

    def __enter__(self) -> "Window":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def _watch(self) -> None:
        tables = Tables(self._scene.stack.environment["DATABASE_URL"])
        try:
            while not self._ended.wait(LOOK_SECONDS):
                self.most_woken = max([self.most_woken, *(row["n"] for row in tables.rows(WOKEN))])
                self._look_into(self._scene.broker)
        except BaseException as error:  # noqa: BLE001 - raised again where the context ends
            self._failure = error
        finally:
            tables.close()

    def _look_into(self, broker: Redis) -> None:
        for queue in QUEUES:
            try:
                messages = broker.lrange(queue, 0, -1)
            except RedisError:
                return  # killed or frozen: a fault of ours
            self.longest = max(self.longest, len(messages))
            held = Counter(message for message in messages if message not in self._scene.wire.doubled)
            self.twice |= {json.loads(message)["headers"]["id"] for message, times in held.items() if times > 1}
