"""Rivals by the dozen: short leases, late writers, lost and doubled messages, and an owner who changes his mind.

HAMMER_JOBS is the number of jobs; SEED is the seed of every choice but those of the system's scheduler.
"""

import os
import secrets
from collections import Counter

import pytest

from app.store.db import transaction
from tests.store import laws, witness
from tests.store.conftest import made
from tests.store.hammer import Hammer
from tests.store.witness import Witness

JOBS = int(os.environ.get("HAMMER_JOBS", "24"))


@pytest.fixture
def seed() -> str:
    """Shown when the test fails."""
    seed = os.environ.get("SEED") or secrets.token_hex(4)
    print(f"SEED={seed} HAMMER_JOBS={JOBS}")
    return seed


def counts(seen: Witness, kept: dict[str, laws.Kept]) -> str:
    ends = Counter(one.job["status"] for one in kept.values())
    refused = Counter(seen.refused)
    return (
        f"{len(kept)} jobs: {dict(ends)}; {len(seen.begun)} claims, {len(seen.taken_back)} take-backs, "
        f"{len(seen.written)} writes let through, {refused.total()} late ones fenced off: {dict(refused)}"
    )


def test_rivals_with_short_leases_lose_no_job_and_run_none_twice(key_id, seed):
    job_ids = [made(key_id).id for _ in range(JOBS)]
    seen = Hammer(job_ids, seed).run()
    with transaction() as conn:
        kept = laws.kept(conn, job_ids)
    print(counts(seen, kept))
    witness.no_late_write_was_let_through(seen)
    witness.no_two_leases_at_once(seen)
    witness.every_turn_ends_once(seen)
    witness.attempts_rise_by_one(seen, kept)
    witness.the_log_holds_what_was_let_through_and_no_more(seen, kept)
    for one in kept.values():
        laws.hold_of(one)
    turns = dict(seen.turns())
    expected = {job_id: witness.owners_end(seen, job_id, turns.get(job_id, [])) for job_id in job_ids}
    assert {job_id: one.job["status"] for job_id, one in kept.items()} == expected
    assert seen.taken_back
    assert "finish" in seen.refused
