"""Organizations: their weights and limits, administered on the command line alone."""

from app.core.errors import Invalid
from app.core.job import Org
from app.store import orgs
from app.store.db import transaction


def listed() -> list[Org]:
    """All organizations by name."""
    with transaction() as conn:
        return orgs.listed(conn)


def change(org_id: str, *, weight: float | None, max_running: int | None, max_waiting: int | None) -> Org:
    """Set what is given.

    Raises Invalid for a weight that is not positive or a negative limit, Unknown for an unknown organization.
    """
    if weight is not None and not 0.001 <= weight <= 1000:
        raise Invalid("the weight is between 0.001 and 1000", param="weight")
    for name, limit in (("max-running", max_running), ("max-waiting", max_waiting)):
        if limit is not None and not 0 <= limit <= 1_000_000:
            raise Invalid(f"{name} is between 0, for no limit, and 1,000,000", param=name)
    with transaction() as conn:
        return orgs.change(conn, org_id, weight=weight, max_running=max_running, max_waiting=max_waiting)
