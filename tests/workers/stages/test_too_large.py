"""A job that does not fit into its trainer's memory fails with the words of its preflight, once and for all."""

import re
import resource
from pathlib import Path

import pytest

from app.core.errors import JobFailed
from app.core.states import Status
from tests.services import eventually
from tests.store.conftest import now
from tests.trainer.conftest import WORDS
from tests.workers.stages.samples import created, told
from workers import training, validation

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
