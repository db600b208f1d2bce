"""Jobs by the Fireworks dialect: ids of one's own, one life for all doors, lists, deletion, states and progress."""

import pytest

from app.core.job import Job
from app.core.states import Outcome
from app.store import aliases, jobs
from app.store.db import transaction
from tests.dialects.conftest import JOBS, person
from tests.dialects.fireworks import DPO, OK, SFT, Account, refused, train, trained
from tests.dialects.test_files import result_file
from tests.dialects.test_models import tuned
from tests.store.conftest import claimed, finished, queued, running
from tests.workers.scripted import HYPERPARAMETERS

CHOSEN = {**HYPERPARAMETERS, "training_type": "lora", "lora_rank": 4, "max_length": 64, "weight_decay": 0.5}


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


def row(account: Account, name: str) -> Job:
    with transaction() as conn:
        return jobs.get(conn, account.who.project, aliases.target(conn, account.who.project, "job", name))


def listed(account: Account, collection: str = SFT, **query: object) -> list[str]:
    answer = account.get(collection, **query)
    assert answer.status_code == 200, answer.text
    return [job["name"].rsplit("/", 1)[-1] for job in answer.get_json()[collection]]


def test_a_new_job_is_shown_as_it_was_asked_for(account):
    made = trained(account, "my-job", displayName="Tickets", epochs=2, loraRank=4)
    times = {name: made.pop(name) for name in ("createTime", "updateTime")}
    assert made == {
        "name": "accounts/ann/supervisedFineTuningJobs/my-job",
        "displayName": "Tickets",
        "createdBy": account.who.key_id,
        "state": "JOB_STATE_VALIDATING",
        "status": OK,
        "dataset": "accounts/ann/datasets/d",
        "baseModel": "accounts/fireworks/models/base",
        "outputModel": "accounts/ann/models/my-job",
        "epochs": 2,
        "loraRank": 4,
        "earlyStop": False,
        "evalAutoCarveout": False,
    }
    assert all(time.endswith("Z") for time in times.values())
    assert account.get(f"{SFT}/my-job").json == {**made, **times}
    assert account.get(f"{SFT}/{row(account, 'my-job').id}").json == {**made, **times}


def test_resolved_numbers_are_shown_once_the_rows_were_validated(account):
    trained(account, "j", epochs=0)
    finished(claimed(row(account, "j")), Outcome.DONE, result={"hyperparameters": CHOSEN, "total_steps": 8})
    shown = account.get(f"{SFT}/j").json
    wanted = {"epochs": CHOSEN["epochs"], "loraRank": 4, "maxContextLength": 64, "optimizerWeightDecay": 0.5}
    assert {name: shown[name] for name in wanted} == wanted
    assert (shown["batchSizeSamples"], shown["gradientAccumulationSteps"]) == (CHOSEN["batch_size"], 1)


def test_an_id_that_is_taken_or_cannot_be_one_makes_no_job(account):
    trained(account, "j", outputModel="m")
    assert "'j'" in refused(train(account, "j"), 409, 6)
    answer = train(account, outputModel="accounts/ann/models/m")
    assert "'m'" in refused(answer, 409, 6)
    assert answer.json["details"] == [{"field": "outputModel"}]
    assert answer.headers["x-should-retry"] == "false"
    for name in ("ftjob-1", "a.b", "x" * 64):
        assert "cannot be" in refused(train(account, name), 400, 3)
    assert listed(account) == ["j"]


