"""Jobs that wait, and what the tables say of them in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.blobs import storage
from app.core import names
from app.core.job import File, Job
from app.core.states import Status
from app.store import files, jobs, keys
from app.store.db import transaction

MODEL = "tuneyard-tiny"
ROW = b'{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "yes"}]}\n'
ROWS = 10
AT_A_TIME = 500
STAGES = 3

ENDS = """
    select j.id, j.status, j.attempt, coalesce(m.n, 0) as models, coalesce(e.n, 0) as ends
      from jobs j
      left join (select job_id, count(*) n from models group by job_id) m on m.job_id = j.id
      left join (select job_id, count(*) n from job_events
                  where data->>'status' in ('succeeded', 'failed', 'cancelled') group by job_id) e on e.job_id = j.id
"""
LEFT = "select exists (select from jobs where finished_at is null) as found"


@dataclass(frozen=True)
class Verdict:
    """Jobs that are not as they must be: each is succeeded, claimed once a stage, ended once, and has one model."""

    lost: int
    claimed_again: int
    ended_otherwise: int
    without_their_model: int


def made(count: int) -> list[Job]:
    """So many new jobs of one project, all on the same file, which nobody was told of yet."""
    found: list[Job] = []
    key_id, file_id = _owner()
    while len(found) < count:
        with transaction() as conn:
            found += [
                jobs.insert(
                    conn,
                    names.job_id(),
                    project_id="default",
                    key_id=key_id,
                    queue="train",
                    spec={
                        "model": MODEL,
                        "base": MODEL,
                        "training_file": file_id,
                        "validation_file": None,
                        "suffix": None,
                        "seed": 1,
                        "method": "supervised",
                        "hyperparameters": {"epochs": 1},
                    },
                    metadata=None,
                    idem_key=None,
                    idem_hash="",
                )
                for _ in range(min(AT_A_TIME, count - len(found)))
            ]
    return found


def _owner() -> tuple[str, str]:
    """The ids of a key and of a file of training rows."""
    file_id = names.file_id()
    written = storage().put(f"files/{file_id}", b"".join(ROW % number for number in range(ROWS)))
    with transaction() as conn:
        key = keys.adopt(conn, names.api_key())
        files.insert(
            conn,
            File(
                id=file_id,
                project_id="default",
                filename="rows.jsonl",
                purpose="fine-tune",
                bytes=written.size,
                sha256=written.sha256,
                path=f"files/{file_id}",
                created_at=datetime.now(UTC),
            ),
        )
    return key.id, file_id


def count() -> None:
    """Let the planner know how many there are, as autovacuum does within a minute."""
    with transaction() as conn:
        conn.execute("analyze jobs")


def unfinished() -> bool:
    """Whether a job has not ended."""
    with transaction() as conn:
        row = conn.execute(LEFT).fetchone()
    return row is not None and bool(row["found"])


def verdict(asked: Sequence[Job]) -> Verdict:
    """What became of these jobs."""
    with transaction() as conn:
        found = {row["id"]: row for row in conn.execute(ENDS)}
    rows = [found[job.id] for job in asked if job.id in found]
    missing = len(asked) - len(rows)
    return Verdict(
        lost=missing + sum(row["status"] != Status.SUCCEEDED for row in rows),
        claimed_again=sum(row["attempt"] != STAGES for row in rows),
        ended_otherwise=sum(row["ends"] != 1 for row in rows),
        without_their_model=sum(row["models"] != 1 for row in rows),
    )
