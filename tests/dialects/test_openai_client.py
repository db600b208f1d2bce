"""The official client, strict about every answer, against the application as production runs it."""

import base64
from collections.abc import Iterator

import openai
import pytest

from app.core.job import NewEvent
from app.core.states import Outcome
from app.store import checkpoints, events
from app.store.db import transaction
from tests.dialects.conftest import ROWS
from tests.dialects.server import Server, serving
from tests.dialects.test_files import result_file
from tests.dialects.test_models import tuned
from tests.store.conftest import checkpoint, claimed, finished, queued, running

__all__ = ["checkpoint"]


@pytest.fixture(scope="module")
def server(app, tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running_server:
        yield running_server


@pytest.fixture
def client(server, ann) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key=ann.secret, base_url=f"{server.url}/v1", max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


@pytest.fixture
def file(client) -> str:
    return client.files.create(file=("train.jsonl", ROWS), purpose="fine-tune").id


@pytest.fixture
def job(client, ann, file):
    return ann.row(client.fine_tuning.jobs.create(model="tiny/base", training_file=file).id)


def test_files_are_made_listed_read_and_deleted(client):
    made = client.files.create(file=("train.jsonl", ROWS), purpose="fine-tune")
    assert client.files.retrieve(made.id) == made
    assert [file.id for file in client.files.list(purpose="fine-tune", limit=1, order="asc")] == [made.id]
    assert client.files.content(made.id).content == ROWS
    assert client.files.wait_for_processing(made.id).status == "processed"
    assert client.files.delete(made.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_goes_up_from_disk(client, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    with path.open("rb") as opened:
        assert client.files.create(file=opened, purpose="fine-tune").bytes == len(ROWS)


def test_a_result_file_decodes_as_existing_code_decodes_it(client, ann):
    made = result_file(ann, b"step,train_loss\n1,0.5\n", "step_metrics.csv")
    assert base64.b64decode(client.files.content(made).read()) == b"step,train_loss\n1,0.5\n"


def test_a_job_is_made_with_a_method_or_with_the_old_hyperparameters(client, file):
    new = client.fine_tuning.jobs.create(
        model="tiny/base",
        training_file=file,
        validation_file=file,
        suffix="team",
        seed=3,
        metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}},
    )
    old = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file, hyperparameters={"n_epochs": 2})
    assert new.method.supervised.hyperparameters.n_epochs == old.hyperparameters.n_epochs == 2
    assert new.status == "validating_files"
    assert old.model == "gpt-4o-mini"


def test_a_job_learns_from_preferences(client, file):
    job = client.fine_tuning.jobs.create(
        model="tiny/base",
        training_file=file,
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": "auto"}}},
    )
    shown = client.fine_tuning.jobs.retrieve(job.id).method
    assert (shown.type, shown.supervised) == ("dpo", None)
    assert (shown.dpo.hyperparameters.beta, shown.dpo.hyperparameters.n_epochs) == (0.1, "auto")


def test_jobs_are_walked_through_page_by_page_and_filtered(client, file):
    made = [
        client.fine_tuning.jobs.create(model="tiny/base", training_file=file, metadata={"n": str(n % 2)}).id
        for n in range(5)
    ]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == made[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"n": "1"})] == [made[3], made[1]]


def test_a_job_is_read_in_every_state_and_through_every_end(client, ann, job):
    jobs = client.fine_tuning.jobs
    assert jobs.retrieve(queued(job).id).status == "queued"
    held = claimed(ann.row(job.id))
    assert jobs.retrieve(job.id).status == "running"
    at_work = finished(held, Outcome.DONE, result={"hyperparameters": {"epochs": 3, "learning_rate_multiplier": 1.0}})
    assert jobs.retrieve(job.id).status == "running"
    made = {"fine_tuned_model": "ft:x", "trained_tokens": 5, "result_files": ["file-1"]}
    finished(claimed(at_work), Outcome.DONE, result=made)
    ended = jobs.retrieve(job.id)
    assert (ended.status, ended.fine_tuned_model, ended.trained_tokens) == ("succeeded", "ft:x", 5)
    assert ended.result_files == ["file-1"]
    assert ended.hyperparameters.n_epochs == 3


def test_a_failed_job_explains_itself(client, job):
    finished(claimed(job), Outcome.FAILED, error={"code": "invalid_training_file", "message": "Why", "param": None})
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert (failed.status, failed.error.code, failed.error.param) == ("failed", "invalid_training_file", None)


def test_a_job_is_cancelled(client, job):
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_a_job_is_paused_and_resumed(server, ann, job):
    queued(job)
    with openai.OpenAI(api_key=ann.secret, base_url=f"{server.url}/v1") as lenient:
        assert lenient.fine_tuning.jobs.pause(job.id).status == "paused"
        assert lenient.fine_tuning.jobs.resume(job.id).status == "queued"


def test_events_and_checkpoints_are_walked_through(client, job, checkpoint):
    held = running(job)
    with transaction() as conn:
        told = {"step": 1, "train_loss": 0.5}
        events.append(conn, held, [NewEvent("Step 1/2", type="metrics", data=told)], seq=1)
        for step in (1, 2):
            made = checkpoint(held, step, kind="epoch")
            checkpoints.record(conn, held, made)
    walked = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    assert walked[0].data == told
    assert walked[-1].message == f"Created fine-tuning job: {job.id}"
    assert [point.step_number for point in client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)] == [2, 1]


def test_models_are_listed_read_and_deleted_though_their_names_hold_slashes(client, ann):
    model = tuned(ann)
    assert {"tiny/base", model.name} <= {item.id for item in client.models.list()}
    assert client.models.retrieve("tiny/base").owned_by == "tuneyard"
    assert client.models.retrieve(model.name).id == model.name
    assert client.models.delete(model.name).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model.name)


def test_chatting_says_how_to_serve_the_model(client):
    with pytest.raises(openai.NotFoundError, match="vllm serve") as caught:
        client.chat.completions.create(model="tiny/base", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.code == "model_not_served"


@pytest.mark.parametrize(
    ("members", "kind", "param"),
    [
        ({"model": "none"}, openai.BadRequestError, "model"),
        ({"training_file": "file-none"}, openai.BadRequestError, "training_file"),
        ({"hyperparameters": {"n_epochs": 51}}, openai.BadRequestError, "hyperparameters.n_epochs"),
        ({"suffix": "a/b"}, openai.BadRequestError, "suffix"),
    ],
)
def test_errors_are_those_that_the_client_knows(client, file, members, kind, param):
    with pytest.raises(kind) as caught:
        client.fine_tuning.jobs.create(**{"model": "tiny/base", "training_file": file, **members})
    assert caught.value.param == param
    assert caught.value.request_id


def test_a_wrong_key_is_an_authentication_error(server):
    with (
        openai.OpenAI(api_key="wrong", base_url=f"{server.url}/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


def test_a_file_over_the_limit_is_a_413_that_the_client_reports(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("big.jsonl", b"x" * (30 << 20)), purpose="fine-tune")
    assert caught.value.status_code == 413
    assert "2 MB" in caught.value.message


def test_a_body_over_the_limit_is_a_413_that_the_client_reports(client, file):
    with pytest.raises(openai.APIStatusError) as caught:
        client.fine_tuning.jobs.create(model="tiny/base", training_file=file, extra_body={"padding": "x" * (5 << 20)})
    assert caught.value.status_code == 413
