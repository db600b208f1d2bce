"""Models under the ids that their makers chose, and weights on their way to be one, with what people wrote of them."""

from app.core.errors import Unknown
from app.core.listings import Listed, Listing
from app.core.resources import MODEL_FIELDS, NamedModel
from app.store import aliases, listings, rows
from app.store.db import Connection, Row

COLUMNS = rows.columns(NamedModel)
SOURCE = """
    select coalesce(a.alias, j.alias, m.id) as name, m.id, 'READY' as state, m.name as model, m.base, m.path,
           coalesce(j.alias, m.job_id, '') as job_name, coalesce(jobs.spec->>'method', '') as method,
           coalesce(jobs.result->'hyperparameters', m.manifest->'hyperparameters', '{}') as hyperparameters,
           case when m.job_id is null then m.manifest->'not_used' else '[]' end as ignored,
           case when m.job_id is null then m.manifest->'warnings' else '[]' end as warnings,
           m.display_name, m.description, m.created_at, coalesce(m.updated_at, m.created_at) as updated_at
      from (select *, coalesce(job_id, own_id) as id from models) m
      left join jobs on jobs.id = m.job_id
      left join aliases a on a.kind = 'model' and a.target = m.id
      left join aliases j on j.kind = 'job' and j.target = m.job_id
     where m.project_id = %(project)s and m.deleted_at is null
     union all
    select coalesce(a.alias, w.id), w.id, 'UPLOADING', '', w.base, '', '', '', w.hyperparameters,
           to_jsonb(w.ignored), '[]', w.display_name, w.description, w.created_at, w.updated_at
      from own_weights w
      left join aliases a on a.kind = 'model' and a.target = w.id
     where w.project_id = %(project)s
"""


def page(conn: Connection[Row], project_id: str, listing: Listing) -> Listed[NamedModel]:
    """A page of the models that a project made or brought. Raises Invalid as filters do."""
    return listings.page(conn, NamedModel, SOURCE, MODEL_FIELDS, listing, {"project": project_id})


def get(conn: Connection[Row], project_id: str, name: str) -> NamedModel:
    """The model of a project, by the id that was chosen for it, or for its job, or its own. Raises Unknown."""
    model_id = aliases.target(conn, project_id, "model", name)
    if model_id == name:
        model_id = aliases.target(conn, project_id, "job", name)
    model = find(conn, project_id, model_id)
    if model is None:
        raise Unknown(f"There is no model '{name}'", param="model")
    return model


def find(conn: Connection[Row], project_id: str, model_id: str) -> NamedModel | None:
    """The model of a project by its own id, which is that of the job that made it, if one did; or None."""
    return rows.one(
        conn,
        NamedModel,
        f"select {COLUMNS} from ({SOURCE}) found where id = %(id)s",
        {"project": project_id, "id": model_id},
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
