"""A job that does not fit into its trainer's memory fails with the words of its preflight, once and for all.

One that would fit if others held no memory is tried again.
"""

import json
import re
import resource
from pathlib import Path

import pytest

from app.config import settings
from app.core.errors import JobFailed
from app.core.states import Status
from app.store import leases
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import now
from tests.trainer.conftest import WORDS, build_model
from tests.workers.stages.samples import ROWS, created, told
from workers import training, validation
from workers.trainer import memory

pytestmark = pytest.mark.slow

ROOM = 400 << 20


def limit_the_standby_trainer() -> None:
    """Let the trainer that waits take only so much memory more."""
    backend = training.backend()
    backend.prepare()
    assert backend._standby is not None
    pid = backend._standby.pid
    eventually(lambda: "standby ready" in Path(f"/proc/{pid}/fd/2").read_text())
    size = int(re.findall(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) << 10
    resource.prlimit(pid, resource.RLIMIT_AS, (size + ROOM, size + ROOM))


def test_a_job_that_does_not_fit_fails_before_its_first_step_and_is_not_tried_again(key_id):
    answer = {"role": "assistant", "content": " ".join(WORDS * 25)}
    row = {"messages": [{"role": "user", "content": "order"}, answer]}
    job = created(key_id, [row] * 12, base="wide")
    validation.validate(job.id)
    limit_the_standby_trainer()
    with pytest.raises(JobFailed):
        training.train(job.id)
    ended = now(job)
    assert (ended.status, ended.attempt, ended.crashes) == (Status.FAILED, 2, 0)
    assert ended.error["code"] == "out_of_memory"
    assert "batch_size" in ended.error["message"], ended.error["message"]
    assert any(ended.error["message"] in message for message in told(job, level="error"))
    assert not any(message.startswith("Step ") for message in told(job))


def build_the_model_that_others_leave_no_memory_for() -> None:
    """A configuration alone; its weights and their state are more than is left now, and less than there is."""
    base = build_model(Path(settings().models_file).parent / "huge")
    (base / "model.safetensors").unlink()
    config, room = json.loads((base / "config.json").read_text()), memory.room("cpu")
    assert room is not None
    size = (room.now + 2 * room.ever) // 3
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": size // 16 // config["hidden_size"]}))


def test_a_job_that_others_leave_no_memory_for_is_queued_again_and_says_why(key_id):
    held = bytearray(b"1") * (1 << 30)
    build_the_model_that_others_leave_no_memory_for()
    job = created(key_id, ROWS, base="huge", training_type="full")
    validation.validate(job.id)
    assert training.train(job.id) is None
    assert len(held) == 1 << 30
    with transaction() as conn:
        leases.take_back(conn, retry_seconds=10)
    lost = now(job)
    assert (lost.status, lost.crashes, lost.error) == (Status.QUEUED, 1, None)
    why, then = told(job, level="warn")
    assert re.search(r"for now: huge has [0-9,]+ parameters: .* need .* others leave .* Another try may fit", why)
    assert "did not get the memory it needed; the job goes on by itself in about" in then
