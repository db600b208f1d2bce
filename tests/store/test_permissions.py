"""Permissions in the database: which tuned models and checkpoints a project may use."""

from dataclasses import replace

import pytest

from app.core import names
from app.core.errors import Unknown
from app.core.job import Checkpoint, Model, Permission
from app.store import checkpoints, keys, models, permissions
from app.store.db import transaction
from tests.store.conftest import PROJECT, finalizing, made, new_model, resume_point, running

OTHER = "neighbour"


@pytest.fixture
def neighbour(new_job) -> str:
    """Another project of the same organization."""
    with transaction() as conn:
        keys.create(
            conn, names.api_key(), project_id=OTHER, org_id=new_job.org_id, name="n", scopes=("read",), strict=False
        )
    return OTHER


@pytest.fixture
def model(new_job, neighbour) -> Model:
    new = new_model(finalizing(new_job), "ft:tiny:default::12345678")
    with transaction() as conn:
        models.insert(conn, new)
        found = models.find(conn, PROJECT, new.name)
    assert found is not None
    return found


@pytest.fixture
def epoch(key_id, neighbour) -> Checkpoint:
    job = running(made(key_id))
    with transaction() as conn:
        return checkpoints.record(conn, job, resume_point(job, 3, kind="epoch"))


def usable(name: str, project: str = OTHER) -> Model | Checkpoint | None:
    with transaction() as conn:
        return permissions.usable(conn, project, name)


def granted(name: str, *projects: str, org: str = "default") -> list[Permission]:
    with transaction() as conn:
        return permissions.grant(conn, name, org_id=org, project_ids=projects or (OTHER,))


def revoked(permission: Permission) -> None:
    with transaction() as conn:
        permissions.revoke(conn, permission.model, permission.id)


def test_a_project_may_use_its_own_model_and_nobody_else(model):
    assert usable(model.name, PROJECT) == model
    assert usable(model.name) is None


def test_another_project_may_use_a_model_while_it_is_permitted(model):
    [permission] = granted(model.name)
    assert usable(model.name) == model
    revoked(permission)
    assert usable(model.name) is None


def test_another_project_may_use_a_checkpoint_while_it_is_permitted(epoch):
    assert usable(epoch.name, PROJECT) == epoch
    assert usable(epoch.name) is None
    [permission] = granted(epoch.name)
    assert usable(epoch.name) == epoch
    revoked(permission)
    assert usable(epoch.name) is None


def test_a_permission_for_a_model_is_none_for_its_neighbour(model, epoch):
    granted(model.name)
    assert usable(epoch.name) is None


def test_a_resume_point_is_nothing_to_anybody(new_job, neighbour):
    job = running(new_job)
    with transaction() as conn:
        point = checkpoints.record(conn, job, replace(resume_point(job, 4), name="ft:tiny:ckpt-step-4"))
    granted(point.name)
    assert usable(point.name) is None
    assert usable(point.name, PROJECT) is None


def test_a_model_that_its_owner_deleted_is_usable_no_more(model):
    granted(model.name)
    with transaction() as conn:
        models.delete(conn, PROJECT, model.name)
    assert usable(model.name) is None


def test_only_projects_of_the_organization_are_permitted(model):
    assert granted(model.name, OTHER, "nowhere") == granted(model.name, OTHER)
    assert granted(model.name, OTHER, org="elsewhere") == []


def test_a_permission_that_stands_already_stays_as_it_is(model):
    first = granted(model.name)
    assert granted(model.name, OTHER, OTHER) == first


def test_a_permission_of_another_model_is_not_revoked(model, epoch):
    [permission] = granted(model.name)
    with transaction() as conn, pytest.raises(Unknown):
        permissions.revoke(conn, epoch.name, permission.id)
    assert usable(model.name) == model


def test_permitted_models_are_listed_with_the_own_ones(model):
    granted(model.name)
    with transaction() as conn:
        assert models.listed(conn, OTHER) == [model] == models.listed(conn, PROJECT)
        assert models.listed(conn, "third") == []