def test_a_repeated_create_of_a_client_that_heard_nothing_makes_one_job(account):
    account.ready("d")
    body = {"dataset": "d", "baseModel": "tiny/base"}
    url = account.url(f"{SFT}?supervisedFineTuningJobId=j")
    first = account.who.post(url, body)
    again = account.who.post(url, body, **{"x-stainless-retry-count": "1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json == again.json
    assert listed(account) == ["j"]


def test_a_repeated_create_finds_no_job_that_was_deleted_since(account):
    account.ready("d")
    body = {"dataset": "d", "baseModel": "tiny/base"}
    url = account.url(f"{SFT}?supervisedFineTuningJobId=j")
    first = row(account, account.who.post(url, body).json["name"].rsplit("/", 1)[-1])
    account.delete(f"{SFT}/j")
    assert account.who.post(url, body, **{"x-stainless-retry-count": "1"}).status_code == 200
    assert row(account, "j").id != first.id


def test_jobs_are_the_same_ones_at_every_door(account):
    supervised, preferences = trained(account, "s"), trained(account, "p", collection=DPO)
    theirs = account.who.job(suffix="tickets")
    assert sorted(listed(account)) == sorted(["s", theirs["id"]])
    assert listed(account, DPO) == ["p"]
    shown = account.get(f"{SFT}/{theirs['id']}").json
    assert (shown["displayName"], shown["outputModel"]) == ("tickets", f"accounts/ann/models/{theirs['id']}")
    assert supervised["name"] != preferences["name"]
    assert len(account.who.get(JOBS).json["data"]) == 3
    assert account.who.get(f"{JOBS}/{row(account, 'p').id}").json["method"]["type"] == "dpo"
    refused(account.get(f"{DPO}/s"), 404, 5)


def test_another_accounts_jobs_are_not_there(account, bob):
    trained(account, "j")
    other = Account(bob)
    for call in (
        other.get(f"{SFT}/j"),
        other.get(f"{SFT}/{row(account, 'j').id}"),
        other.delete(f"{SFT}/j"),
        other.post(f"{SFT}/j:cancel"),
        other.post(f"{SFT}/j:resume"),
        other.who.get(account.url(f"{SFT}/j")),
    ):
        refused(call, 404, 5)
    assert listed(other) == []
    assert trained(other, "j")["name"] == "accounts/bob/supervisedFineTuningJobs/j"


def test_a_running_job_shows_its_progress_and_says_when_it_is_being_cancelled(account):
    trained(account, "j")
    job = running(row(account, "j"))
    with transaction() as conn:
        conn.execute(
            """update jobs set progress = '{"step": 5, "total_steps": 8, "epoch": 1.25}' where id = %s""", (job.id,)
        )
    shown = account.get(f"{SFT}/j").json
    assert (shown["state"], shown["jobProgress"]) == ("JOB_STATE_RUNNING", {"percent": 62, "epoch": 1})
    assert account.post(f"{SFT}/j:cancel").json == {}
    assert account.get(f"{SFT}/j").json["state"] == "JOB_STATE_CANCELLING"
    assert listed(account, filter="state = JOB_STATE_CANCELLING") == ["j"]
    finished(job, Outcome.STOPPED)
    ended = account.get(f"{SFT}/j").json
    assert (ended["state"], ended["status"]["code"]) == ("JOB_STATE_CANCELLED", "CANCELLED")
    assert ended["completedTime"] >= ended["createTime"]
    assert account.post(f"{SFT}/j:cancel").json == {}


def test_a_paused_job_is_resumed_and_one_that_ended_is_not(account):
    trained(account, "j")
    queued(row(account, "j"))
    assert account.post(f"{SFT}/j:resume").json["state"] == "JOB_STATE_PENDING"
    account.who.post(f"{JOBS}/{row(account, 'j').id}/pause")
    assert account.get(f"{SFT}/j").json["state"] == "JOB_STATE_PAUSED"
    assert account.post(f"{SFT}/j:resume").json["state"] == "JOB_STATE_PENDING"
    account.post(f"{SFT}/j:cancel")
    assert "already completed" in refused(account.post(f"{SFT}/j:resume"), 400, 9)


def test_why_a_job_failed_is_its_status(account):
    trained(account, "j", isTurbo=True)
    error = {"code": "out_of_memory", "message": "It does not fit.", "param": None}
    finished(running(row(account, "j")), Outcome.FAILED, error=error)
    shown = account.get(f"{SFT}/j").json
    assert shown["state"] == "JOB_STATE_FAILED"
    assert shown["status"] == {"code": "RESOURCE_EXHAUSTED", "message": "It does not fit. Not used here: isTurbo."}


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("invalid_training_file", "INVALID_ARGUMENT"),
        ("chat_template_invalid", "INVALID_ARGUMENT"),
        ("chat_template_unsupported", "FAILED_PRECONDITION"),
        ("start_unusable", "FAILED_PRECONDITION"),
        ("loss_not_finite", "INTERNAL"),
    ],
)
def test_what_its_maker_can_mend_fails_no_job_as_an_error_of_the_server(account, code, shown):
    trained(account, "j")
    finished(claimed(row(account, "j")), Outcome.FAILED, error={"code": code, "message": "No.", "param": None})
    assert account.get(f"{SFT}/j").json["status"] == {"code": shown, "message": "No."}


def test_a_deleted_job_is_cancelled_and_gone_here_and_stays_where_nothing_is_deleted(account):
    trained(account, "j")
    job = running(row(account, "j"))
    left = account.delete(f"{SFT}/j")
    assert (left.status_code, left.json["state"]) == (200, "JOB_STATE_DELETING")
    for gone in ("j", job.id):
        refused(account.get(f"{SFT}/{gone}"), 404, 5)
        refused(account.delete(f"{SFT}/{gone}"), 404, 5)
    assert listed(account) == []
    assert account.who.get(f"{JOBS}/{job.id}").json["status"] == "cancelled"
    assert trained(account, "j")["state"] == "JOB_STATE_VALIDATING"
    finished(job, Outcome.STOPPED)
    assert account.get("models/j").status_code == 404
    assert listed(account) == ["j"]


