"""A job's own chat template: what it may not do fails the job in words and soon, what it may goes into the model."""

import hashlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.blobs import storage
from app.config import settings
from app.core.errors import JobFailed
from app.core.job import Job
from app.core.states import Status
from app.store.db import transaction
from tests.services import eventually
from tests.store.conftest import now
from tests.trainer.conftest import TEMPLATE
from tests.workers.stages.samples import ROWS, VALID, content, created, whole
from tests.workers.stages.test_reports import asked, made
from workers import rendering, validation

pytestmark = pytest.mark.slow

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DEAF = (  # one call in which Python gets to raise nothing
    "{% set n = 3000000 %}{{ ([[messages|length] * n] * 1000).count([1.0 * messages|length] * n) }}"
)
GROWTH = "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
OWN = TEMPLATE.replace("{% for", "{{ 'order ' * (strftime_now('%Y')|int - 2000) }}{% for", 1)


def third(bad: str) -> str:
    """A template that is bad for the third row alone, which the rows below make the only one that says `seven`."""
    return "{% if messages[0].content == 'seven' %}" + bad + "{% endif %}" + TEMPLATE


BAD = {
    "loops": (third(LOOP), "it took longer than 0.5 s for line 3 of the training file"),
    "is deaf": (third(DEAF), "it took longer than"),  # by its own count, or on a busy machine by the supervisor's
    "grows": (third(GROWTH), "it needed more than 200 MB for line 3 of the training file"),
    "asks for attributes": (
        third("{{ messages.__class__ }}"),
        "an attribute that is not allowed: __class__, in line 1",
    ),
    "writes a word without end": ("{{ 'http://' * 40000 }}" + TEMPLATE, "0.5 s for the rows from line 1 to line "),
    "does not parse": ("{% for m in messages %}", "does not render a plain conversation (line 1: Unexpected end"),
}


def rows() -> list[dict[str, Any]]:
    row = {"messages": [{"role": "user", "content": "seven"}, ROWS[2]["messages"][1]]}
    return [*ROWS[:2], row, *(row for row in ROWS[3:] if row["messages"][0]["content"] != "seven")]


def failed(job: Job) -> dict[str, Any]:
    with pytest.raises(JobFailed):
        validation.validate(job.id)
    ended = now(job)
    assert (ended.status, ended.crashes) == (Status.FAILED, 0)
    assert ended.error is not None
    return ended.error


@pytest.mark.parametrize(("template", "told"), BAD.values(), ids=BAD)
def test_a_template_that_misbehaves_fails_its_job_in_words(key_id, template, told):
    error = failed(created(key_id, rows(), chat_template=template))
    assert (error["code"], error["param"]) == ("chat_template_invalid", "chat_template")
    assert told in error["message"]


def test_an_end_that_the_template_did_not_bring_about_is_no_failure_of_its_job(database, tmp_path):
    watch = rendering.Watch(tmp_path)
    watch.explain(-signal.SIGXCPU)  # at no row
    (tmp_path / rendering.MARKER).write_text("line 3")
    watch.explain(-signal.SIGKILL)
    for number, told in ((signal.SIGXCPU, "took longer than 0.5 s for line 3"), (signal.SIGSEGV, "SIGSEGV")):
        with pytest.raises(JobFailed, match=told):
            watch.explain(-number)


def freeze_at_the_row(job: Job) -> None:
    """Stop the child once it renders, so that none of its own limits can end it."""

    def is_rendering() -> bool:
        found = Path(settings().work_dir).glob(f"{job.id}.*/{rendering.MARKER}")
        return any(path.read_text().startswith("line 3") for path in found)

    eventually(is_rendering)
    for child in psutil.Process().children():
        if "--inspect" in child.cmdline():
            child.suspend()


def test_a_child_that_cannot_end_itself_is_ended_by_its_supervisor(key_id):
    job = created(key_id, rows(), chat_template=third(LOOP))
    with ThreadPoolExecutor(1) as elsewhere:
        frozen = elsewhere.submit(freeze_at_the_row, job)
        error = failed(job)
        frozen.result()
    assert "took longer than 3 s on the clock for line 3 of the training file" in error["message"]
    assert not [child for child in psutil.Process().children() if "--inspect" in child.cmdline()]


def test_a_report_with_a_template_that_loops_says_so(key_id):
    job = created(key_id, rows())
    found = made(asked(training_file=job.spec["training_file"], chat_template=LOOP + TEMPLATE))
    assert (found["error"]["code"], found["error"]["param"]) == ("chat_template_invalid", "chat_template")


def test_the_model_is_trained_on_and_saved_with_the_template_of_its_job(key_id, succeeded):
    job = created(key_id, ROWS, VALID, chat_template=OWN)
    with transaction() as conn:
        conn.execute("update jobs set created_at = '2002-01-01' where id = %(id)s", {"id": job.id})
    job = whole(job)
    assert job.status is Status.SUCCEEDED
    counted, plain = (each.result["training"]["tokens"] for each in (job, succeeded))
    assert counted == plain + 4 * len(ROWS)  # a word and a space for each year since 2000
    assert job.result["trained_tokens"] == counted * job.result["hyperparameters"]["epochs"]
    with storage().open(f"{job.result['model_path']}/chat_template.jinja") as saved:
        assert saved.read().decode() == OWN
    with storage().open(f"{succeeded.result['model_path']}/chat_template.jinja") as saved:
        assert saved.read().decode() == TEMPLATE
    manifest, other = (json.loads(content(each, "manifest_file")) for each in (job, succeeded))
    assert manifest["chat_template_sha256"] == hashlib.sha256(OWN.encode()).hexdigest()
    assert other["chat_template_sha256"] is None
    assert "chat_template" not in manifest["requested"]
