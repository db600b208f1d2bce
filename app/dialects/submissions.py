"""How a create was sent: what tells that a request is a copy of an earlier one."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import Headers

from app.actions.jobs import Submission
from app.core.errors import Invalid
from app.dialects import bodies

MAX_IDEMPOTENCY_KEY = 255


def submission(headers: Headers, body: Mapping[str, Any]) -> Submission:
    """How the create was sent, so that a repeated one finds its job.

    Raises Invalid for an Idempotency-Key that is too long.
    """
    key = headers.get("Idempotency-Key")
    if key is not None:
        bodies.refuse_unprintable(key, "Idempotency-Key")
        if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
            raise Invalid(f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} characters.", param="Idempotency-Key")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return Submission(
        body_hash=hashlib.sha256(canonical).hexdigest(),
        idempotency_key=key,
        retried=headers.get("x-stainless-retry-count", "0").strip() not in ("", "0"),
    )
