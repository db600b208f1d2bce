"""The machinery that takes guards out: it can catch, it can let survive, and it knows when its list is stale."""

from dataclasses import replace

import pytest

from tests.mutants.guards import MUTANTS, Mutant
from tests.mutants.trial import PASSED, ROOT, Stale, caught, mutated, try_out

BY_GUARD = {mutant.guard: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("guard", BY_GUARD)
def test_what_a_mutant_replaces_is_in_the_code_exactly_once(guard):
    mutant = BY_GUARD[guard]
    assert mutated(mutant) != (ROOT / mutant.path).read_text("utf-8")


@pytest.mark.parametrize("guard", BY_GUARD)
def test_the_test_of_a_mutant_is_there_and_names_the_guard(guard):
    path, _, name = BY_GUARD[guard].test.partition("::")
    name = name.partition("[")[0]
    assert BY_GUARD[guard].word in f"{path} {name}".replace("_", " ")
    assert f"def {name}" in (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("old", ["no such clause", "lease_owner"])
def test_a_mutant_whose_text_is_gone_or_not_alone_is_stale(old):
    with pytest.raises(Stale, match=old):
        mutated(replace(MUTANTS[0], changes={old: ""}))


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["the fence's owner in finish", "the guard against illegal moves"])
def test_a_missing_guard_is_caught_by_the_test_that_names_it(postgres_url, guard):
    mutant = BY_GUARD[guard]
    assert caught(mutant, try_out(mutant, {"DATABASE_URL": postgres_url}))


@pytest.mark.slow
def test_a_change_that_removes_no_guard_survives(postgres_url):
    harmless = replace(
        BY_GUARD["the fence's owner in finish"], changes={"pending cancel wins": "pending cancel is first"}
    )
    run = try_out(harmless, {"DATABASE_URL": postgres_url})
    assert run.exit_code == PASSED
    assert not caught(harmless, run)


@pytest.mark.slow
def test_a_failure_that_does_not_name_the_guard_does_not_count(postgres_url):
    mutant: Mutant = replace(BY_GUARD["the fence's owner in finish"], word="something else")
    run = try_out(mutant, {"DATABASE_URL": postgres_url})
    assert run.exit_code != PASSED
    assert not caught(mutant, run)
