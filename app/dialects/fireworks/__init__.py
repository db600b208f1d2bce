"""The Fireworks dialect: named resources of an account, which is the caller's project."""

from app.dialects.base import Dialect
from app.dialects.fireworks import datasets, models, signed, uploading
from app.dialects.fireworks.errors import StatusSchema, render_error

FIREWORKS = Dialect(
    name="fireworks",
    prefixes=("/v1/accounts/",),
    blueprints=(datasets.blueprint, uploading.blueprint, models.blueprint, signed.blueprint),
    render_error=render_error,
    error_schema=StatusSchema,
)
