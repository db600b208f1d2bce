"""jobs preempt"""

import argparse
from typing import Any

from app.actions import jobs


def add(things: Any) -> None:
    """Describe the commands to the parser."""
    commands = things.add_parser("jobs", help="jobs of any project").add_subparsers(required=True, metavar="preempt")

    preempt = commands.add_parser("preempt", help="stop a running job at a checkpoint and queue it again")
    preempt.add_argument("id", metavar="ID", help="such as ftjob-…")
    preempt.set_defaults(run=_preempt)


def _preempt(asked: argparse.Namespace) -> None:
    print(f"{jobs.preempt(asked.id).id} makes way: it goes on from its checkpoint when it is its turn again.")
