"""The routes of /v1/fine_tuning/jobs."""

import re
from typing import Any

from flask import Response, g, jsonify, request
from marshmallow import fields

from app.actions import dry_runs, following, jobs
from app.core.errors import Invalid, Unfit
from app.core.job import Job, NewJob
from app.dialects import portkey
from app.dialects.base import Blueprint, caller
from app.dialects.openai import streaming
from app.dialects.openai.dry_run import DryRunSchema
from app.dialects.openai.fields import Limit, PageQuery, list_of, listing
from app.dialects.openai.job_object import CheckpointSchema, EventSchema, JobSchema, event_number
from app.dialects.openai.new_job import NewJobSchema, unfit
from app.dialects.submissions import submission

blueprint = Blueprint(
    "fine-tuning", __name__, url_prefix="/v1/fine_tuning/jobs", description="Fine-tuning jobs and what becomes of them"
)

JOB, DRY_RUN = JobSchema(), DryRunSchema()
METADATA_FILTER = re.compile(r"metadata\[(.*)\]", re.DOTALL)


class JobQuery(PageQuery):
    """A page of jobs. `metadata[key]=value`, repeatable, filters; `metadata=null` asks for jobs that have none."""

    metadata = fields.String(metadata={"enum": ["null"], "description": "Or `metadata[key]=value`, repeatable"})


class CheckpointQuery(PageQuery):
    """A page of checkpoints."""

    limit = Limit(default=10, most=100)


Events = list_of(EventSchema)


class EventQuery(PageQuery):
    """A page of events, or a stream of them, which goes on behind the header `Last-Event-ID`."""

    stream = fields.Boolean(
        load_default=None,
        truthy={"true", "1"},
        falsy={"false", "0"},
        metadata={"description": "As server-sent events; also asked for by `Accept: text/event-stream`"},
    )


@blueprint.post("")
@blueprint.arguments(NewJobSchema)
@blueprint.response(200, {"anyOf": [JobSchema, DryRunSchema]})
def create(new: NewJob) -> Response:
    """Create a fine-tuning job; with `dry_run` create none, and answer what it would be"""
    new = portkey.applied(new, request, g.body)
    try:
        if new.dry_run:
            return jsonify(DRY_RUN.dump(dry_runs.make(caller(), new)))
        return jsonify(JOB.dump(jobs.create(caller(), new, submission(request.headers, g.body))))
    except Unfit as error:
        raise unfit(error, g.body) from error


@blueprint.get("")
@blueprint.arguments(JobQuery, location="query")
@blueprint.response(200, list_of(JobSchema))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the project's fine-tuning jobs, newest first"""
    without, metadata = _metadata_filter()
    found = jobs.page(
        caller(),
        after=query["after"],
        limit=query["limit"],
        ascending=query["ascending"],
        metadata=metadata,
        without_metadata=without,
    )
    return listing(found)


def _metadata_filter() -> tuple[bool, dict[str, str] | None]:
    """Whether jobs without metadata are asked for, and the pairs that jobs must have."""
    literal = request.args.getlist("metadata")
    wanted: dict[str, str] = {}
    for name, value in request.args.items(multi=True):
        found = METADATA_FILTER.fullmatch(name)
        if found and wanted.setdefault(found[1], value) != value:
            raise Invalid("One key cannot have two values.", param=name)
    if any(text != "null" for text in literal) or (literal and wanted):
        raise Invalid("Filter by 'metadata[key]=value', or by 'metadata=null', not by both.", param="metadata")
    return bool(literal), wanted or None


@blueprint.get("/<job_id>")
@blueprint.response(200, JobSchema)
def retrieve(job_id: str) -> Job:
    """Retrieve a fine-tuning job"""
    return jobs.retrieve(caller(), job_id)


@blueprint.post("/<job_id>/cancel")
@blueprint.response(200, JobSchema)
def cancel(job_id: str) -> Job:
    """Cancel a fine-tuning job"""
    return jobs.cancel(caller(), job_id)


@blueprint.post("/<job_id>/pause")
@blueprint.response(200, JobSchema)
def pause(job_id: str) -> Job:
    """Pause a fine-tuning job: its process ends after the current step, its checkpoint stays"""
    return jobs.pause(caller(), job_id)


@blueprint.post("/<job_id>/resume")
@blueprint.response(200, JobSchema)
def resume(job_id: str) -> Job:
    """Resume a paused fine-tuning job where it stopped"""
    return jobs.resume(caller(), job_id)


@blueprint.get("/<job_id>/events")
@blueprint.doc(responses=streaming.described(Events))
@blueprint.arguments(EventQuery, location="query")
@blueprint.arguments(streaming.Seen, location="headers")
@blueprint.response(200, Events)
def events(query: dict[str, Any], seen: dict[str, Any], job_id: str) -> dict[str, Any] | Response:
    """List a job's events, newest first; or stream them from the oldest on as they happen, until the job has ended"""
    if streaming.wished(query["stream"]):
        last = _event(seen["last_event_id"] or query["after"])
        return streaming.response(following.listen(caller(), job_id, after=last))
    found = jobs.event_page(
        caller(), job_id, after=_event(query["after"]), limit=query["limit"], ascending=query["ascending"]
    )
    return listing(found)


def _event(wire_id: str | None) -> int | None:
    """The number of the event that a list goes on from; 0 is none of any job."""
    return None if wire_id is None else event_number(wire_id) or 0


@blueprint.get("/<job_id>/checkpoints")
@blueprint.arguments(CheckpointQuery, location="query")
@blueprint.response(200, list_of(CheckpointSchema, ends=True))
def checkpoints(query: dict[str, Any], job_id: str) -> dict[str, Any]:
    """List a job's checkpoints, newest first; each can be used as a model"""
    found = jobs.checkpoint_page(
        caller(), job_id, after=query["after"], limit=query["limit"], ascending=query["ascending"]
    )
    return listing(found, wire_id=lambda checkpoint: checkpoint.id)
