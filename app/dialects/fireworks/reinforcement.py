"""The routes of …/reinforcementFineTuningJobs, of which this server has none."""

from typing import Any, NoReturn

from app.core.errors import NotBuilt, Unknown
from app.dialects.fireworks import paging
from app.dialects.fireworks.resources import AccountBlueprint, Resource

blueprint = AccountBlueprint("reinforcement", "Reinforcement jobs, which are not built yet")

KEY = "reinforcementFineTuningJobs"
ALWAYS = "Always: this server trains by supervision and on preferences"


@blueprint.get(f"/{KEY}")
@blueprint.arguments(paging.PageQuery, location="query")
@blueprint.response(200, paging.list_of(KEY, Resource))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List the account's reinforcement jobs: none"""
    return {KEY: [], "next_page_token": "", "total_size": 0}


@blueprint.post(f"/{KEY}")
@blueprint.alt_response(501, description=ALWAYS)
def create() -> NoReturn:
    """Not built: reinforcement"""
    raise NotBuilt(
        "This server does not train by reinforcement yet: supervisedFineTuningJobs and dpoJobs are what it trains."
    )


@blueprint.get(f"/{KEY}/<job_id>")
@blueprint.alt_response(404, description=ALWAYS)
def retrieve(job_id: str) -> NoReturn:
    """Retrieve a reinforcement job: there is none"""
    raise _unknown(job_id)


@blueprint.delete(f"/{KEY}/<job_id>")
@blueprint.alt_response(404, description=ALWAYS)
def delete(job_id: str) -> NoReturn:
    """Delete a reinforcement job: there is none"""
    raise _unknown(job_id)


@blueprint.post(f"/{KEY}/<job_id>:cancel")
@blueprint.alt_response(404, description=ALWAYS)
def cancel(job_id: str) -> NoReturn:
    """Cancel a reinforcement job: there is none"""
    raise _unknown(job_id)


@blueprint.post(f"/{KEY}/<job_id>:resume")
@blueprint.alt_response(404, description=ALWAYS)
def resume(job_id: str) -> NoReturn:
    """Resume a reinforcement job: there is none"""
    raise _unknown(job_id)


def _unknown(job_id: str) -> Unknown:
    return Unknown(f"There is no reinforcement job '{job_id[:200]}': this server does not train by reinforcement yet.")
