"""The Fireworks dialect: named resources of an account, which is the caller's project."""

from app.dialects.base import Dialect
from app.dialects.fireworks import datasets, jobs, models, own_models, reinforcement, signed, uploading
from app.dialects.fireworks.errors import StatusSchema, render_error

FIREWORKS = Dialect(
    name="fireworks",
    prefixes=("/v1/accounts/",),
    blueprints=(
        datasets.blueprint,
        uploading.blueprint,
        jobs.supervised,
        jobs.dpo,
        reinforcement.blueprint,
        models.blueprint,
        own_models.blueprint,
        signed.blueprint,
    ),
    render_error=render_error,
    error_schema=StatusSchema,
)
