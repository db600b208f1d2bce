"""The routes of …/supervisedFineTuningJobs and …/dpoJobs, which are the same but for the shape of a job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import g, request
from marshmallow import EXCLUDE, Schema, fields

from app.actions import named_jobs
from app.core.errors import JobServiceError, Unfit
from app.core.resources import STOPPING, NamedJob
from app.dialects import portkey
from app.dialects.base import caller
from app.dialects.fireworks import job_object, job_states, new_job, paging, signed
from app.dialects.fireworks.resources import AccountBlueprint, Resource
from app.dialects.fireworks.uploading import NothingSchema
from app.dialects.submissions import submission


@dataclass(frozen=True)
class Kind:
    """Jobs of a method: the key of their collection, the query that chooses an id, their bodies and their objects."""

    method: str
    key: str
    id_query: str
    body: type[Schema]
    wanted: Callable[[Mapping[str, Any], Mapping[str, Any]], new_job.Wanted]
    schema: type[Schema]
    shown: Callable[[NamedJob], dict[str, Any]]
    nested: bool


class SignedUrlSchema(Resource):
    """A URL that needs no API key and is good for an hour."""

    signed_url = fields.String(required=True)


SUPERVISED = Kind(
    method="supervised",
    key="supervisedFineTuningJobs",
    id_query="supervisedFineTuningJobId",
    body=new_job.NewSupervisedJobSchema,
    wanted=new_job.supervised,
    schema=job_object.SupervisedJobSchema,
    shown=job_object.supervised,
    nested=False,
)
DPO = Kind(
    method="dpo",
    key="dpoJobs",
    id_query="dpoJobId",
    body=new_job.NewDpoJobSchema,
    wanted=new_job.preferences,
    schema=job_object.DpoJobSchema,
    shown=job_object.preferences,
    nested=True,
)


def made(kind: Kind, given: Mapping[str, Any], chosen: str) -> NamedJob:
    """The job that a request makes. Raises errors in the words of its body."""
    try:
        wanted = kind.wanted(given, g.body)
        new = portkey.applied(wanted.named(chosen), request, g.body)
        return named_jobs.create(caller(), new, submission(request.headers, _kept(kind, chosen)), start=wanted.start)
    except JobServiceError as error:
        if error.param is None:
            raise
        param = kind.id_query if error.param == "jobId" else new_job.placed(error.param, kind.method)
        message = f"Invalid value for '{param}': {error.message}" if isinstance(error, Unfit) else error.message
        raise type(error)(message, param=param, code=error.code) from error


def _kept(kind: Kind, chosen: str) -> dict[str, Any]:
    """What a repeated request has the same as the first; no trace of a secret is kept."""
    body = {name: value for name, value in g.body.items() if name != "wandbConfig"}
    return {"collection": kind.key, "id": chosen, "body": body}


def routes(kind: Kind) -> AccountBlueprint:
    """The routes of a kind of jobs."""
    blueprint = AccountBlueprint(kind.key, "Fine-tuning jobs under ids of your choice")
    jobs = job_object.collection(kind.key, nested=kind.nested)
    chosen_id = fields.String(load_default="", data_key=kind.id_query)

    class IdQuery(Resource):
        """The id that the job is to have."""

        class Meta:
            unknown = EXCLUDE

        chosen = chosen_id

    @blueprint.post(f"/{kind.key}")
    @blueprint.arguments(kind.body)
    @blueprint.arguments(IdQuery, location="query")
    @blueprint.response(200, kind.schema)
    def create(given: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        """Create a job under an id of your choice, or one of this server's"""
        return kind.shown(made(kind, given, query["chosen"]))

    @blueprint.get(f"/{kind.key}")
    @blueprint.arguments(paging.PageQuery, location="query")
    @blueprint.response(200, paging.list_of(kind.key, kind.schema))
    def page(query: dict[str, Any]) -> dict[str, Any]:
        """List the account's jobs, those made at other doors included"""
        return paging.answer(query, jobs, lambda listing: named_jobs.page(caller(), kind.method, listing), kind.shown)

    @blueprint.get(f"/{kind.key}/<job_id>")
    @blueprint.arguments(paging.MaskQuery, location="query")
    @blueprint.response(200, kind.schema)
    def retrieve(query: dict[str, Any], job_id: str) -> dict[str, Any]:
        """Retrieve a job"""
        return paging.masked(kind.shown(named_jobs.retrieve(caller(), kind.method, job_id)), query["read_mask"])

    @blueprint.delete(f"/{kind.key}/<job_id>")
    @blueprint.response(200, kind.schema)
    def delete(job_id: str) -> dict[str, Any]:
        """Delete a job, which cancels it unless it has ended; its model stays. Answers the job as it was last"""
        left = named_jobs.delete(caller(), kind.method, job_id)
        return {**kind.shown(left), **({"state": job_states.DELETING} if left.state == STOPPING else {})}

    @blueprint.post(f"/{kind.key}/<job_id>:cancel")
    @blueprint.response(200, NothingSchema)
    def cancel(job_id: str) -> dict[str, Any]:
        """Cancel a job"""
        named_jobs.cancel(caller(), kind.method, job_id)
        return {}

    @blueprint.post(f"/{kind.key}/<job_id>:resume")
    @blueprint.response(200, kind.schema)
    def resume(job_id: str) -> dict[str, Any]:
        """Resume a paused job where it stopped"""
        return kind.shown(named_jobs.resume(caller(), kind.method, job_id))

    return blueprint


supervised = routes(SUPERVISED)
dpo = routes(DPO)


@dpo.get("/dpoJobs/<job_id>:getMetricsFileEndpoint")
@dpo.arguments(paging.MaskQuery, location="query")
@dpo.response(200, SignedUrlSchema)
def metrics(_: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Ask for the URL of a succeeded job's metrics by step, a CSV"""
    file = named_jobs.metrics(caller(), DPO.method, job_id)
    return {"signed_url": signed.url("GET", f"files/{file.id}", size=file.bytes)}
