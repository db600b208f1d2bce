"""The load: a stream of jobs through the official client, and customers who pause, resume and cancel them."""

import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from openai import APIConnectionError, BadRequestError, InternalServerError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from app.embedded.demo.job import download
from tests.chaos.customers import KINDS, ROWS, Act, Kind, Order, script
from tests.chaos.plan import Plan
from tests.chaos.scene import MODEL, Scene
from tests.trainer.conftest import chat

LOOK_SECONDS = 0.25
NEWEST = 20  # jobs that one look takes in
ANSWER_SECONDS = 20.0
PATIENCE_SECONDS = 120.0
ENDINGS = ("succeeded", "failed", "cancelled")

Answer = TypeVar("Answer")


class Load:
    """Keeps so many jobs unfinished, each with an owner who follows a script. As a context, the stream flows inside.

    What goes wrong in the stream is raised when the context ends.
    """

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self.orders: list[Order] = []
        self.repeated = 0
        """Requests that had to be sent again."""
        self.asking = False
        """Whether a request is on its way at this moment."""
        self._scene, self._plan = scene, plan
        client = OpenAI(
            base_url=scene.stack.base_url, api_key=scene.stack.api_key, max_retries=0, timeout=ANSWER_SECONDS
        )
        self._jobs = client.fine_tuning.jobs
        self._training = _upload(client, range(ROWS))
        self._validation = _upload(client, range(100, 104))
        self._numbers = itertools.count()
        self._closing = threading.Event()
        self._leave_at = 0.0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._flow, name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave_at = time.monotonic() + (0.0 if kind else self._plan.drain_seconds)
        self._closing.set()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def undisturbed(self) -> dict[str, str]:
        """SHA-256 of the weights of each kind's run that nobody disturbs, by the kind's name."""
        orders = [self.submit(kind, []) for kind in KINDS[: self._plan.kinds]]
        self._drain(time.monotonic() + self._plan.drain_seconds)
        return {order.kind.name: self.weights(order) for order in orders}

    def weights(self, order: Order) -> str:
        """SHA-256 of the weights of a job's model, as they are downloaded.

        Raises StackError, or an error of urllib, when there are none.
        """
        model = str(self._retrieved(order).fine_tuned_model)
        return download(self._scene.stack, model, self._scene.folder / "models" / order.id)

    def submit(self, kind: Kind | None = None, acts: list[Act] | None = None) -> Order:
        """Create a job; of the next kind, with the next script, unless they are given."""
        number = next(self._numbers)
        kind = kind or KINDS[number % self._plan.kinds]
        key = f"chaos-{number}"
        made = self._patiently(lambda: self._create(kind, key))
        order = Order(made.id, kind, script(self._plan.seed, number) if acts is None else acts, key)
        self.orders.append(order)
        return order

    def _create(self, kind: Kind, key: str) -> FineTuningJob:
        return self._jobs.create(
            model=MODEL,
            training_file=self._training,
            validation_file=self._validation,
            seed=kind.seed,
            method={"type": "supervised", "supervised": {"hyperparameters": cast(Any, dict(kind.hyperparameters))}},
            extra_headers={"Idempotency-Key": key},
        )

    def _patiently(self, request: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer: what is repeated here must be safe to repeat.

        Raises the last error after two minutes.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.asking = True
                return request()
            except (APIConnectionError, InternalServerError):
                if time.monotonic() > deadline:
                    raise
                self.repeated += 1
            finally:
                self.asking = False
            time.sleep(LOOK_SECONDS)

    def _flow(self) -> None:
        try:
            while not self._closing.wait(LOOK_SECONDS):
                self._look()
                while len(self._unfinished()) < self._plan.unfinished:
                    self.submit()
            self._drain(self._leave_at)
        except BaseException as error:  # noqa: BLE001 - raised again where the context ends
            self._failure = error

    def _drain(self, leave_at: float) -> None:
        """Follow the jobs until all have ended, or it is this late (monotonic seconds)."""
        while self._unfinished() and time.monotonic() < leave_at:
            self._look()
            time.sleep(LOOK_SECONDS)

    def _unfinished(self) -> list[Order]:
        return [order for order in list(self.orders) if not order.ended]

    def _look(self) -> None:
        """Look at all unfinished jobs, and do what their owners have waited for."""
        page = self._patiently(lambda: self._jobs.list(limit=NEWEST))
        seen = {job.id: job for job in page.data}
        for order in self._unfinished():
            self._follow(order, seen.get(order.id) or self._retrieved(order))

    def _retrieved(self, order: Order) -> FineTuningJob:
        return self._patiently(lambda: self._jobs.retrieve(order.id))

    def _follow(self, order: Order, job: FineTuningJob) -> None:
        if job.status in ENDINGS and getattr(job, "state_detail", None) is None:
            order.ended = job.status
        elif order.script and order.script[0].is_due(job):
            self._act(order, order.script.pop(0).verb)

    def _act(self, order: Order, verb: str) -> None:
        """Ask for it; a job that has come too far for it is left alone from then on."""
        requests = {"pause": self._jobs.pause, "resume": self._jobs.resume, "cancel": self._jobs.cancel}
        try:
            self._patiently(lambda: requests[verb](order.id))
            order.done.append(verb)
        except BadRequestError:
            order.script.clear()


def _upload(client: OpenAI, places: range) -> str:
    content = "".join(json.dumps(chat(place)) + "\n" for place in places).encode()
    return client.files.create(file=("rows.jsonl", content), purpose="fine-tune").id
