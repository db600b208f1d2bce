"""A caller's own pairs on a job, as every dialect that has them takes them."""

from typing import Any

from marshmallow import fields, validate


class Metadata(fields.Dict):
    """At most 16 pairs of text: keys of 1 to 64 characters, values of at most 512."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            keys=fields.String(validate=validate.Length(1, 64)),
            values=fields.String(validate=validate.Length(0, 512)),
            validate=validate.Length(0, 16, error="must have at most 16 pairs."),
            **options,
        )
