"""Where it happens: a stack of its own with two trainer workers, behind a wire to its own Redis, on small disks."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from app.core.states import TASKS
from app.embedded import redis
from app.embedded.processes import Keeper, free_port
from app.embedded.stack import ROOT, Stack, as_shipped
from tests.chaos.disks import Disk, mounted
from tests.chaos.plan import Plan
from tests.chaos.wire import Wire
from tests.services import running
from tests.trainer.conftest import build_model

MODEL = "tiny"
CATALOGUE = (
    f'[[model]]\nname = "{MODEL}"\nsource = "./{MODEL}"\ncontext_length = 64\n'
    "learning_rate = { lora = 0.01, full = 0.001 }\n"
)
PREFIX = "tuneyard:"
QUEUES = tuple(PREFIX + task for task in TASKS.values())
TRAINERS = ("trainer", "trainer-2")
PROCESSES = ("web", "worker", *TRAINERS, "clock")
WORK_MEGABYTES, STORAGE_MEGABYTES = 64, 512


@dataclass(frozen=True)
class Scene:
    """The running stack, and everything that a fault takes hold of. `broker` goes around the wire."""

    folder: Path
    stack: Stack
    redis: Keeper
    broker: Redis
    wire: Wire
    work: Disk | None
    storage: Disk | None

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    def main_pids(self) -> dict[str, int | None]:
        """The first process of each part of the service; None while it is down."""
        return {name: next(iter(self.stack.pids(name)), None) for name in PROCESSES}

    def web_answers(self) -> bool:
        """Whether the web says that it, Postgres and Redis are well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.stack.port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def scene(folder: Path, plan: Plan) -> Iterator[Scene]:
    """The stack, up and running."""
    build_model(folder / MODEL)
    (folder / "models.toml").write_text(CATALOGUE)
    (folder / "Procfile").write_text(procfile())
    server = redis.prepare(folder, port=free_port())
    with ExitStack() as held:
        keeper = held.enter_context(running(server, folder))
        wire = held.enter_context(Wire(server.port, {queue.encode() for queue in QUEUES}))
        work = held.enter_context(mounted(folder / "work", megabytes=WORK_MEGABYTES))
        storage = held.enter_context(mounted(folder / "storage", megabytes=STORAGE_MEGABYTES))
        settings = {
            **as_shipped(),
            **plan.settings,
            "REDIS_URL": server.url.replace(f":{server.port}/", f":{wire.port}/"),
            "REDIS_PREFIX": PREFIX,
            "MODELS_FILE": str(folder / "models.toml"),
            "WORK_DIR": str(folder / "work"),
            "STORAGE_URL": str(folder / "storage"),
            "TUNEYARD_WITNESS": str(folder / "witness"),
        }
        stack = Stack(folder / "stack", settings=settings, procfile_path=folder / "Procfile", durable=False)
        broker = held.enter_context(Redis.from_url(server.url, socket_timeout=2, socket_connect_timeout=2))
        yield Scene(folder, held.enter_context(stack), keeper, broker, wire, work, storage)


def procfile() -> str:
    """The shipped Procfile with a second trainer worker, which keeps no trainer standing by."""
    shipped = (ROOT / "Procfile").read_text()
    trainer = next(line for line in shipped.splitlines() if line.startswith("trainer:"))
    return f"{shipped}{trainer.replace('trainer:', 'trainer-2: env TRAINER_STANDBY=0', 1)}\n"