def test_the_model_of_a_deleted_job_stays_under_its_id(account):
    model = tuned(account.who)
    with transaction() as conn:
        for kind in ("job", "model"):
            aliases.reserve(conn, "ann", kind, "mine", target=model.job_id)
    assert account.delete(f"{SFT}/mine").json["state"] == "JOB_STATE_COMPLETED"
    assert account.get("models/mine").status_code == 200
    assert account.who.get(f"{JOBS}/{model.job_id}").json["status"] == "succeeded"


def test_a_key_that_only_reads_creates_ends_and_deletes_nothing(app, account):
    trained(account, "j")
    reader = Account(person(app, "ann", scopes=("read",)))
    for call in (train(reader), reader.delete(f"{SFT}/j"), reader.post(f"{SFT}/j:cancel")):
        refused(call, 403, 7)
    assert reader.get(f"{SFT}/j").json["state"] == "JOB_STATE_VALIDATING"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("state = JOB_STATE_VALIDATING", ["a", "b"]),
        ("state = JOB_STATE_RUNNING", []),
        ("state = JOB_STATE_EXPIRED", []),
        ("state:* state != JOB_STATE_RUNNING", ["a", "b"]),
        ('displayName = "First"', ["a"]),
        ('outputModel = "accounts/ann/models/m"', ["b"]),
        ("baseModel = base AND NOT displayName:first", ["b"]),
        ('dataset = "accounts/ann/datasets/other"', ["b"]),
        ("evaluationDataset:*", ["b"]),
        ("createTime > 2026-01-01T00:00:00Z", ["a", "b"]),
        ("createdBy = nobody", []),
        ("first", ["a"]),
    ],
)
def test_jobs_are_found_by_their_fields(account, wanted, found):
    account.ready("other")
    trained(account, "a", displayName="First")
    trained(account, "b", dataset="other", evaluationDataset="d", outputModel="m")
    assert listed(account, filter=wanted) == found


@pytest.mark.parametrize("wanted", ["state = RUNNING", "state = running", "state:JOB", "state > JOB_STATE_RUNNING"])
def test_a_state_that_is_none_finds_no_job_without_a_word(account, wanted):
    assert "one of JOB_STATE_VALIDATING, " in refused(account.get(SFT, filter=wanted), 400, 3)


def test_jobs_of_preferences_are_found_by_what_their_training_config_holds(account):
    trained(account, "a", collection=DPO, trainingConfig={"outputModel": "m"})
    assert listed(account, DPO, filter='trainingConfig.outputModel = "accounts/ann/models/m"') == ["a"]
    assert "no field 'trainingConfig.baseModel'" in refused(
        account.get(SFT, filter="trainingConfig.baseModel = x"), 400, 3
    )


def test_jobs_come_page_by_page_in_the_order_asked_for_with_the_fields_asked_for(account):
    for name in ("b", "c", "a"):
        trained(account, name)
    first = account.get(SFT, pageSize=2, pageToken="1", orderBy="createTime desc", readMask="state").json
    assert [sorted(job) for job in first[SFT]] == [["dataset", "name", "state"]] * 2
    second = account.get(SFT, pageSize=2, orderBy="createTime desc", pageToken=first["nextPageToken"]).json
    names = [job["name"].rsplit("/", 1)[-1] for page in (first, second) for job in page[SFT]]
    assert (names, first["totalSize"], second["nextPageToken"]) == (["a", "c", "b"], 3, "")
    refused(account.get(SFT, orderBy="name", pageToken=first["nextPageToken"]), 400, 3)
    refused(account.get(DPO, orderBy="createTime desc", pageToken=first["nextPageToken"]), 400, 3)


def test_the_metrics_of_a_job_on_preferences_are_a_plain_table_behind_a_signed_url(account):
    trained(account, "p", collection=DPO)
    refused(account.get(f"{DPO}/p:getMetricsFileEndpoint"), 400, 9)
    table = result_file(account.who, b"step,train_loss\n1,0.5\n", "step_metrics.csv")
    done = finished(claimed(finished(running(row(account, "p")), Outcome.DONE)), Outcome.DONE)
    with transaction() as conn:
        conn.execute("update jobs set result = %s::jsonb where id = %s", (f'{{"result_files": ["{table}"]}}', done.id))
    url = account.get(f"{DPO}/p:getMetricsFileEndpoint").json["signedUrl"]
    assert account.fetch(url).data == b"step,train_loss\n1,0.5\n"


def test_reinforcement_jobs_are_none_and_are_refused_with_the_reason(account):
    jobs_url = "reinforcementFineTuningJobs"
    assert account.get(jobs_url).json == {jobs_url: [], "nextPageToken": "", "totalSize": 0}
    assert "by reinforcement" in refused(account.post(jobs_url, {"dataset": "d", "evaluator": "e"}), 501, 12)
    for call in (
        account.get(f"{jobs_url}/j"),
        account.delete(f"{jobs_url}/j"),
        account.post(f"{jobs_url}/j:cancel"),
        account.post(f"{jobs_url}/j:resume"),
    ):
        assert "by reinforcement" in refused(call, 404, 5)
