"""finalize: publish the model and its files; safe to repeat, since only the last transaction shows anything."""

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from app.blobs import StorageError, storage
from app.core.errors import Unavailable
from app.core.job import Event, Job, Model, NewEvent
from app.core.states import Status
from app.store import events, models
from app.store.db import autocommit
from workers import jobdir, wording
from workers.outputs import stored_file
from workers.supervision import Ending, Lease, serve

RESULT_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "full_valid_loss": "full_valid_loss",
    "full_valid_mean_token_accuracy": "full_valid_mean_token_accuracy",
    "learning_rate": "learning_rate",
}
"""Column of the result file, and the metric it shows; the first five are the documented ones."""

PREFERENCE_COLUMNS = RESULT_COLUMNS | {
    "train_accuracy": "train_preference_accuracy",
    "valid_preference_accuracy": "valid_preference_accuracy",
    "full_valid_preference_accuracy": "full_valid_preference_accuracy",
    "train_reward_margin": "train_reward_margin",
    "valid_reward_margin": "valid_reward_margin",
    "full_valid_reward_margin": "full_valid_reward_margin",
}
"""Those of method dpo: its accuracy is the share of pairs whose preferred answer wins, token accuracy stays blank."""


SHOWN_APART = ("start", "chat_template")
"""What of a job's spec the manifest tells in its own words: the parents, and a hash."""

log = logging.getLogger(__name__)


def finalize(job_id: str, *, task_id: str | None = None) -> None:
    """Publish what a trained job made, if it is free."""
    ended = serve(job_id, Status.FINALIZING, _finalize, task_id=task_id)
    if ended is None or ended.status is not Status.SUCCEEDED:
        return
    try:
        _link(ended.project_id, ended.result["fine_tuned_model"], to=ended.result["model_path"])
    except (StorageError, Unavailable) as error:
        log.warning("not linked, left to the clock: %s", error)


def _finalize(lease: Lease) -> Ending:
    job = lease.job
    root = f"jobs/{job.id}/a{job.attempt}"
    with autocommit() as conn:
        steps = events.metrics(conn, job.id)
    manifest = {
        "job": job.id,
        "fine_tuned_model": jobdir.tuned_model(job),
        "base_model": job.spec["base"],
        "requested": {name: value for name, value in job.spec.items() if name not in SHOWN_APART},
        "hyperparameters": job.result["hyperparameters"],
        "environment": job.environment,
        "attempts": job.attempt,
        "metrics": job.result["metrics"],
        **job.result["manifest"],
    }
    table = result_csv(steps, PREFERENCE_COLUMNS if job.spec["method"] == "dpo" else RESULT_COLUMNS)
    made = {
        "result_file": stored_file(job, "step_metrics.csv", f"{root}/step_metrics.csv", table),
        "manifest_file": stored_file(
            job, "manifest.json", f"{root}/manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode()
        ),
    }
    if "answers_path" in job.result:
        with storage().open(job.result["answers_path"]) as answers:
            made["answers_file"] = stored_file(job, "answers.jsonl", f"{root}/answers.jsonl", answers.read())
        lease.append([_answers_event(job, made["answers_file"].id)])
    if "hardest_path" in job.result:
        with storage().open(job.result["hardest_path"]) as rows:
            made["hardest_file"] = stored_file(job, "hardest.jsonl", f"{root}/hardest.jsonl", rows.read())
        lease.append([wording.hardest_event(job.result["hardest"], made["hardest_file"].id)])
    lease.go_on()
    name = jobdir.tuned_model(job)
    return Ending(
        result={
            "fine_tuned_model": name,
            "result_files": [made["result_file"].id],
            **{role: file.id for role, file in made.items() if role != "result_file"},
        },
        files=list(made.values()),
        model=Model(
            name=name,
            project_id=job.project_id,
            org_id=job.org_id,
            job_id=job.id,
            base=job.spec["base"],
            path=job.result["model_path"],
            manifest=manifest,
            created_at=job.created_at,
        ),
    )


def _answers_event(job: Job, file_id: str) -> NewEvent:
    answers: dict[str, Any] = job.result["answers"]
    last = job.result.get("total_steps")
    step = job.result.get("model_step", last)
    message = (
        f"Answers to {answers['total']} validation prompts that are exactly right: "
        f"base {answers['base_exact']}, tuned {answers['tuned_exact']}"
    ) + (f", by the checkpoint of step {step}" if step != last else "")
    return NewEvent(message, data={**answers, "answers_file": file_id}, once="answers")


def result_csv(steps: Iterable[Event], columns: Mapping[str, str]) -> bytes:
    """The result file: one row a step, blank where a step has no such metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for event in steps:
        values = event.data or {}
        writer.writerow([values.get(metric, "") for metric in columns.values()])
    return text.getvalue().encode()


def link_published() -> None:
    """Make good for workers that died between publishing a model and linking it."""
    with autocommit() as conn:
        published = models.unlinked(conn)
    for model in published:
        _link(model.project_id, model.name, to=model.path)


def _link(project_id: str, name: str, *, to: str) -> None:
    """Show a published model under `models/` in storage, by name, where serving engines look for it."""
    link = f"models/{project_id}/{name}"
    storage().link(link, to)
    with autocommit() as conn:
        stands = models.linked(conn, name)
    if not stands:
        storage().delete_tree(link)
