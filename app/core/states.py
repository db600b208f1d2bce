"""The states of a job and the moves between them: one table for the database, the workers and the dialects."""

from enum import StrEnum


class Status(StrEnum):
    """Where a job is: the fact, as opposed to the wish in `Desired`."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Desired(StrEnum):
    """What its owner wants of a job; written by the API, read by workers at every heartbeat."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """How a worker's turn ended; the row turns it into the next status."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

MOVES: frozenset[tuple[Status, Status]] = frozenset(
    {
        (Status.VALIDATING_FILES, Status.QUEUED),
        (Status.QUEUED, Status.RUNNING),
        (Status.QUEUED, Status.PAUSED),
        (Status.RUNNING, Status.FINALIZING),
        (Status.RUNNING, Status.PAUSED),
        (Status.RUNNING, Status.QUEUED),
        (Status.PAUSED, Status.QUEUED),
        (Status.FINALIZING, Status.SUCCEEDED),
        *((status, Status.FAILED) for status in (Status.VALIDATING_FILES, Status.RUNNING, Status.FINALIZING)),
        *((status, Status.CANCELLED) for status in Status if status not in TERMINAL),
    }
)

TASKS = {Status.VALIDATING_FILES: "validate", Status.QUEUED: "train", Status.FINALIZING: "finalize"}
"""The Celery task that serves each status in which a job waits for a worker."""


def diagram() -> str:
    """The moves as a Mermaid state diagram, in the order of `Status`; the README shows it."""
    order = list(Status)
    moves = sorted(MOVES, key=lambda move: (order.index(move[0]), order.index(move[1])))
    lines = ["stateDiagram-v2", f"    [*] --> {Status.VALIDATING_FILES}"]
    lines += [f"    {a} --> {b}" for a, b in moves]
    lines += [f"    {status} --> [*]" for status in order if status in TERMINAL]
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
