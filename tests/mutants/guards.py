"""The guards of the protocol, and for each the test that must fail, and say why, when it is gone."""

from dataclasses import dataclass

LEASES = "app/store/leases.py"
JOBS = "app/store/jobs.py"
EVENTS = "app/store/events.py"
CHECKPOINTS = "app/store/checkpoints.py"
MODELS = "app/store/models.py"
PERMISSIONS = "app/store/permissions.py"
WINDOWS = "app/store/windows.py"
TABLES = "app/store/migrations/0001_jobs.sql"
SHARES = "app/store/migrations/0002_shares.sql"
LIFELINE = "workers/trainer/lifeline.py"

OF_GUARDS = "tests/store/test_guards.py"
OF_LEASES = "tests/store/test_leases.py"
OF_RIVALS = "tests/store/test_rivals.py"
OF_SCHEMA = "tests/store/test_schema.py"
OF_STARTS = "tests/store/test_starts.py"
OF_WINDOWS = "tests/store/test_windows.py"
OF_WATCHDOG = "tests/trainer/test_watchdog.py"


@dataclass(frozen=True)
class Mutant:
    """A guard, the replacements in one file that take it out, and the test that must fail and call it by `word`."""

    guard: str
    path: str
    changes: dict[str, str]
    word: str
    test: str


def fenced(path: str, write: str, statement: str) -> list[Mutant]:
    """The two clauses of the fence, each taken out of one statement alone; `statement` is the text around {FENCE}."""
    clauses = {"attempt": "lease_owner = %(owner)s", "owner": "attempt = %(attempt)s"}
    return [
        Mutant(
            f"the fence's {clause} in {write}",
            path,
            {statement: statement.replace("{FENCE}", f"id = %(id)s and {rest}")},
            word=clause,
            test=f"{OF_GUARDS}::test_the_{clause}_in_the_fence_stops_a_late_writer_whose_"
            + ("owner_claimed_again" if clause == "attempt" else "attempt_is_still_the_last")
            + f"[{write}]",
        )
        for clause, rest in clauses.items()
    ]


FENCES = [
    *fenced(LEASES, "renew", "{FENCE} returning {WANTED}"),
    *fenced(LEASES, "freeze_environment", "{FENCE} returning id"),
    *fenced(LEASES, "finish", "{FENCE} returning {COLUMNS}"),
    *fenced(LEASES, "surrender", 'loss = %(loss)s where {FENCE}"'),
    *fenced(EVENTS, "append", "{FENCE} for share"),
    *fenced(CHECKPOINTS, "record", "{FENCE} returning id"),
    *fenced(CHECKPOINTS, "drop_beyond", "{FENCE} for share"),
]

CLAUSES = [
    Mutant(
        "the lease check in claim",
        LEASES,
        {"desired = 'run' and lease_owner is null": "desired = 'run'"},
        word="held",
        test=f"{OF_LEASES}::test_a_second_claim_of_a_held_job_gets_nothing",
    ),
    Mutant(
        "the status that claim serves",
        LEASES,
        {"status = %(ready)s and": ""},
        word="another task",
        test=f"{OF_LEASES}::test_a_claim_for_another_task_gets_nothing",
    ),
    Mutant(
        "the wait before claim",
        LEASES,
        {"and not_before <= clock_timestamp()": ""},
        word="not due",
        test=f"{OF_LEASES}::test_a_job_that_is_not_due_is_not_claimed",
    ),
    Mutant(
        "cancel's precedence in finish",
        LEASES,
        {"when desired = 'cancel' then 'cancelled'\n": "\n"},
        word="cancel wins",
        test=f"{OF_LEASES}::test_a_pending_cancel_wins_over_success",
    ),
    Mutant(
        "cancel's precedence in take_back",
        LEASES,
        {"case when desired = 'cancel' then 'cancelled' when crashes": "case when crashes"},
        word="cancel wish",
        test=f"{OF_LEASES}::test_a_lapsed_run_with_a_cancel_wish_is_cancelled",
    ),
    Mutant(  # either alone is enough: each is tried again on a row that was changed meanwhile
        "the row lock and the recheck in take_back",
        LEASES,
        {
            "for update skip locked)": ")",
            "where j.id = x.id and j.lease_until <= clock_timestamp()": "where j.id = x.id",
        },
        word="rechecks",
        test=f"{OF_GUARDS}::test_a_take_back_rechecks_a_lease_that_is_renewed_beside_it",
    ),
    Mutant(
        "crashes forgiven with progress only",
        LEASES,
        {"then 0 else crashes end": "then 0 else 0 end"},
        word="forgives no losses",
        test=f"{OF_GUARDS}::test_a_turn_without_progress_forgives_no_losses",
    ),
    Mutant(
        "the limit of losses in a row",
        LEASES,
        {"LOSSES_ALLOWED = 3": "LOSSES_ALLOWED = 1000"},
        word="fourth loss",
        test=f"{OF_LEASES}::test_the_fourth_loss_in_a_row_fails_the_job",
    ),
    Mutant(
        "pause never erases a cancel",
        JOBS,
        {"('queued', 'running', 'paused')\n           and desired <> 'cancel'": "('queued', 'running', 'paused')"},
        word="pause never erases a cancel",
        test=f"{OF_LEASES}::test_a_pause_never_erases_a_cancel",
    ),
    Mutant(
        "resume never erases a cancel",
        JOBS,
        {"('paused', 'queued', 'running')\n           and desired <> 'cancel'": "('paused', 'queued', 'running')"},
        word="resume never erases a cancel",
        test=f"{OF_GUARDS}::test_a_resume_never_erases_a_cancel",
    ),
    Mutant(
        "FOR SHARE in append",
        EVENTS,
        {"{FENCE} for share": "{FENCE}"},
        word="shares the row",
        test=f"{OF_GUARDS}::test_an_append_shares_the_row_so_that_a_take_back_beside_it_comes_before_or_after",
    ),
    Mutant(
        "the window's limit in dispatch",
        WINDOWS,
        {"order by place limit %(ahead)s": "order by place limit 1000", "= 0 then %(ahead)s": "= 0 then 1000"},
        word="window is never larger",
        test=f"{OF_WINDOWS}::test_the_window_is_never_larger_than_its_size",
    ),
    Mutant(
        "dispatch one at a time",
        WINDOWS,
        {'"select pg_advisory_xact_lock': '"select abs'},
        word="rivals",
        test=f"{OF_RIVALS}::test_rivals_that_each_see_another_job_due_never_exceed_the_window",
    ),
]

