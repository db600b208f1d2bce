"""The sweep: what lies in storage and no row names goes, a day after it last changed.

A worker stores first and names afterwards, so bytes without a row may be on their way. Hence the day's grace, and the
folder of a job is not touched before the job has ended. Any number of clocks may sweep at a time.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import PurePosixPath

from app.blobs import Stored, storage
from app.store import paths
from app.store.db import transaction

PLACES = ("jobs", "models", "weights", "files", "uploads", "pings")
"""Where Tuneyard stores anything. Jobs come first: they tell whose storage this is."""

GRACE = timedelta(days=1)
LOOKED_AT_IN_A_ROUND = 500
ROUND_SECONDS = 60.0
REST_SECONDS = 3600.0

log = logging.getLogger(__name__)


class StrangeStorage(Exception):
    """Storage holds what another database knows: then no row of ours says what can go."""


class Sweep:
    """One clock's way through storage: some of it every minute, and an hour's rest after each pass."""

    def __init__(self) -> None:
        self._found: Iterator[Stored] = iter(())
        self._due = time.monotonic() + ROUND_SECONDS
        self._is_new = True

    def round(self) -> None:
        """Look at the next few things, if it is time.

        Raises StorageError and Unavailable.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + ROUND_SECONDS
        if self._is_new:
            self._found, self._is_new = everything(), False
        looked_at = list(islice(self._found, LOOKED_AT_IN_A_ROUND))
        try:
            remove_unnamed(looked_at, before=datetime.now(UTC) - GRACE)
        except StrangeStorage as error:
            log.warning("nothing is swept: %s", error)
            looked_at = []
        if len(looked_at) < LOOKED_AT_IN_A_ROUND:
            self._due, self._is_new = time.monotonic() + REST_SECONDS, True


def everything() -> Iterator[Stored]:
    """All that lies in storage, found while it is asked for."""
    for place in PLACES:
        yield from storage().stored(place)


def remove_unnamed(found: Sequence[Stored], *, before: datetime) -> list[str]:
    """Remove what last changed before a time and is named by no row; returns its keys.

    Raises StrangeStorage when there is a job among it that the database does not know.
    """
    job_ids = {key.split("/")[1] for key in (each.key for each in found) if key.startswith("jobs/")}
    old = [each for each in found if each.modified < before]
    with transaction() as conn:
        if strangers := paths.strangers(conn, job_ids):
            raise StrangeStorage(f"storage holds {strangers[0]}, a job that the database does not know")
        needed = paths.needed(conn, {path for each in old for path in _lineage(each.key)})
    unnamed = [each for each in old if needed.isdisjoint(_lineage(each.key))]
    for each in unnamed:
        storage().discard(each)
    if unnamed:
        log.info("%d things that no row names were removed from storage, as %s", len(unnamed), unnamed[0].key)
    return [each.key for each in unnamed]


def _lineage(key: str) -> list[str]:
    """A key and all prefixes that it lies below: a row may name any of them."""
    path = PurePosixPath(key)
    return [str(each) for each in (path, *path.parents[:-1])]
