"""What the states of a job are called: those of pausing, waiting and publishing have names of their own."""

from app.core.resources import STOPPING
from app.core.states import Status

STATES = {
    Status.VALIDATING_FILES: "JOB_STATE_VALIDATING",
    Status.QUEUED: "JOB_STATE_PENDING",
    Status.RUNNING: "JOB_STATE_RUNNING",
    Status.PAUSED: "JOB_STATE_PAUSED",
    Status.FINALIZING: "JOB_STATE_WRITING_RESULTS",
    Status.SUCCEEDED: "JOB_STATE_COMPLETED",
    Status.FAILED: "JOB_STATE_FAILED",
    Status.CANCELLED: "JOB_STATE_CANCELLED",
}
DELETING = "JOB_STATE_DELETING"
"""Of a job that a worker still holds when it is deleted."""
SHOWN: dict[str, str] = {**{str(status): name for status, name in STATES.items()}, STOPPING: "JOB_STATE_CANCELLING"}
NEVER = (
    "JOB_STATE_UNSPECIFIED",
    "JOB_STATE_CREATING",
    "JOB_STATE_CREATING_INPUT_DATASET",
    DELETING,
    "JOB_STATE_DELETING_CLEANING_UP",
    "JOB_STATE_EARLY_STOPPED",
    "JOB_STATE_EXPIRED",
    "JOB_STATE_IDLE",
    "JOB_STATE_RE_QUEUEING",
)
"""Names that clients know, and that no job in a list has here."""
MEANT = {**{shown: state for state, shown in SHOWN.items()}, **{name: name for name in NEVER}}
"""What the names mean in filters."""
