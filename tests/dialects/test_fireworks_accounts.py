"""Accounts: what belongs to another one is not there, and errors are flat."""

import pytest
from flask import g
from werkzeug.test import TestResponse

from app.core.caller import Caller
from app.core.errors import Unknown
from app.dialects.fireworks import resources
from tests.dialects.conftest import Person
from tests.dialects.fireworks import DPO, SFT, Account, refused, trained

RFT = "reinforcementFineTuningJobs"
ROUTES = [
    ("get", "datasets/{dataset}"),
    ("patch", "datasets/{dataset}"),
    ("delete", "datasets/{dataset}"),
    ("post", "datasets/{dataset}:upload"),
    ("post", "datasets/{dataset}:getUploadEndpoint"),
    ("post", "datasets/{dataset}:validateUpload"),
    ("get", "datasets/{dataset}:getDownloadEndpoint"),
    ("get", "models/{model}"),
    ("patch", "models/{model}"),
    ("delete", "models/{model}"),
    ("get", "models/{model}:getDownloadEndpoint"),
    ("get", "models/{model}:validateUpload"),
    ("post", "models/{model}:getUploadEndpoint"),
    ("post", "models/{model}:prepare"),
    *(
        (method, f"{jobs}/{{job}}{verb}")
        for jobs in (SFT, DPO, RFT)
        for method, verb in (("get", ""), ("delete", ""), ("post", ":cancel"), ("post", ":resume"))
    ),
    ("get", f"{DPO}/{{job}}:getMetricsFileEndpoint"),
]
NOT_BUILT = [
    ("post", RFT),
]
COLLECTIONS = [
    ("get", "models"),
    ("post", "models"),
    ("get", RFT),
    *((method, collection) for collection in ("datasets", SFT, DPO) for method in ("get", "post")),
]
SIZES = {"filenameToSize": {"a.jsonl": 4}}
BODIES = {"datasets/{dataset}:getUploadEndpoint": SIZES, "models/{model}:getUploadEndpoint": SIZES}


@pytest.fixture
def account(ann) -> Account:
    return Account(ann)


def asked(who: Person, account: str, method: str, route: str, **things: str) -> TestResponse:
    url = f"/v1/accounts/{account}/{route.format(**things)}"
    body = [] if method in ("get", "delete") else [BODIES.get(route, {})]
    answer: TestResponse = getattr(who, method)(url, *body)
    return answer


def test_anothers_thing_answers_exactly_like_one_that_never_was(account, bob, tuned_model):
    account.ready("mine")
    jobs = {collection: trained(account, collection, collection=collection)["name"] for collection in (SFT, DPO)}
    for method, route in ROUTES:
        job = route.partition("/")[0]
        theirs = refused(asked(bob, "bob", method, route, dataset="mine", model=tuned_model, job=job), 404, 5)
        nothing = refused(asked(bob, "bob", method, route, dataset="none", model="none", job="none"), 404, 5)
        assert theirs.replace("mine", "none").replace(tuned_model, "none").replace(f"'{job}'", "'none'") == nothing
    assert account.get("datasets/mine").json["state"] == "READY"
    for name in jobs.values():
        assert account.who.get(f"/v1/{name}").json["state"] == "JOB_STATE_VALIDATING"
    assert account.get(f"models/{tuned_model}").json["state"] == "READY"


@pytest.mark.parametrize("name", ["ann", "nobody", "fireworks"])
def test_an_account_that_is_not_the_keys_own_is_not_there(account, bob, name):
    account.ready("mine")
    for method, route in [*ROUTES, *NOT_BUILT, *COLLECTIONS]:
        answer = asked(bob, name, method, route, dataset="mine", model="mine", job="mine")
        assert refused(answer, 404, 5) == f"There is no account '{name}': this key's is 'bob'."
    assert account.get("datasets/mine").json["state"] == "READY"


@pytest.mark.parametrize(("method", "route"), NOT_BUILT)
def test_what_is_not_built_says_so_and_asks_for_no_retry(account, method, route):
    url = account.url(route.format(model="m"))
    answer = getattr(account.who, method)(url, *([] if method == "get" else [{}]))
    assert "server" in refused(answer, 501, 12)
    assert answer.headers["x-should-retry"] == "false"


def test_every_route_of_the_dialect_is_tried_above(app):
    found = {
        (method.lower(), rule.rule.removeprefix("/v1/accounts/<account_id>/").replace("_id>", "}").replace("<", "{"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/accounts/") and "/signed/" not in rule.rule
    }
    assert found == {*ROUTES, *NOT_BUILT, *COLLECTIONS}


def test_errors_are_flat_whatever_goes_wrong(app, account):
    assert "API key" in refused(app.test_client().get("/v1/accounts/ann/datasets"), 401, 16)
    assert "Unknown request URL" in refused(account.get("nothing"), 404, 5)
    assert "Not allowed" in refused(account.who.patch("/v1/accounts/ann/datasets", {}), 405, 12)
    answer = account.post("datasets", {"datasetId": "d", "dataset": {"displayName": 7}})
    refused(answer, 400, 3)
    assert answer.json["details"] == [{"field": "dataset.displayName"}]


def test_the_other_dialect_keeps_its_envelope_at_urls_that_are_nobodys(ann):
    assert set(ann.get("/v1/nothing").json) == {"error"}
    assert set(ann.get("/nothing").json) == {"error"}


def test_each_dialect_is_described_with_its_own_envelope(ann):
    paths = ann.get("/openapi.json").json["paths"]
    for path, name in (("/v1/accounts/{account_id}/datasets", "fireworks"), ("/v1/files", "openai")):
        answers = paths[path]["get"]["responses"]
        assert answers["400"] == answers["default"] == {"$ref": f"#/components/responses/{name}_error"}


def test_resources_are_named_whole_or_by_their_ids_alone(app, ann):
    with app.test_request_context():
        g.caller = Caller("key_a", "ann", "ann-org", frozenset())
        assert [resources.id_of("datasets", name, param="d") for name in ("d", "accounts/ann/datasets/d")] == ["d", "d"]
        for name in ("accounts/bob/datasets/d", "accounts/ann/models/d", "datasets/d"):
            with pytest.raises(Unknown, match=r"is not in accounts/ann/datasets\."):
                resources.id_of("datasets", name, param="d")
