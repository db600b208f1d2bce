"""A model, one tuned from a checkpoint of its run, and one tuned from that: all stages, on the real trainer."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from app.actions import starts
from app.actions.models import Tuned
from app.blobs import storage
from app.core.job import Job
from app.core.states import Status
from app.store import checkpoints, models
from app.store.db import transaction
from tests.store.conftest import PROJECT, made
from tests.workers.stages.samples import content, whole
from workers import clock

pytestmark = pytest.mark.slow

FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Chain:
    """Three jobs; the second one's model was deleted before the third began: whether its bytes and link stood then."""

    jobs: list[Job]
    checkpoint: str
    bytes_stood: bool
    link_stood: bool


def goes_on(key_id: str, maker: Job, tuned: Tuned) -> Job:
    """A job on the maker's files that goes on from what it made, as a create makes it, and hardly learns."""
    files = {role: maker.spec[role] for role in ("training_file", "validation_file", "method", "suffix")}
    asked = starts.continued({"epochs": 1, "batch_size": 4, "learning_rate": 1e-6}, tuned)
    begun = starts.start(tuned, PROJECT)
    return made(key_id, **files, model=tuned.name, seed=6, hyperparameters=asked, start=begun)


@pytest.fixture(scope="module")
def chain(key_id, succeeded):
    with transaction() as conn:
        [newest, *_] = checkpoints.page(conn, succeeded.id, after=None, limit=1)
    second = whole(goes_on(key_id, succeeded, Tuned.of_job(newest.name, succeeded, newest)))
    with transaction() as conn:
        model = models.find(conn, PROJECT, second.result["fine_tuned_model"])
    third = goes_on(key_id, second, Tuned.of_job(model.name, second, model))
    with transaction() as conn:
        models.delete(conn, PROJECT, model.name)
    clock.purge()
    stood = storage().has_tree(model.path), storage().path(f"models/{PROJECT}/{model.name}").is_symlink()
    return Chain([succeeded, second, whole(third)], newest.name, *stood)


def manifest(job: Job) -> Any:
    return json.loads(content(job, "manifest_file"))


def valid_losses(job: Job) -> list[float]:
    query = "select data->'full_valid_loss' as loss from job_events where job_id = %s and data ? 'full_valid_loss'"
    with transaction() as conn:
        return [row["loss"] for row in conn.execute(f"{query} order by id", (job.id,))]


def test_each_job_goes_on_where_the_one_before_it_ended(chain):
    assert [job.status for job in chain.jobs] == [Status.SUCCEEDED] * 3
    first, second, third = map(valid_losses, chain.jobs)
    assert first[0] - first[1] > 0.02
    assert [*second, *third] == pytest.approx([first[1]] * 2, abs=0.001)


def test_the_manifest_of_the_third_names_the_first_and_the_second_by_their_weights(chain):
    first, second, third = map(manifest, chain.jobs)
    hashes = {FILE: first["files"][FILE]["sha256"]}  # the last checkpoint and the model have the same weights
    before = {"model": chain.checkpoint, "job_id": chain.jobs[0].id, "sha256": hashes}
    hashes = {FILE: second["files"][FILE]["sha256"]}
    between = {"model": chain.jobs[1].result["fine_tuned_model"], "job_id": chain.jobs[1].id, "sha256": hashes}
    assert [made["parents"] for made in (first, second, third)] == [[], [before], [between, before]]
    assert third["base_model"] == third["requested"]["base"] == "tiny"
    assert "start" not in third["requested"]


def test_what_was_tuned_twice_is_named_and_served_as_tuned_from_the_base(chain):
    name = chain.jobs[2].result["fine_tuned_model"]
    assert name == f"ft:tiny:default::{chain.jobs[2].id[-8:]}"
    config = json.loads((storage().path(f"models/{PROJECT}/{name}") / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["r"] == chain.jobs[0].result["hyperparameters"]["lora_rank"]


def test_a_parent_that_is_deleted_while_its_child_waits_goes_when_the_child_has_ended(chain):
    assert (chain.bytes_stood, chain.link_stood) == (True, False)
    clock.purge()
    assert not storage().has_tree(chain.jobs[1].result["model_path"])
