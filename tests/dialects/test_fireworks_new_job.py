"""Each member of a new job in the Fireworks dialect: it works, is refused, or is named in the status."""

from typing import Any

import pytest

from app.core.job import Job
from app.store import aliases, events, jobs, secrets
from app.store.db import transaction
from tests.dialects.conftest import ROWS
from tests.dialects.fireworks import DPO, OK, SFT, Account, refused, train, trained
from tests.dialects.test_models import tuned


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


def row(account: Account, made: dict[str, Any]) -> Job:
    with transaction() as conn:
        name = made["name"].rsplit("/", 1)[-1]
        return jobs.get(conn, account.who.project, aliases.target(conn, account.who.project, "job", name))


def asked(account: Account, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = row(account, trained(account, **members)).spec["hyperparameters"]
    return found


def test_hyperparameters_are_ours_by_other_names_as_numbers_or_in_quotes(account):
    wanted = {
        "epochs": 3,
        "learning_rate": 0.002,
        "warmup_steps": 7,
        "max_length": 128,
        "lora_rank": 8,
        "weight_decay": 0.1,
        "batch_size": 4,
        "training_type": "lora",
    }
    members: dict[str, Any] = {
        "epochs": "3",
        "learningRate": "2e-3",
        "learningRateWarmupSteps": "7",
        "maxContextLength": "128",
        "loraRank": "8",
        "optimizerWeightDecay": 0.1,
        "batchSizeSamples": 4,
    }
    assert asked(account, **members) == wanted
    assert asked(account, collection=DPO, trainingConfig=members) == wanted


def test_zero_blank_and_false_mean_unset(account):
    members: dict[str, Any] = dict.fromkeys(
        ("epochs", "learningRate", "loraRank", "batchSize", "batchSizeSamples", "gradientAccumulationSteps", "nodes"), 0
    )
    blanks = {"displayName": "", "jinjaTemplate": "", "isTurbo": False, "outputModel": "", "awsS3Config": {}}
    made = trained(account, **members, **blanks, maxContextLength="0", region="REGION_UNSPECIFIED", weird=None)
    assert row(account, made).spec["hyperparameters"] == {}
    assert made["status"] == OK


def test_batch_size_is_the_product_of_rows_and_accumulated_steps(account):
    made = trained(account, batchSizeSamples=4, gradientAccumulationSteps=8)
    assert row(account, made).spec["hyperparameters"]["batch_size"] == 32
    assert "4 times 8, 32 rows a step" in made["status"]["message"]


def test_the_learning_rate_in_snake_case_is_the_factor_that_gateways_send(account):
    made = trained(account, learning_rate=1.5, epochs="auto")
    assert row(account, made).spec["hyperparameters"] == {"learning_rate_multiplier": 1.5}
    assert "factor" in made["status"]["message"]


def test_preferences_have_a_beta(account):
    loss = {"method": "DPO", "dpo": {"beta": 0.25, "refCacheBatchSize": 1, "refCacheConcurrency": 16}, "klBeta": 0}
    made = trained(account, collection=DPO, lossConfig=loss)
    assert made["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.25}}
    assert made["status"]["message"] == (
        "Not used here: lossConfig.dpo.refCacheBatchSize, lossConfig.dpo.refCacheConcurrency."
    )
    assert trained(account, collection=DPO, lossConfig={"method": "METHOD_UNSPECIFIED"})["status"] == OK


def test_early_stopping_ends_after_one_evaluation_and_keeps_the_best(account):
    stopping = {"early_stopping_patience": 1, "keep_best": True}
    assert asked(account, earlyStop=True, evaluationDataset="d") == stopping
    made = trained(account, earlyStop=True, evalAutoCarveout=True)
    assert row(account, made).spec["hyperparameters"] == {**stopping, "eval_carveout": 0.1}
    assert (made["earlyStop"], made["evalAutoCarveout"]) == (True, True)


def test_an_evaluation_dataset_wins_over_a_carve_out_which_is_said(account):
    account.ready("e")
    made = trained(account, evaluationDataset="accounts/ann/datasets/e", evalAutoCarveout=True)
    assert made["evaluationDataset"] == "accounts/ann/datasets/e"
    assert made["evalAutoCarveout"] is False
    assert made["status"]["message"].startswith("evalAutoCarveout gave way")


def test_a_dataset_is_named_by_its_id_its_files_or_its_full_name(account):
    account.ready("d")
    file = account.who.file(ROWS)
    for name in ("d", "accounts/ann/datasets/d", file):
        assert trained(account, dataset=name)["dataset"] == f"accounts/ann/datasets/{name.rsplit('/', 1)[-1]}"


def test_a_dataset_that_is_not_there_or_has_no_rows_is_refused_under_the_members_name(account):
    account.begin("empty")
    for member in ("dataset", "evaluationDataset"):
        for name in ("none", "accounts/bob/datasets/d"):
            answer = train(account, **{member: name})
            refused(answer, 404, 5)
            assert answer.json["details"] == [{"field": member}]
        answer = train(account, **{member: "empty"})
        assert "no rows yet" in refused(answer, 400, 9)
        assert answer.json["details"] == [{"field": member}]


def test_a_base_model_has_to_be_named_where_the_catalogue_has_several(account):
    assert "Available here: tiny/base" in refused(train(account, baseModel=None), 400, 3)
    answer = train(account, collection=DPO, trainingConfig={"baseModel": "nothing"})
    assert "nothing is not available" in refused(answer, 400, 3)
    assert answer.json["details"] == [{"field": "trainingConfig.baseModel"}]


@pytest.mark.parametrize("by", ["job id", "model id", "full name", "name at other doors"])
def test_training_goes_on_from_a_tuned_model(account, by):
    model = tuned(account.who)
    with transaction() as conn:
        aliases.reserve(conn, "ann", "model", "mine", target=model.job_id)
    names = {"job id": model.job_id, "model id": "mine", "full name": "accounts/ann/models/mine"}
    made = trained(account, baseModel=None, warmStartFrom=names.get(by, model.name))
    assert made["warmStartFrom"] == "accounts/ann/models/mine"
    assert made["baseModel"] == "accounts/fireworks/models/base"
    assert row(account, made).spec["start"]["name"] == model.name


def test_a_base_model_beside_a_tuned_one_has_to_be_its_own(account):
    model = tuned(account.who)
    assert "start" in row(account, trained(account, baseModel="tiny/base", warmStartFrom=model.job_id)).spec
    answer = train(account, baseModel="big/base", warmStartFrom=model.job_id)
    message = refused(answer, 400, 3)
    assert "tuned from tiny/base" in message
    assert "big/base" in message
    assert answer.json["details"] == [{"field": "warmStartFrom"}]


def test_what_a_tuned_model_cannot_honour_is_refused_under_the_members_name(account):
    model = tuned(account.who)
    answer = train(account, warmStartFrom=model.job_id, loraRank=64)
    assert refused(answer, 400, 3).startswith("Invalid value for 'loraRank': ")
    assert answer.json["details"] == [{"field": "loraRank"}]
    for name in ("none", "tiny/base", "accounts/bob/models/x"):
        answer = train(account, collection=DPO, trainingConfig={"baseModel": "", "warmStartFrom": name})
        assert answer.status_code in (400, 404), name
        assert answer.json["details"] == [{"field": "trainingConfig.warmStartFrom"}]


def test_what_nothing_here_uses_is_named_in_the_status_and_in_an_event(account):
    members: dict[str, Any] = {
        "awsS3Config": {"iamRoleArn": "x"},
        "usePurpose": "pilot",
        "useReservation": True,
        "isTurbo": True,
        "weird": 1,
    }
    made = trained(account, "j", **members)
    told = "Not used here: awsS3Config, isTurbo, usePurpose, useReservation, weird."
    assert made["status"] == {"code": "OK", "message": told}
    job = row(account, made)
    with transaction() as conn:
        [event] = [event for event in events.page(conn, job.id, after=None, limit=9) if event.level == "warn"]
    assert event.message == told


def test_of_very_many_unknown_members_the_first_are_named(account):
    told = trained(account, **{f"x{number:04}": 1 for number in range(900)})["status"]["message"]
    assert told == f"Not used here: {', '.join(f'x{number:04}' for number in range(20))}, …."


@pytest.mark.parametrize("collection", [SFT, DPO])
def test_a_key_of_weights_and_biases_is_sealed_and_the_rest_is_shown_as_kept(account, collection):
    secret = "0123456789abcdef-secret"
    config = {"enabled": True, "apiKey": secret, "project": "p", "entity": "e", "runId": "r"}
    answer = train(account, "j", collection=collection, wandbConfig=config)
    made = answer.json
    assert made["wandbConfig"] == {"enabled": True, "project": "p", "entity": "e", "runId": "r"}
    assert "nothing is sent to Weights & Biases yet" in made["status"]["message"]
    job = row(account, made)
    with transaction() as conn:
        assert secrets.find(conn, account.who.project, "wandb_api_key", job.id) == secret
        kept = conn.execute("select j::text as row from jobs j where id = %s", (job.id,)).fetchone()
    assert secret not in str(kept) + answer.text + account.who.get(f"/v1/fine_tuning/jobs/{job.id}/events").text


@pytest.mark.parametrize(("collection", "nested"), [(SFT, False), (DPO, True)])
def test_a_template_of_ones_own_is_the_jobs_and_a_blank_one_is_refused_by_its_name(account, collection, nested):
    def asked(template: str) -> dict[str, Any]:
        return {"trainingConfig": {"jinjaTemplate": template}} if nested else {"jinjaTemplate": template}

    made = trained(account, "j", collection=collection, **asked("{{ messages }}"))
    assert row(account, made).spec["chat_template"] == "{{ messages }}"
    assert (made["trainingConfig"] if nested else made)["jinjaTemplate"] == "{{ messages }}"
    answer = train(account, "k", collection=collection, **asked("  "))
    assert refused(answer, 400, 3).startswith("The chat template cannot be taken: it is blank")
    assert answer.json["details"] == [{"field": "trainingConfig.jinjaTemplate" if nested else "jinjaTemplate"}]


@pytest.mark.parametrize(
    ("members", "field", "says"),
    [
        ({"dataset": None}, "dataset", "Missing"),
        ({"dataset": 7}, "dataset", "string"),
        ({"epochs": 51}, "epochs", "from 1 to 50"),
        ({"epochs": "1.5"}, "epochs", "from 1 to 50"),
        ({"epochs": True}, "epochs", "from 1 to 50"),
        ({"epochs": -1}, "epochs", "from 1 to 50"),
        ({"epochs": [1]}, "epochs", "from 1 to 50"),
        ({"learningRate": "fast"}, "learningRate", "above 0"),
        ({"learningRate": "9e999"}, "learningRate", "above 0"),
        ({"learningRate": 0.1, "learning_rate": 1}, "learning_rate", "one of the two"),
        ({"learning_rate": 0.0001}, "learning_rate", "as learningRate"),
        ({"batchSize": "4096"}, "batchSize", "batchSizeSamples"),
        ({"gradientAccumulationSteps": 2}, "gradientAccumulationSteps", "give both"),
        ({"batchSizeSamples": 100, "gradientAccumulationSteps": 3}, "batchSizeSamples", "1 to 256"),
        ({"region": "US_IOWA_1"}, "region", "where it stands"),
        ({"nodes": 2}, "nodes", "one machine"),
        ({"samplerCheckpointSaveIntervalSteps": 5}, "samplerCheckpointSaveIntervalSteps", "an epoch"),
        ({"mtpNumDraftTokens": 1}, "mtpNumDraftTokens", "drafted"),
        ({"rendererHuggingFaceRepoId": "a/b"}, "rendererHuggingFaceRepoId", "chat template"),
        ({"reservationTarget": "r"}, "reservationTarget", "reserved"),
        ({"earlyStop": True}, "earlyStop", "evalAutoCarveout"),
        ({"earlyStop": "maybe"}, "earlyStop", "boolean"),
        ({"displayName": "x" * 257}, "displayName", "256"),
        ({"outputModel": "a.b"}, "outputModel", "cannot be"),
    ],
)
def test_what_cannot_be_granted_is_refused_with_the_member_and_the_reason(account, members, field, says):
    answer = train(account, **members)
    assert says in refused(answer, 400, 3)
    assert answer.json["details"] == [{"field": field}]
    assert account.get(SFT).json["totalSize"] == 0


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"lossConfig": {"method": "ORPO"}}, "lossConfig.method"),
        ({"lossConfig": {"klBeta": 0.1}}, "lossConfig.klBeta"),
        ({"lossConfig": {"dpo": {"beta": 3}}}, "lossConfig.dpo.beta"),
        ({"trainingConfig": {"batchSize": 7}}, "trainingConfig.batchSize"),
        ({"trainingConfig": {"region": "EU_PARIS_1"}}, "trainingConfig.region"),
        ({"trainingConfig": {"outputModel": "file-x"}}, "trainingConfig.outputModel"),
        ({"lossConfig": "DPO"}, "lossConfig"),
    ],
)
def test_nested_members_are_refused_by_their_paths(account, members, field):
    answer = train(account, collection=DPO, **members)
    refused(answer, 400, 3)
    assert answer.json["details"] == [{"field": field}]
