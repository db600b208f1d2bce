"""What a dialect may hand to a create beside OpenAI's members: a chat template of the job's own, and secrets."""

import logging

import pytest

from app.actions import dry_runs, jobs, reports
from app.actions.jobs import Submission
from app.core import chat_templates, names
from app.core.caller import Caller
from app.core.errors import Invalid, WrongState
from app.core.job import NewJob
from app.store import secrets
from app.store.db import transaction
from tests.dialects.conftest import JOBS
from tests.dialects.test_models import tuned

OWN = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
KEY = "a key that nobody sees"


@pytest.fixture
def caller(ann):
    with transaction() as conn:
        [row] = conn.execute("select org_id from projects where id = %s", (ann.project,))
    return Caller(ann.key_id, ann.project, row["org_id"], frozenset({"read", "write"}))


def asked(ann, **members):
    return NewJob(**{"model": "tiny/base", "training_file": ann.upload().json["id"], **members})


def created(caller, new):
    return jobs.create(caller, new, Submission(body_hash=names.job_id()))


def test_a_template_is_kept_in_the_spec_and_not_shown(ann, caller):
    job = created(caller, asked(ann, chat_template=OWN))
    assert job.spec["chat_template"] == OWN
    assert OWN not in ann.get(f"{JOBS}/{job.id}").text


def test_a_job_without_one_has_no_template_in_its_spec(ann, caller):
    assert "chat_template" not in created(caller, asked(ann)).spec


@pytest.mark.parametrize("template", ["", " \n", "a" * (chat_templates.LARGEST_BYTES + 1)])
def test_a_template_that_is_blank_or_too_large_is_refused(ann, caller, template):
    with pytest.raises(Invalid, match="The chat template cannot be taken") as refused:
        created(caller, asked(ann, chat_template=template))
    assert refused.value.param == "chat_template"


def test_a_job_goes_on_with_the_template_that_its_tuned_model_has(ann, caller):
    model = tuned(ann)
    with transaction() as conn:
        conn.execute(
            "update jobs set spec = jsonb_set(spec, '{chat_template}', to_jsonb(%s::text)) where id = %s",
            (OWN, model.job_id),
        )
    assert created(caller, asked(ann, model=model.name)).spec["chat_template"] == OWN
    other = created(caller, asked(ann, model=model.name, chat_template=OWN + "!"))
    assert other.spec["chat_template"] == OWN + "!"
    file = ann.upload().json["id"]
    assert reports.of_file(caller, file, model=model.name).spec["chat_template"] == OWN
    assert "chat_template" not in reports.of_file(caller, file, model="tiny/base").spec


def test_a_template_makes_another_report(ann, caller):
    new = asked(ann)
    first, same, other = (
        dry_runs.make(caller, NewJob(model=new.model, training_file=new.training_file, chat_template=template)).report
        for template in (None, None, OWN)
    )
    assert first.id == same.id != other.id
    assert other.spec["chat_template"] == OWN


def test_a_secret_is_sealed_with_its_job_and_seen_nowhere(ann, caller, caplog):
    caplog.set_level(logging.DEBUG)
    new = asked(ann, secrets={"wandb_api_key": KEY})
    job = created(caller, new)
    with transaction() as conn:
        assert secrets.find(conn, ann.project, "wandb_api_key", job.id) == KEY
        [row] = conn.execute("select to_jsonb(jobs)::text as row from jobs where id = %s", (job.id,))
    seen = [repr(new), repr(job), row["row"], caplog.text]
    seen += [ann.get(f"{JOBS}/{job.id}{rest}").text for rest in ("", "/events")]
    assert not [text for text in seen if KEY in text]


def test_a_server_without_a_key_refuses_a_secret_and_makes_no_job(ann, caller, monkeypatch):
    new = asked(ann, secrets={"wandb_api_key": KEY})
    monkeypatch.setattr(type(jobs.settings()), "secret_keys", [])
    before = ann.get(JOBS).json["data"]
    with pytest.raises(WrongState, match="SECRET_KEY is missing"):
        created(caller, new)
    assert ann.get(JOBS).json["data"] == before
