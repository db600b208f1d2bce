"""Tuned models by the Fireworks dialect: under the ids of their makers, with files to download without a key."""

import pytest

from app.core.errors import Invalid, Taken
from app.core.job import Model
from app.core.states import Outcome
from app.dialects.fireworks import base_models
from app.store import aliases, models
from app.store.db import transaction
from tests.dialects.conftest import person
from tests.dialects.fireworks import OK, Account, refused
from tests.dialects.test_models import WEIGHTS, tuned
from tests.store.conftest import finished, running


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


@pytest.fixture
def model(ann) -> Model:
    return tuned(ann)


def named(model: Model, kind: str, alias: str) -> None:
    with transaction() as conn:
        aliases.reserve(conn, model.project_id, kind, alias, target=str(model.job_id))


def test_a_model_without_a_chosen_id_goes_by_its_jobs(account, model):
    shown = account.get(f"models/{model.job_id}").json
    times = {shown.pop(name) for name in ("createTime", "updateTime")}
    assert len(times) == 1
    assert shown == {
        "name": f"accounts/ann/models/{model.job_id}",
        "displayName": "",
        "description": "",
        "state": "READY",
        "status": OK,
        "kind": "HF_PEFT_ADDON",
        "peftDetails": {"baseModel": "accounts/fireworks/models/base", "r": 4, "targetModules": ["q_proj", "v_proj"]},
        "fineTuningJob": f"accounts/ann/supervisedFineTuningJobs/{model.job_id}",
        "contextLength": 512,
    }


def test_a_model_of_full_weights_is_no_adapter(account):
    shown = account.get(f"models/{tuned(account.who, training_type='full').job_id}").json
    assert shown["kind"] == "HF_BASE_MODEL"
    assert "peftDetails" not in shown


def test_a_chosen_id_is_the_models_else_its_jobs(account, model):
    named(model, "job", "my-job")
    assert account.get("models/my-job").json["name"] == "accounts/ann/models/my-job"
    named(model, "model", "my-model")
    shown = account.get("models/my-model").json
    assert shown["name"] == "accounts/ann/models/my-model"
    assert shown["fineTuningJob"] == "accounts/ann/supervisedFineTuningJobs/my-job"
    assert [item["name"] for item in account.get("models").json["models"]] == ["accounts/ann/models/my-model"]


def test_models_are_listed_page_by_page_and_found_by_filter(account, model):
    named(model, "model", "b-model")
    other = tuned(account.who)
    named(other, "model", "a-model")
    first = account.get("models", pageSize=1).json
    second = account.get("models", pageSize=1, pageToken=first["nextPageToken"]).json
    listed = [item["name"].rsplit("/", 1)[-1] for page in (first, second) for item in page["models"]]
    assert (listed, first["totalSize"], second["nextPageToken"]) == (["a-model", "b-model"], 2, "")
    job = f'fineTuningJob = "accounts/ann/supervisedFineTuningJobs/{other.job_id}"'
    [found] = account.get("models", filter=job).json["models"]
    assert found["name"].endswith("a-model")
    refused(account.get("models", filter="path = x"), 400, 3)


def test_the_display_name_and_the_description_change_and_what_else_is_sent_is_named(account, model):
    url = f"models/{model.job_id}"
    sent = {"displayName": "Triage", "description": "Of tickets", "public": True, "contextLength": 0, "kind": "X"}
    changed = account.patch(url, sent).json
    assert changed["status"]["message"] == "Not used here: kind, public."
    assert (changed["displayName"], changed["description"]) == ("Triage", "Of tickets")
    shown = account.get(url).json
    assert shown == {**changed, "status": OK}
    assert shown["updateTime"] > shown["createTime"]
    assert account.patch(url, {}).json == shown
    refused(account.patch(url, {"displayName": "x" * 64}), 400, 3)


def test_the_files_of_a_model_are_downloaded_without_a_key(account, model):
    urls = account.get(f"models/{model.job_id}:getDownloadEndpoint").json["filenameToSignedUrls"]
    assert {name: account.fetch(url).data for name, url in urls.items()} == WEIGHTS
    [url, *_] = urls.values()
    refused(account.fetch(url.replace("adapter_config.json", "adapter_model.safetensors")), 403, 7)
    account.delete(f"models/{model.job_id}")
    refused(account.fetch(url), 404, 5)


def test_a_deleted_model_is_gone_at_every_door_and_gives_its_id_back(app, account, model):
    named(model, "model", "m")
    writer = Account(person(app, "ann", scopes=("read", "write")))
    refused(writer.delete("models/m"), 403, 7)
    assert account.delete("models/m").json == {}
    refused(account.get("models/m"), 404, 5)
    assert account.who.get(f"/v1/models/{model.name}").status_code == 404
    named(tuned(account.who), "model", "m")
    assert account.get("models/m").status_code == 200


def test_the_id_of_a_model_is_reserved_until_its_job_fails(account):
    first, second = (running(account.who.row(account.who.job()["id"])) for _ in range(2))
    with transaction() as conn:
        aliases.reserve(conn, "ann", "model", "m", target=first.id)
    with pytest.raises(Taken), transaction() as conn:
        aliases.reserve(conn, "ann", "model", "m", target=second.id)
    finished(first, Outcome.FAILED)
    with transaction() as conn:
        aliases.reserve(conn, "ann", "model", "m", target=second.id)
        assert aliases.target(conn, "ann", "model", "m") == second.id


def test_a_model_that_another_project_may_use_stays_its_makers(account, bob, model):
    with transaction() as conn:
        conn.execute("insert into permissions (id, model, project_id) values ('cp_x', %s, 'bob')", (model.name,))
    assert Account(bob).get("models").json["models"] == []
    refused(Account(bob).get(f"models/{model.job_id}"), 404, 5)


def test_the_catalogue_says_nothing_of_a_base_model_that_it_lost(account, model):
    with transaction() as conn:
        conn.execute("update models set base = 'gone/base' where name = %s", (model.name,))
        assert models.find(conn, "ann", model.name) is not None
    shown = account.get(f"models/{model.job_id}").json
    assert "contextLength" not in shown
    assert shown["peftDetails"]["baseModel"] == "accounts/fireworks/models/base"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("accounts/fireworks/models/gpt-4o-mini", "gpt-4o-mini"),
        ("tiny/base", "tiny/base"),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_base_model_is_found_by_its_name_or_the_last_part_of_it(app, given, found):
    assert base_models.named(given) == found


def test_a_last_part_that_several_base_models_share_is_refused_with_their_names(app):
    with pytest.raises(Invalid, match=r"'base' is tiny/base or big/base"):
        base_models.named("accounts/fireworks/models/base")


def test_a_base_model_that_is_not_there_is_refused_with_those_that_are(app):
    with pytest.raises(Invalid, match=r"nothing is not available .* Available here: tiny/base"):
        base_models.named("accounts/fireworks/models/nothing")
