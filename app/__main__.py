"""The operator's commands: `python -m app keys create|list|revoke`."""

import argparse
import sys
from collections.abc import Sequence

from app.actions import keys
from app.config import SettingsError, require
from app.core.caller import SCOPES
from app.core.errors import JobServiceError
from app.core.job import Key
from app.store import db

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 when it failed, 2 when it was not understood."""
    asked = _parser().parse_args(arguments)
    try:
        require("database_url")
        return int(asked.run(asked))
    except (JobServiceError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    finally:
        db.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Tuneyard's commands for its operator.")
    things = parser.add_subparsers(required=True, metavar="keys")
    commands = things.add_parser("keys", help="API keys").add_subparsers(required=True, metavar="create|list|revoke")

    create = commands.add_parser("create", help="make a key, and print it this once")
    create.add_argument("--project", required=True, help="what the key's jobs and files belong to; made when new")
    create.add_argument("--org", required=True, help="the organization of the project; made when new")
    create.add_argument("--name", required=True, help="what the key is for")
    create.add_argument("--scopes", default="read,write", help=f"of {','.join(SCOPES)}; %(default)s unless given")
    create.add_argument("--strict", action="store_true", help="show paused jobs as queued to this key's clients")
    create.set_defaults(run=_create)

    listed = commands.add_parser("list", help="show the keys, without their secrets")
    listed.add_argument("--project", help="of one project only")
    listed.set_defaults(run=_list)

    revoke = commands.add_parser("revoke", help="make a key useless from now on")
    revoke.add_argument("id", metavar="ID", help="such as key_…, from the list")
    revoke.set_defaults(run=_revoke)
    return parser


def _create(asked: argparse.Namespace) -> int:
    key, secret = keys.create(
        project_id=asked.project,
        org_id=asked.org,
        name=asked.name,
        scopes=[scope.strip() for scope in asked.scopes.split(",")],
        strict=asked.strict,
    )
    print(secret)
    print(f"{key.id}: keep the key above, it is not shown again.", file=sys.stderr)
    return 0


def _list(asked: argparse.Namespace) -> int:
    columns = ("id", "key", "project", "org", "scopes", "name", "created", "last used", "state")
    rows = [columns, *map(_row, keys.listed(asked.project))]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(key: Key) -> tuple[str, ...]:
    used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
    state = "revoked" if key.revoked_at else "strict" if key.strict_status else "active"
    scopes = ",".join(key.scopes)
    made = f"{key.created_at:%Y-%m-%d %H:%M}"
    return key.id, f"{key.prefix}…", key.project_id, key.org_id, scopes, key.name, made, used, state


def _revoke(asked: argparse.Namespace) -> int:
    print(f"{keys.revoke(asked.id).id} is revoked.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
