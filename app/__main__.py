"""The operator's commands: `python -m app keys create|list|revoke`, `orgs list|set`, `jobs preempt`."""

import argparse
import sys
from collections.abc import Sequence

from app.commands import jobs, keys, orgs
from app.config import SettingsError, require
from app.core.errors import JobServiceError
from app.store import db

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 when it failed, 2 when it was not understood."""
    asked = _parser().parse_args(arguments)
    try:
        require("database_url")
        asked.run(asked)
    except (JobServiceError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    finally:
        db.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Tuneyard's commands for its operator.")
    things = parser.add_subparsers(required=True, metavar="keys|orgs|jobs")
    for thing in (keys, orgs, jobs):
        thing.add(things)
    return parser


if __name__ == "__main__":
    sys.exit(main())
