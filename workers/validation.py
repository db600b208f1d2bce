"""validate: every row of both files is checked; then counts and resolved hyperparameters, or all findings at once."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from app.core import carveout
from app.core.dataset import TRAINING, VALIDATION, Finding, Report, RowWarning, check
from app.core.errors import JobFailed
from app.core.hyperparameters import resolve, said
from app.core.job import File, Job, NewEvent
from app.core.states import Outcome, Status
from workers import jobdir, rendering, scratch
from workers.backends.child import Child
from workers.outputs import stored_file
from workers.supervision import Ending, Lease, Surrendered, serve

PARTS = {"training_file": TRAINING, "validation_file": VALIDATION}
INSPECT_POLL_SECONDS = 0.5


class Turn(Protocol):
    """A worker's hold on what it checks: `go_on` raises when it is to let go."""

    def go_on(self) -> None: ...


def validate(job_id: str, *, task_id: str | None = None) -> None:
    """Validate the files of a new job, if it is free."""
    serve(job_id, Status.VALIDATING_FILES, _validate, task_id=task_id)


def _validate(lease: Lease) -> Ending:
    job = lease.job
    with scratch.directory(job) as directory:
        found = jobdir.fetch_rows(job, directory)
        reports = check_rows(lease, directory, found, job.spec)
        counts: dict[str, Any] = {}
        if not any(report.error() for report in reports.values()):
            base = jobdir.base_model(job)
            rows = reports["training_file"].rows
            hyperparameters = resolve(job.spec["hyperparameters"], base, method=job.spec["method"], rows=rows)
            jobdir.write_spec(job, directory, hyperparameters=hyperparameters.as_dict())
            for role, counted in count_tokens(lease, directory).items():
                reports[role] = joined(reports[role], counted)
                counts[role] = totals(counted)
            counts["hyperparameters"] = hyperparameters.as_dict()
            counts["total_steps"] = hyperparameters.total_steps(rows)
    return _ending(lease, reports, counts)


def check_rows(turn: Turn, directory: Path, found: Collection[str], spec: Mapping[str, Any]) -> dict[str, Report]:
    """The reports on the files of these roles, whose rows are for the method of the spec."""
    reports: dict[str, Report] = {}
    for role in found:
        with (directory / jobdir.ROLES[role]).open("rb") as file:
            reports[role] = check(
                file, PARTS[role], method=spec["method"], training=reports.get("training_file"), go_on=turn.go_on
            )
    training = reports["training_file"]
    held_out = carveout.count(training.rows, said(spec["hyperparameters"]).get("eval_carveout", 0.0))
    return reports | {"training_file": replace(training, held_out=held_out)}


def count_tokens(turn: Turn, directory: Path) -> dict[str, dict[str, Any]]:
    """Count tokens with the model's own tokenizer, in a process of its own; returns what it said by role.

    Raises JobFailed when the model or its chat template cannot be used, Stopped when the stage is not wanted any more.
    """
    roles = {name: role for role, name in jobdir.ROLES.items()}
    watch = rendering.Watch(directory)
    child = Child(["--inspect", str(directory)], threads=1)
    counted: dict[str, dict[str, Any]] = {}
    try:
        while not child.ended:
            turn.go_on()
            watch.look()
            for line in child.read(seconds=INSPECT_POLL_SECONDS, most=10):
                if line["type"] == "error":
                    raise JobFailed(line["message"], code=line["code"], param=line.get("param"))
                if line["type"] == "inspected":
                    counted[roles[line["file"]]] = line
        if child.wait() != 0:
            turn.go_on()
            watch.explain(child.wait())
            raise Surrendered(f"counting tokens ended with {child.wait()}: {child.last_words()}")
    finally:
        child.kill()
    return counted


def totals(counted: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a file that was counted: rows and tokens, those of its held-out rows also apart."""
    names = ("rows", "tokens", "trained_tokens", "longest", "held_out")
    return {name: counted[name] for name in names if name in counted}


def joined(report: Report, counted: Mapping[str, Any]) -> Report:
    """The report with what the tokenizer's process found."""
    cut = counted["cut"]
    warnings = [RowWarning.of("row_cut", lines=cut["lines"], count=cut["count"])] if cut["count"] else []
    findings = [Finding.from_dict(finding) for finding in counted["findings"]]
    return report.joined(findings, counted["finding_count"], warnings)


def _ending(lease: Lease, reports: Mapping[str, Report], counts: Mapping[str, Any]) -> Ending:
    """Store the report, warn of what was odd, and end the stage well or with OpenAI's error."""
    file = _report_file(lease.job, reports, counts)
    warnings = [
        NewEvent(
            warning.message,
            level="warn",
            data={"file": lease.job.spec[role], **warning.as_dict()},
            once=f"validation:{role}:{warning.code}:{warning.message[:100]}",
        )
        for role, report in reports.items()
        for warning in report.warnings
    ]
    lease.append([*warnings, _summary(file, reports, counts)])
    result = {"report_file": file.id, **_result(counts)}
    error = next((found for report in reports.values() if (found := report.error()) is not None), None)
    if error is None:
        return Ending(result=result, files=[file])
    failure = JobFailed(error["message"], code=error["code"], param=error["param"])
    return Ending(Outcome.FAILED, result=result, error=failure, files=[file])


def _summary(file: File, reports: Mapping[str, Report], counts: Mapping[str, Any]) -> NewEvent:
    """The event that names the report and says what is in it."""
    said = []
    for role, report in reports.items():
        text = f"{report.part.noun} {report.rows} rows"
        if role in counts:
            text += f", {counts[role]['tokens']} tokens, {counts[role]['trained_tokens']} of them trained on"
            text += f", {report.held_out} rows held out for validation" if report.held_out else ""
        said.append(text + (f", {report.finding_count} findings" if report.finding_count else ""))
    data = {"report_file": file.id, "findings": sum(report.finding_count for report in reports.values())}
    return NewEvent(f"Checked {'; '.join(said)}. The full report is the file {file.id}", data=data)


def _result(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The counts as the job keeps them: `training` counts what is trained on, `validation` what is validated on."""
    if not counts:
        return {}
    training, rest = counts["training_file"], {n: v for n, v in counts.items() if n not in PARTS}
    validation = training.get("held_out") or counts.get("validation_file")
    return rest | {"training": carveout.trained_part(training)} | ({"validation": validation} if validation else {})


def _report_file(job: Job, reports: Mapping[str, Report], counts: Mapping[str, Any]) -> File:
    content = {
        "job": job.id,
        "model": job.spec["base"],
        "files": [
            {"id": job.spec[role], **report.as_dict(), **counts.get(role, {})} for role, report in reports.items()
        ],
        "hyperparameters": counts.get("hyperparameters"),
        "total_steps": counts.get("total_steps"),
    }
    path = f"jobs/{job.id}/a{job.attempt}/report.json"
    return stored_file(job, "validation-report.json", path, json.dumps(content, indent=1, ensure_ascii=False).encode())
