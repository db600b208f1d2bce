"""keys create|list|revoke"""

import argparse
import sys
from typing import Any

from app.actions import keys
from app.commands import table
from app.core.caller import SCOPES
from app.core.job import Key


def add(things: Any) -> None:
    """Describe the commands to the parser."""
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


def _create(asked: argparse.Namespace) -> None:
    key, secret = keys.create(
        project_id=asked.project,
        org_id=asked.org,
        name=asked.name,
        scopes=[scope.strip() for scope in asked.scopes.split(",")],
        strict=asked.strict,
    )
    print(secret)
    print(f"{key.id}: keep the key above, it is not shown again.", file=sys.stderr)


def _list(asked: argparse.Namespace) -> None:
    columns = ("id", "key", "project", "org", "scopes", "name", "created", "last used", "state")
    table.show([columns, *map(_row, keys.listed(asked.project))])


def _row(key: Key) -> tuple[str, ...]:
    used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
    state = "revoked" if key.revoked_at else "strict" if key.strict_status else "active"
    scopes = ",".join(key.scopes)
    made = f"{key.created_at:%Y-%m-%d %H:%M}"
    return key.id, f"{key.prefix}…", key.project_id, key.org_id, scopes, key.name, made, used, state


def _revoke(asked: argparse.Namespace) -> None:
    print(f"{keys.revoke(asked.id).id} is revoked.")
