"""orgs list|set"""

import argparse
from typing import Any

from app.actions import orgs
from app.commands import table
from app.core.job import Org

COLUMNS = ("org", "weight", "max running", "max waiting", "trainer seconds of late")


def add(things: Any) -> None:
    """Describe the commands to the parser."""
    commands = things.add_parser("orgs", help="organizations").add_subparsers(required=True, metavar="list|set")

    listed = commands.add_parser("list", help="show weights, limits and use")
    listed.set_defaults(run=_list)

    change = commands.add_parser("set", help="change what is given")
    change.add_argument("org", metavar="ORG")
    change.add_argument("--weight", type=float, help="its share of the trainers beside the others'; 1 unless set")
    change.add_argument("--max-running", type=int, help="jobs that it trains at once; 0: no limit")
    change.add_argument("--max-waiting", type=int, help="jobs that it may have waiting; 0: no limit")
    change.set_defaults(run=_set)


def _list(asked: argparse.Namespace) -> None:
    table.show([COLUMNS, *map(_row, orgs.listed())])


def _row(org: Org) -> tuple[str, ...]:
    return org.id, f"{org.weight:g}", _limit(org.max_running), _limit(org.max_waiting), f"{org.usage:.0f}"


def _limit(limit: int | None) -> str:
    return "as set for all" if limit is None else str(limit) if limit else "none"


def _set(asked: argparse.Namespace) -> None:
    changed = orgs.change(asked.org, weight=asked.weight, max_running=asked.max_running, max_waiting=asked.max_waiting)
    table.show([COLUMNS, _row(changed)])
