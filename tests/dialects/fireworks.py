"""What the tests of the Fireworks dialect share: whoever speaks it, and the shape of its errors."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from werkzeug.test import TestResponse

from tests.dialects.conftest import KIND, ROWS, Person, form

OK = {"code": "OK", "message": ""}


@dataclass
class Account:
    """Somebody's account, asked by its own key."""

    who: Person

    @property
    def name(self) -> str:
        return f"accounts/{self.who.project}"

    def url(self, path: str) -> str:
        return f"/v1/{self.name}/{path}"

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.who.get(self.url(path), **query)

    def post(self, path: str, body: Any = None) -> TestResponse:
        return self.who.post(self.url(path), {} if body is None else body)

    def patch(self, path: str, body: Any) -> TestResponse:
        return self.who.patch(self.url(path), body)

    def delete(self, path: str) -> TestResponse:
        return self.who.delete(self.url(path))

    def create(self, dataset_id: str, **dataset: Any) -> TestResponse:
        return self.post("datasets", {"datasetId": dataset_id, "dataset": dataset})

    def begin(self, dataset_id: str, **dataset: Any) -> str:
        answer = self.create(dataset_id, **dataset)
        assert answer.status_code == 200, answer.text
        return dataset_id

    def upload(self, dataset_id: str, content: bytes = ROWS, *, name: str = "train.jsonl") -> TestResponse:
        return self.who.send_form(self.url(f"datasets/{dataset_id}:upload"), form(content, name))

    def send_form(self, path: str, body: bytes) -> TestResponse:
        return self.who.http.post(self.url(path), data=body, content_type=KIND, headers=self.who.headers)

    def ready(self, dataset_id: str, content: bytes = ROWS, **dataset: Any) -> str:
        self.begin(dataset_id, **dataset)
        answer = self.upload(dataset_id, content)
        assert answer.status_code == 200, answer.text
        return dataset_id

    def announce(self, dataset_id: str, **sizes: Any) -> dict[str, str]:
        """The signed URLs of shards, which are named without their ending."""
        wanted = {f"{name}.jsonl": size for name, size in sizes.items()}
        answer = self.post(f"datasets/{dataset_id}:getUploadEndpoint", {"filenameToSize": wanted})
        assert answer.status_code == 200, answer.text
        urls: dict[str, str] = answer.get_json()["filenameToSignedUrls"]
        return {name.removesuffix(".jsonl"): url for name, url in urls.items()}

    def put(self, url: str, content: bytes, **headers: str) -> TestResponse:
        """Send bytes to a signed URL, without any credentials."""
        return self.who.http.put(local(url), data=content, headers=headers)

    def fetch(self, url: str) -> TestResponse:
        """Get a signed URL, without any credentials."""
        return self.who.http.get(local(url))


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def refused(answer: TestResponse, status: int, code: int) -> str:
    """The message of an error, after checking that its body is whole and flat."""
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    assert set(body) == {"code", "message", "details"}
    assert body["code"] == code
    assert isinstance(body["details"], list)
    assert answer.headers["x-request-id"]
    message: str = body["message"]
    assert message
    return message


SFT, DPO = "supervisedFineTuningJobs", "dpoJobs"
ID_QUERY = {SFT: "supervisedFineTuningJobId", DPO: "dpoJobId"}


def train(account: Account, job_id: str = "", *, collection: str = SFT, **members: Any) -> TestResponse:
    """Create a job of `tiny/base` on the dataset `d`, unless the members say otherwise."""
    if account.get("datasets/d").status_code == 404:
        account.ready("d")
    training = {"baseModel": "accounts/fireworks/models/gpt-4o-mini", **members.pop("trainingConfig", {})}
    base = training if collection == SFT else {"trainingConfig": training}
    body = {"dataset": "d", **base, **members}
    path = f"{collection}?{ID_QUERY[collection]}={job_id}" if job_id else collection
    return account.post(path, {name: value for name, value in body.items() if value is not None})


def trained(account: Account, job_id: str = "", **members: Any) -> dict[str, Any]:
    """The job that was created."""
    answer = train(account, job_id, **members)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.get_json()
    return made
