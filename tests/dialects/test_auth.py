"""Who may ask: which header holds the key, and what a key that is not good enough gets."""

import logging

import pytest

from app.actions import keys
from app.store import keys as kept
from app.store.db import transaction
from tests.dialects.conftest import JOBS, Person, person, problem
from tests.services import eventually


def asked(ann: Person, **headers: str):
    return ann.http.get(JOBS, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_request_without_a_key_is_refused(ann):
    error = problem(asked(ann), 401)
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "value", ["Bearer wrong", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "wrong", "Bearer " + "x" * 9000]
)
def test_a_key_that_is_no_key_is_refused_and_never_echoed(ann, value):
    answer = asked(ann, Authorization=value)
    assert problem(answer, 401)["code"] == "invalid_api_key"
    assert "wrong" not in answer.text


def test_a_revoked_key_is_refused_as_soon_as_its_end_is_heard_of(ann):
    assert ann.get(JOBS).status_code == 200
    keys.revoke(ann.key_id)
    eventually(lambda: ann.get(JOBS).status_code == 401, seconds=5)
    assert problem(ann.get(JOBS), 401)["code"] == "invalid_api_key"


def test_portkeys_header_wins_over_the_placeholder_that_its_client_sends_beside_it(ann):
    answer = asked(ann, x_portkey_api_key=ann.secret, Authorization="Bearer OPENAI_API_KEY")
    assert answer.status_code == 200


def test_a_wrong_portkey_key_is_not_saved_by_a_good_bearer(ann):
    problem(asked(ann, x_portkey_api_key="wrong", Authorization=f"Bearer {ann.secret}"), 401)


def test_azures_header_is_read(ann):
    assert asked(ann, api_key=ann.secret).status_code == 200


def test_the_word_bearer_may_be_written_in_any_case(ann):
    assert asked(ann, Authorization=f"bearer   {ann.secret}").status_code == 200


def test_a_key_may_contain_spaces(ann):
    with transaction() as conn:
        kept.adopt(conn, "My API Key")
    assert asked(ann, Authorization="Bearer My API Key").status_code == 200


def test_a_key_without_the_scope_write_reads_and_changes_nothing(app, ann):
    reader = person(app, "ann", scopes=("read",))
    job = ann.job()["id"]
    assert reader.get(f"{JOBS}/{job}").status_code == 200
    refused = [
        reader.upload(),
        reader.post(JOBS, {"model": "tiny/base", "training_file": "file-1"}),
        reader.post(f"{JOBS}/{job}/cancel"),
        reader.post(f"{JOBS}/{job}/pause"),
        reader.post(f"{JOBS}/{job}/resume"),
        reader.delete(f"/v1/files/{ann.row(job).spec['training_file']}"),
        reader.delete("/v1/models/tiny/base"),
    ]
    assert [problem(answer, 403)["code"] for answer in refused] == ["insufficient_permissions"] * 7
    assert ann.get(f"{JOBS}/{job}").json["status"] == "validating_files"


def test_a_key_without_the_scope_read_sees_nothing(app, ann):
    writer = person(app, "ann", scopes=("write",))
    problem(writer.get(f"{JOBS}/{ann.job()['id']}"), 403)


def test_the_use_of_a_key_is_noted(ann):
    ann.get(JOBS)
    [key] = [key for key in keys.listed("ann") if key.id == ann.key_id]
    assert key.last_used_at is not None


def test_the_access_log_names_the_key_by_id_and_never_by_secret(ann, caplog):
    with caplog.at_level(logging.INFO):
        ann.http.get(f"{JOBS}?after={ann.secret}", headers=ann.headers)
    [line] = [record for record in caplog.records if record.name == "app.access"]
    assert line.key_id == ann.key_id
    assert line.project == "ann"
    assert line.path == JOBS
    assert ann.secret not in str(vars(line))
