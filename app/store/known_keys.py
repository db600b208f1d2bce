"""Keys that were asked for lately: a process keeps them in memory as long as Postgres tells it of every change to them.

A connection listens. What is kept is trusted only while it has lately heard a call over another connection: so nothing
is, where it is cut off, frozen, or behind a pooler that forgets who listens.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from app.config import require
from app.core.job import Key
from app.store.db import Connection, Row, session
from app.store.keys import hashed

CHANNEL = "api_keys"
CALL = "call "
TRIGGERED = "tell_of_keys"
KEPT_SECONDS = 30.0
CALL_SECONDS = 3.0
TRUST_SECONDS = 10.0
MOST = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A key, until when it may be used (CLOCK_MONOTONIC), and the turn of changes that it was read in."""

    key: Key
    until: float
    turn: int


class KnownKeys:
    """The keys that this process knows; a thread listens to the database at `url` until `end`."""

    def __init__(self, url: str) -> None:
        self._kept: dict[bytes, Kept] = {}
        self._turn = 0  # rises with each change of a key, and whenever changes may have been missed
        self._trusted_until = 0.0
        self._url = url
        self._ended = threading.Event()
        threading.Thread(target=self._listen, name="known keys", daemon=True).start()

    def find(self, secret: str, read: Callable[[str], Key | None]) -> Key | None:
        """The key of a secret, read by `read` unless it was lately, and nothing was heard of a change since."""
        digest, now = hashed(secret), time.monotonic()
        kept = self._kept.get(digest)
        if kept is not None and kept.turn == self._turn and now < min(kept.until, self._trusted_until):
            return kept.key
        turn, trusted = self._turn, now < self._trusted_until
        key = read(secret)
        if key is not None and trusted:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[digest] = Kept(key, now + KEPT_SECONDS, turn)
        return key

    def end(self) -> None:
        """Trust nothing any more, and let the thread end within seconds."""
        self._ended.set()
        self._trusted_until = 0.0

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with session(self._url) as ears, session(self._url) as voice:
                    self._hear(ears, voice)
            except psycopg.Error as error:
                log.warning("keys are read for each request until Postgres can be heard: %s", error)
            self._trusted_until = 0.0
            self._turn += 1
            self._ended.wait(CALL_SECONDS)

    def _hear(self, ears: Connection[Row], voice: Connection[Row]) -> None:
        """Take what comes over the channel, and call into it now and then. Whatever is no call is a change.

        Postgres hands a connection its own calls with the answer, and so would a pooler that hands on no others.
        """
        ears.execute(f"select '{TRIGGERED}'::regproc")  # a schema without it tells nothing
        ears.execute(f"listen {CHANNEL}")  # and nothing with parameters: its answer would take notifications along
        while not self._ended.is_set():
            called_at, call = time.monotonic(), CALL + uuid.uuid4().hex
            voice.execute("select pg_notify(%s, %s)", (CHANNEL, call))
            for heard in ears.notifies(timeout=CALL_SECONDS):
                if heard.payload == call:
                    self._trusted_until = called_at + TRUST_SECONDS
                elif not heard.payload.startswith(CALL):
                    self._turn += 1


_starting = threading.Lock()
_known: dict[int, KnownKeys] = {}


def known() -> KnownKeys:
    """The keys of this process; those from before a fork stay the parent's."""
    pid = os.getpid()
    with _starting:
        if pid not in _known:
            _known[pid] = KnownKeys(require("database_url").database_url)
        return _known[pid]


def close() -> None:
    """Forget the keys of this process."""
    if (found := _known.pop(os.getpid(), None)) is not None:
        found.end()