STARTS = [
    Mutant(
        "the hold of a create on what it goes on from",
        PERMISSIONS,
        {'"for share" if hold else ""': '""'},
        word="delete waits for a create",
        test=f"{OF_STARTS}::test_a_delete_waits_for_a_create_that_has_found_the_model",
    ),
    Mutant(
        "a deleted model stays for a job",
        MODELS,
        {"path <> '' and not {BEGUN_WITH} limit 100": "path <> '' limit 100"},
        word="deleted model stays",
        test=f"{OF_STARTS}::test_a_deleted_model_stays_without_its_link_until_the_job_that_goes_on_from_it_has_ended",
    ),
    Mutant(
        "a superseded checkpoint stays for a job",
        CHECKPOINTS,
        {"if checkpoint.path not in needed": ""},
        word="keeps its bytes",
        test=f"{OF_STARTS}::test_a_checkpoint_that_is_superseded_while_a_create_has_found_it_keeps_its_bytes",
    ),
]

TABLE_GUARDS = [
    Mutant(
        "the guard against illegal moves",
        SHARES,
        {"if new.status <> old.status and not exists": "if false and not exists"},
        word="move outside the table",
        test=f"{OF_SCHEMA}::test_a_move_outside_the_table_is_refused",
    ),
    Mutant(
        "the guard against a falling attempt",
        SHARES,
        {"if new.attempt < old.attempt then": "if false then"},
        word="falling attempt",
        test=f"{OF_SCHEMA}::test_a_falling_attempt_is_refused",
    ),
    Mutant(
        "the log is append-only",
        TABLES,
        {"raise exception 'job_events is append-only';": "return coalesce(new, old);"},
        word="append only",
        test=f"{OF_SCHEMA}::test_the_log_is_append_only",
    ),
    Mutant(
        "one job of an Idempotency-Key",
        TABLES,
        {"create unique index jobs_idempotency": "create index jobs_idempotency"},
        word="one idempotency key",
        test=f"{OF_GUARDS}::test_one_idempotency_key_makes_one_job",
    ),
]

WATCHDOG = [
    Mutant(
        "the trainer's watchdog",
        LIFELINE,
        {'threading.Thread(target=self._watch, name="lifeline", daemon=True).start()': "pass"},
        word="watchdog",
        test=f"{OF_WATCHDOG}::test_the_watchdog_ends_a_stuck_trainer_at_the_end_of_its_stdin",
    ),
    Mutant(
        "the watchdog's end of file",
        LIFELINE,
        {"if line is None:\n                    os._exit(ORPHANED)": "if line is None:\n                    continue"},
        word="watchdog",
        test=f"{OF_WATCHDOG}::test_the_watchdog_ends_a_stuck_trainer_at_the_end_of_its_stdin",
    ),
    Mutant(
        "the watchdog's time",
        LIFELINE,
        {"self.check()": "pass"},
        word="watchdog",
        test=f"{OF_WATCHDOG}::test_the_watchdog_ends_a_stuck_trainer_when_its_time_has_passed",
    ),
]

MUTANTS = [*FENCES, *CLAUSES, *STARTS, *TABLE_GUARDS, *WATCHDOG]
