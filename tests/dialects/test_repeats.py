"""A create that comes twice makes one job: the client's own retries, and Idempotency-Key."""

from concurrent.futures import ThreadPoolExecutor

from app.store.db import transaction
from tests.dialects.conftest import JOBS, Person, person, problem

RETRY = {"x-stainless-retry-count": "1"}


def body(ann, **members):
    return {"model": "tiny/base", "training_file": ann.file(), **members}


def test_a_retry_of_the_client_gets_the_job_of_its_first_try(ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted, **{"x-stainless-retry-count": "0"}).json
    again = ann.post(JOBS, wanted, **RETRY)
    assert again.status_code == 200
    assert again.json["id"] == first["id"]
    assert len(ann.get(JOBS).json["data"]) == 1


def test_a_second_create_that_is_no_retry_makes_a_second_job(ann):
    wanted = body(ann)
    assert ann.post(JOBS, wanted).json["id"] != ann.post(JOBS, wanted).json["id"]


def test_a_retry_whose_first_try_never_arrived_makes_the_job(ann):
    assert ann.post(JOBS, body(ann), **RETRY).status_code == 200


def test_a_retry_with_another_body_is_another_job(ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted).json["id"]
    assert ann.post(JOBS, {**wanted, "seed": 1}, **RETRY).json["id"] != first


def test_a_retry_under_another_key_is_another_job(app, ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted).json["id"]
    assert person(app, "ann").post(JOBS, wanted, **RETRY).json["id"] != first


def test_a_retry_after_ten_minutes_is_another_job(ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted).json["id"]
    with transaction() as conn:
        conn.execute("update jobs set created_at = created_at - interval '11 minutes'")
    assert ann.post(JOBS, wanted, **RETRY).json["id"] != first


def test_a_retry_finds_its_job_though_the_file_is_gone(ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted).json["id"]
    ann.delete(f"/v1/files/{wanted['training_file']}")
    assert ann.post(JOBS, wanted, **RETRY).json["id"] == first


def test_retries_that_arrive_together_make_one_job(app, ann):
    wanted = body(ann)

    def send(_number):
        return Person(app.test_client(), ann.secret, "ann", ann.key_id).post(JOBS, wanted, **RETRY).json["id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(8)))) == 1
    assert len(ann.get(JOBS).json["data"]) == 1


def test_one_idempotency_key_is_one_job_however_often_it_comes(ann):
    wanted = body(ann)
    made = [ann.post(JOBS, wanted, **{"Idempotency-Key": "k-1"}).json["id"] for _ in range(3)]
    assert len(set(made)) == 1
    assert ann.post(JOBS, wanted, **{"Idempotency-Key": "k-2"}).json["id"] not in made


def test_an_idempotency_key_with_another_body_is_refused(ann):
    wanted = body(ann)
    first = ann.post(JOBS, wanted, **{"Idempotency-Key": "k-1"}).json["id"]
    error = problem(ann.post(JOBS, {**wanted, "seed": 1}, **{"Idempotency-Key": "k-1"}), 422)
    assert first in error["message"]


def test_the_order_of_a_bodys_members_does_not_make_it_another(ann):
    wanted = body(ann, seed=1)
    turned = dict(reversed(wanted.items()))
    headers = {"Idempotency-Key": "k-1"}
    assert ann.post(JOBS, wanted, **headers).json["id"] == ann.post(JOBS, turned, **headers).json["id"]


def test_an_idempotency_key_of_one_project_means_nothing_in_another(ann, bob):
    headers = {"Idempotency-Key": "k-1"}
    mine = ann.post(JOBS, body(ann), **headers).json["id"]
    answer = bob.post(JOBS, body(bob), **headers)
    assert answer.status_code == 200
    assert answer.json["id"] != mine


def test_an_idempotency_key_is_bounded(ann):
    problem(ann.post(JOBS, body(ann), **{"Idempotency-Key": "k" * 256}), 400)
    problem(ann.post(JOBS, body(ann), **{"Idempotency-Key": ""}), 400)
