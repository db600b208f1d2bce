"""What a caller may do with fine-tuning jobs: each action is one transaction, then a wake."""

from collections.abc import Mapping
from dataclasses import dataclass

from app import queue
from app.actions.pages import Page, cut
from app.actions.plans import planned, queue_of
from app.config import settings
from app.core import names
from app.core.caller import Caller
from app.core.errors import KeyReused, OverLimit, WrongState
from app.core.job import Checkpoint, Event, Job, NewEvent, NewJob, Place
from app.core.states import TERMINAL, Desired, Status
from app.store import aliases, checkpoints, events, jobs, orgs, secrets
from app.store.db import Connection, Row, autocommit, transaction

KEYS_NAMED = 20

NO_PAUSE = {
    Status.VALIDATING_FILES: "Its files are still being validated: pause it once it is queued or running.",
    Status.FINALIZING: "Its training has finished and the model is being published.",
}


@dataclass(frozen=True)
class Submission:
    """How a create was sent: the hash of its body, its Idempotency-Key, and whether the client says it is a retry."""

    body_hash: str
    idempotency_key: str | None = None
    retried: bool = False


def create(caller: Caller, new: NewJob, sent: Submission) -> Job:
    """Make a job, or return the one that this very request has made before.

    Raises Invalid for a model or file that cannot be used, Taken for a chosen id that is, and KeyReused for an
    Idempotency-Key with another body.
    """
    caller.must("write")
    with transaction() as conn:
        made = _made_before(conn, caller, sent)
        if made is not None:
            return jobs.as_seen(made)
        _refuse_beyond_limit(conn, caller)
        base, spec = planned(conn, caller, new)
        job = jobs.insert(
            conn,
            names.job_id(),
            project_id=caller.project_id,
            key_id=caller.key_id,
            queue=queue_of(base),
            priority=new.priority,
            spec=spec,
            metadata=new.metadata,
            idem_key=sent.idempotency_key,
            idem_hash=sent.body_hash,
        )
        for kind, secret in new.secrets.items():
            secrets.keep(conn, caller.project_id, kind, job.id, secret=secret)
        _reserve(conn, job, new)
        _tell(conn, job, new)
    queue.wake(job)
    return job


def _reserve(conn: Connection[Row], job: Job, new: NewJob) -> None:
    """Let the ids that were chosen stand for the job and its model. Raises Taken."""
    for kind, name in (("job", new.name), ("model", new.model_name)):
        if name is not None:
            aliases.reserve(conn, job.project_id, kind, name, target=job.id)


def _tell(conn: Connection[Row], job: Job, new: NewJob) -> None:
    """Begin the job's log with what is to be said of its request."""
    if "start" in job.spec:
        events.note(conn, job.id, NewEvent(f"Training goes on from {new.model}", once="start"))
    if new.ignored_keys:
        events.note(conn, job.id, _ignored(new.ignored_keys))
    for number, note in enumerate(new.notes):
        events.note(conn, job.id, NewEvent(note, level="warn", once=f"note {number}"))


def _made_before(conn: Connection[Row], caller: Caller, sent: Submission) -> Job | None:
    """The job of an earlier copy of this request; a copy that is under way now is waited for."""
    if sent.idempotency_key is None:
        jobs.lock_creation(conn, f"{caller.key_id}/{sent.body_hash}")
        return jobs.made_lately(conn, caller.key_id, sent.body_hash) if sent.retried else None
    jobs.lock_creation(conn, f"{caller.project_id}/{sent.idempotency_key}")
    found = jobs.with_idempotency_key(conn, caller.project_id, sent.idempotency_key)
    if found is None:
        return None
    job, body_hash = found
    if body_hash != sent.body_hash:
        raise KeyReused(
            f"This Idempotency-Key was sent with another body before: that request made the job {job.id}.",
            code="idempotency_key_reused",
        )
    return job


def _refuse_beyond_limit(conn: Connection[Row], caller: Caller) -> None:
    """Refuse a job beyond what its organization may have waiting; jobs that train already do not count."""
    jobs.lock_creation(conn, f"org/{caller.org_id}")
    org = orgs.get(conn, caller.org_id)
    most = settings().org_max_waiting if org.max_waiting is None else org.max_waiting
    if most and orgs.not_begun(conn, org.id) >= most:
        raise OverLimit(
            f"The organization {org.id} has {most} jobs waiting, and may have no more than that. One can be created as "
            "soon as one of them starts or is cancelled; the operator can raise the limit (max-waiting).",
            code="too_many_waiting_jobs",
        )


