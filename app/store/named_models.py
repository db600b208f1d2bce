"""Tuned models under the ids that their makers chose, with what people wrote beside them."""

from app.core.errors import Unknown
from app.core.listings import Listed, Listing
from app.core.resources import MODEL_FIELDS, NamedModel
from app.store import aliases, listings, rows
from app.store.db import Connection, Row

COLUMNS = rows.columns(NamedModel)
SOURCE = """
    select coalesce(a.alias, j.alias, m.job_id) as name, m.name as model, m.base, m.path, m.job_id,
           coalesce(j.alias, m.job_id) as job_name, jobs.spec->>'method' as method,
           coalesce(jobs.result->'hyperparameters', '{}') as hyperparameters,
           m.display_name, m.description, m.created_at, coalesce(m.updated_at, m.created_at) as updated_at
      from models m
      join jobs on jobs.id = m.job_id
      left join aliases a on a.kind = 'model' and a.target = m.job_id
      left join aliases j on j.kind = 'job' and j.target = m.job_id
     where m.project_id = %(project)s and m.deleted_at is null
"""


def page(conn: Connection[Row], project_id: str, listing: Listing) -> Listed[NamedModel]:
    """A page of the models that a project made. Raises Invalid as filters do."""
    return listings.page(conn, NamedModel, SOURCE, MODEL_FIELDS, listing, {"project": project_id})


def get(conn: Connection[Row], project_id: str, name: str) -> NamedModel:
    """The model that a project made, by the id that was chosen for it, or its job's. Raises Unknown."""
    job_id = aliases.target(conn, project_id, "model", name)
    if job_id == name:
        job_id = aliases.target(conn, project_id, "job", name)
    model = of_job(conn, project_id, job_id)
    if model is None:
        raise Unknown(f"There is no model '{name}'", param="model")
    return model


def of_job(conn: Connection[Row], project_id: str, job_id: str) -> NamedModel | None:
    """The model that a job of a project made, or None."""
    return rows.one(
        conn,
        NamedModel,
        f"select {COLUMNS} from ({SOURCE}) found where job_id = %(job)s",
        {"project": project_id, "job": job_id},
    )


def describe(conn: Connection[Row], model: str, *, display_name: str | None, description: str | None) -> None:
    """Write what people call a model and say of it; None leaves what stands."""
    conn.execute(
        """
        update models set display_name = coalesce(%(display_name)s, display_name),
               description = coalesce(%(description)s, description), updated_at = clock_timestamp()
         where name = %(model)s
        """,
        {"model": model, "display_name": display_name, "description": description},
    )
