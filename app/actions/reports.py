"""What a caller may know of files before there is a job: a worker looks at them, and whoever asks again finds it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app import queue
from app.actions.models import tunable
from app.config import settings
from app.core.caller import Caller
from app.core.errors import Invalid, OverLimit
from app.core.hyperparameters import BaseModel, said
from app.core.job import DataReport
from app.store import files, reports
from app.store.db import Connection, Row, transaction

WAITING_AT_MOST = 20
RETRY_AFTER_SECONDS = 2


def of_file(caller: Caller, file_id: str, *, model: str | None) -> DataReport:
    """The report on a training file alone; with a model it counts tokens too. Its content is None until it is made.

    Raises Unknown, Invalid for a file of another purpose or an unknown model, and OverLimit.
    """
    caller.must("read")
    with transaction() as conn:
        base, tuned = (None, None) if model is None else tunable(conn, caller, model)
        file = files.get(conn, caller.project_id, file_id)
        if file.purpose != "fine-tune":
            raise Invalid(f"The file {file_id} has the purpose '{file.purpose}': only training files have a report.")
        spec = {"training_file": file.id, "method": "supervised"}
        if tuned and (template := tuned.chat_template):
            spec["chat_template"] = template
        report, is_due = asked(conn, caller, question(spec, base))
    if is_due:
        queue.send_report(report.id)
    return report


def question(spec: Mapping[str, Any], base: BaseModel | None) -> dict[str, Any]:
    """Of a job's spec, all that decides what a report on its files says."""
    asked = spec.get("hyperparameters", {})
    lengths = {} if asked.get("max_length") is None else {"max_length": asked["max_length"]}
    share = said(asked).get("eval_carveout")
    split = {"seed": spec["seed"]} if share else {}
    model = None if base is None else [base.source, base.revision, base.context_length]
    template = {"chat_template": spec["chat_template"]} if "chat_template" in spec else {}
    return {
        "training_file": spec["training_file"],
        "validation_file": spec.get("validation_file"),
        "method": spec["method"],
        "base": base.name if base else None,
        "model": model,
        "hyperparameters": lengths | ({"eval_carveout": share} if share else {}),
        **split,
        **template,
    }


def asked(conn: Connection[Row], caller: Caller, spec: dict[str, Any]) -> tuple[DataReport, bool]:
    """The report, and whether a worker is to be told of it after the commit.

    Raises OverLimit when the project waits for too many.
    """
    canonical = json.dumps([caller.project_id, spec], sort_keys=True).encode()
    report_id = f"report-{hashlib.sha256(canonical).hexdigest()[:32]}"
    report = reports.ask(conn, report_id, project_id=caller.project_id, spec=spec)
    if report.content is not None:
        return report, False
    if reports.waiting(conn, caller.project_id) > WAITING_AT_MOST:
        raise OverLimit(
            f"The project waits for {WAITING_AT_MOST} data reports already: please ask again when they are made.",
            code="too_many_waiting_reports",
        )
    return report, reports.offer(conn, report.id, seconds=settings().forget_seconds)