def _ignored(keys: tuple[str, ...]) -> NewEvent:
    named = ", ".join(key[:64] for key in keys[:KEYS_NAMED]) + (", …" if len(keys) > KEYS_NAMED else "")
    return NewEvent(
        f"Ignored {len(keys)} key(s) of the request that this service does not know: {named}",
        level="warn",
        data={"ignored_keys": [key[:64] for key in keys[:KEYS_NAMED]]},
        once="ignored_keys",
    )


@dataclass(frozen=True)
class QueuedJob(Job):
    """A job that waits for a trainer, with its place among those that do."""

    place: Place


def retrieve(caller: Caller, job_id: str) -> Job:
    """The job as its owner sees it; a queued one comes with its place. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        job = jobs.as_seen(jobs.get(conn, caller.project_id, job_id))
        if job.status is not Status.QUEUED:
            return job
        return QueuedJob(**vars(job), place=orgs.place(conn, job, max_running=settings().org_max_running))


def page(
    caller: Caller,
    *,
    after: str | None,
    limit: int,
    ascending: bool,
    metadata: Mapping[str, str] | None,
    without_metadata: bool,
) -> Page[Job]:
    """The project's jobs, newest first unless `ascending`, that have this metadata, or none at all."""
    caller.must("read")
    with autocommit() as conn:
        found = jobs.page(
            conn,
            caller.project_id,
            after=after,
            limit=limit + 1,
            ascending=ascending,
            metadata=metadata,
            without_metadata=without_metadata,
        )
    return cut([jobs.as_seen(job) for job in found], limit)


def cancel(caller: Caller, job_id: str) -> Job:
    """End a job; cancelling a cancelled one changes nothing. Raises WrongState when it has ended otherwise."""
    caller.must("write")
    with autocommit() as conn:
        job = jobs.request_cancel(conn, caller.project_id, job_id)
        if job is None:
            ended = jobs.get(conn, caller.project_id, job_id)
            if ended.status is not Status.CANCELLED:
                raise _completed(ended)
            return ended
    queue.revoke(job)
    return jobs.as_seen(job)


def pause(caller: Caller, job_id: str) -> Job:
    """Stop a job after its current step, to be resumed later; pausing a paused one changes nothing.

    Raises WrongState while its files are validated or its model is published, and once it has ended.
    """
    caller.must("write")
    with autocommit() as conn:
        job = jobs.request_pause(conn, caller.project_id, job_id)
        if job is None:
            raise _cannot_pause(jobs.get(conn, caller.project_id, job_id))
    return job


def _cannot_pause(job: Job) -> WrongState:
    if jobs.as_seen(job).status in TERMINAL:
        return _completed(job)
    return WrongState("The job cannot be paused now. " + NO_PAUSE.get(job.status, "Please try again."))


def resume(caller: Caller, job_id: str) -> Job:
    """Queue a paused job again, or take back a pause; resuming a job that is not paused changes nothing.

    Raises WrongState once it has ended.
    """
    caller.must("write")
    with autocommit() as conn:
        job = jobs.request_resume(conn, caller.project_id, job_id)
        if job is None:
            job = jobs.get(conn, caller.project_id, job_id)
            if job.ended or job.desired is Desired.CANCEL:
                raise _completed(job)
            return job
    queue.wake(job)
    return job


def preempt(job_id: str) -> Job:
    """The operator's wish that a running job makes way: it is stopped at a checkpoint and queued again.

    Raises WrongState when the job does not run, or is being paused or cancelled.
    """
    with autocommit() as conn:
        job = jobs.request_way(conn, job_id)
    if job is None:
        raise WrongState(f"{job_id} is no job that runs and goes on: nothing was changed.")
    return job


def _completed(job: Job) -> WrongState:
    return WrongState(f"Job has already completed: its status is '{jobs.as_seen(job).status}'.")


def event_page(caller: Caller, job_id: str, *, after: int | None, limit: int, ascending: bool) -> Page[Event]:
    """The job's events, newest first unless `ascending`, from behind the one numbered `after`. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        job = jobs.get(conn, caller.project_id, job_id)
        return cut(events.page(conn, job.id, after=after, limit=limit + 1, ascending=ascending), limit)


def checkpoint_page(caller: Caller, job_id: str, *, after: str | None, limit: int, ascending: bool) -> Page[Checkpoint]:
    """The job's usable checkpoints, newest first unless `ascending`. Raises Unknown."""
    caller.must("read")
    with autocommit() as conn:
        job = jobs.get(conn, caller.project_id, job_id)
        return cut(checkpoints.page(conn, job.id, after=after, limit=limit + 1, ascending=ascending), limit)
