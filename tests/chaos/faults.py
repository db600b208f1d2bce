"""The kinds of faults: how each is inflicted, and how soon its traces must be gone."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import process_faults, server_faults
from tests.chaos.lookout import Lookout
from tests.chaos.plan import Plan
from tests.chaos.recovery import Recovery
from tests.chaos.scene import Scene


@dataclass(frozen=True)
class Fault:
    """A kind of fault. `limit` is what is allowed for the recovery, in seconds; `process`: it is a signal to one."""

    inflict: Callable[[Lookout], Recovery]
    limit: Callable[[Plan], float]
    process: bool = True


def _lease(plan: Plan) -> float:
    """A lease that lapses, and a round of the clock."""
    return plan.lease_seconds + plan.margin(10)


def _drain(plan: Plan) -> float:
    """What hosts allow: it does not shrink with the lease, nor does the drain."""
    return 25.0


def _forgotten(plan: Plan) -> float:
    return plan.margin(75)


def _reconnected(plan: Plan) -> float:
    """Connections are made again at their own pace, whatever the lease."""
    return 75.0


MESSAGES = "messages doubled and dropped"
FAULTS = {
    "kill -9: trainer": Fault(process_faults.trainer_killed, _lease),
    "kill -9: supervising pool child": Fault(process_faults.supervisor_killed, _lease),
    "kill -9: trainer worker": Fault(process_faults.trainer_worker_killed, _lease),
    "kill -9: worker": Fault(process_faults.worker_killed, _lease),
    "kill -9: clock": Fault(process_faults.clock_killed, _lease),
    "kill -9: web": Fault(process_faults.web_killed, _reconnected),
    "supervisor stopped past its lease": Fault(process_faults.supervisor_stopped, _lease),
    "deploy: SIGTERM to everything": Fault(process_faults.deployed, _drain),
    "Redis killed": Fault(server_faults.redis_killed, _reconnected),
    "Redis frozen": Fault(server_faults.redis_frozen, _reconnected),
    "Redis flushed": Fault(server_faults.redis_flushed, _forgotten, process=False),
    "Postgres restarted": Fault(server_faults.postgres_restarted, _lease),
    "work disk full": Fault(server_faults.work_disk_full, _lease, process=False),
    "storage full": Fault(server_faults.storage_full, _lease, process=False),
    MESSAGES: Fault(server_faults.messages_tampered, _reconnected, process=False),
}
PROCESS_FAULTS, OTHER_FAULTS = 4, 3
"""How often each kind comes in the first round of a full run: 44 faults of processes, 12 others."""


def first_round() -> list[str]:
    """The faults of a full run's first round."""
    return [name for name, fault in FAULTS.items() for _ in range(PROCESS_FAULTS if fault.process else OTHER_FAULTS)]


def possible(scene: Scene) -> set[str]:
    """The faults that can be inflicted here: a disk can be full only where we could mount one."""
    lacking = {"work disk full": scene.work, "storage full": scene.storage}
    return {name for name in FAULTS if name not in lacking or lacking[name] is not None}
