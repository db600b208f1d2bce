"""Who asks: what an API key stands for, once it was found to be valid."""

from dataclasses import dataclass

from app.core.errors import Forbidden

SCOPES = ("read", "write", "owner")


@dataclass(frozen=True)
class Caller:
    """The key of a request, and the project that everything it sees and makes belongs to."""

    key_id: str
    project_id: str
    org_id: str
    scopes: frozenset[str]
    strict_status: bool = False

    def must(self, scope: str) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This API key lacks the scope '{scope}'.", code="insufficient_permissions")
