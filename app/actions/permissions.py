"""What a caller may do with the permissions of its tuned models: other projects of its organization may use them."""

from collections.abc import Sequence

from app.actions.pages import Page, cut
from app.core.caller import Caller
from app.core.errors import Invalid
from app.core.job import Permission
from app.store import checkpoints, models, permissions
from app.store.db import Connection, Row, transaction


def grant(caller: Caller, model: str, project_ids: Sequence[str]) -> list[Permission]:
    """Let projects use a tuned model or a checkpoint; one that may already keeps its permission.

    Raises Unknown for a model that is not the project's own, Invalid for one that was not tuned here, and for a project
    that is not the organization's.
    """
    caller.must("owner")
    with transaction() as conn:
        _must_own(conn, caller, model)
        granted = permissions.grant(conn, model, org_id=caller.org_id, project_ids=project_ids)
        by_project = {permission.project_id: permission for permission in granted}
        for project_id in project_ids:
            if project_id not in by_project:
                raise Invalid(f"Your organization has no project '{project_id[:64]}'.", param="project_ids")
        return [by_project[project_id] for project_id in dict.fromkeys(project_ids)]


def page(
    caller: Caller, model: str, *, project_id: str | None, after: str | None, limit: int, ascending: bool
) -> Page[Permission]:
    """The permissions of a model of the project's own, newest first unless `ascending`. Raises Unknown."""
    caller.must("read")
    with transaction() as conn:
        _must_own(conn, caller, model)
        found = permissions.page(conn, model, project_id=project_id, after=after, limit=limit + 1, ascending=ascending)
    return cut(found, limit)


def revoke(caller: Caller, model: str, permission_id: str) -> None:
    """Take a permission back, at once. Raises Unknown."""
    caller.must("owner")
    with transaction() as conn:
        _must_own(conn, caller, model)
        permissions.revoke(conn, model, permission_id)


def _must_own(conn: Connection[Row], caller: Caller, model: str) -> None:
    found = models.find(conn, caller.project_id, model)
    if found is not None and found.job_id is None:
        raise Invalid(f"{model} was not tuned here: only what was can be permitted to other projects.", param="model")
    if not (found or checkpoints.named(conn, caller.project_id, model)):
        raise models.unknown(model)
