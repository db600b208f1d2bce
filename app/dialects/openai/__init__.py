"""The OpenAI dialect. Portkey's and AnyAPI's clients speak it too: they differ in the header that holds the key."""

from app.dialects.base import Dialect
from app.dialects.openai import files, jobs, models, permissions, uploads
from app.dialects.openai.errors import ErrorSchema, render_error

OPENAI = Dialect(
    name="openai",
    prefixes=("/v1/",),
    blueprints=(
        files.blueprint,
        uploads.blueprint,
        jobs.blueprint,
        permissions.blueprint,
        models.blueprint,
        models.chat,
    ),
    render_error=render_error,
    error_schema=ErrorSchema,
)
