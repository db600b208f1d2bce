"""`python -m app keys`: what the operator types, and what comes of it."""

import os
import subprocess
import sys

import pytest
from werkzeug.datastructures import Headers

from app import __main__ as command
from app.auth import authenticate
from app.core.errors import Unauthenticated
from app.store.db import transaction
from tests.services import eventually

CREATE = ["keys", "create", "--project", "p", "--org", "o", "--name", "laptop"]


@pytest.fixture(autouse=True)
def no_keys(database):
    with transaction() as conn:
        conn.execute("truncate job_events, checkpoints, models, jobs, files, api_keys, projects, orgs cascade")


def ran(capsys, *arguments: str):
    code = command.main(arguments)
    told = capsys.readouterr()
    return code, told.out, told.err


def caller(secret: str):
    return authenticate(Headers({"Authorization": f"Bearer {secret}"}))


def is_refused(secret: str) -> bool:
    try:
        caller(secret)
    except Unauthenticated:
        return True
    return False


def test_a_new_key_is_printed_alone_on_stdout_and_works(capsys):
    code, out, err = ran(capsys, *CREATE)
    assert code == 0
    who = caller(out.strip())
    assert (who.project_id, who.org_id, who.scopes) == ("p", "o", {"read", "write"})
    assert who.key_id in err
    assert out.strip() not in err


def test_scopes_and_strictness_are_the_keys_own(capsys):
    _, out, _ = ran(capsys, *CREATE, "--scopes", "owner, read", "--strict")
    who = caller(out.strip())
    assert who.scopes == {"owner", "read"}
    assert who.strict_status is True


def test_the_list_shows_every_key_and_no_secret(capsys):
    _, first, _ = ran(capsys, *CREATE)
    _, second, _ = ran(capsys, "keys", "create", "--project", "q", "--org", "o", "--name", "ci")
    code, out, _ = ran(capsys, "keys", "list")
    assert code == 0
    assert "laptop" in out
    assert "ci" in out
    assert first.strip() not in out
    assert second.strip() not in out
    assert "laptop" not in ran(capsys, "keys", "list", "--project", "q")[1]


def test_a_revoked_key_no_longer_works_and_is_listed_as_revoked(capsys):
    _, out, _ = ran(capsys, *CREATE)
    key_id = caller(out.strip()).key_id
    assert ran(capsys, "keys", "revoke", key_id)[0] == 0
    eventually(lambda: is_refused(out.strip()), seconds=5)
    assert "revoked" in ran(capsys, "keys", "list")[1]
    assert ran(capsys, "keys", "revoke", key_id)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((*CREATE, "--scopes", "admin"), "read, write, owner"),
        ((*CREATE, "--scopes", ""), "scopes"),
        (("keys", "create", "--project", "a/b", "--org", "o", "--name", "n"), "project"),
        (("keys", "create", "--project", "p", "--org", "x" * 65, "--name", "n"), "org"),
        (("keys", "create", "--project", "p", "--org", "o", "--name", ""), "name"),
        (("keys", "revoke", "key_none"), "No API key 'key_none'"),
    ],
)
def test_what_cannot_be_done_is_said_on_stderr_with_exit_code_1(capsys, arguments, reason):
    code, out, err = ran(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert reason in err


def test_a_project_belongs_to_one_organization(capsys):
    ran(capsys, *CREATE)
    code, _, err = ran(capsys, "keys", "create", "--project", "p", "--org", "another", "--name", "n")
    assert code == 1
    assert "'another' has no project 'p'" in err


@pytest.mark.parametrize("arguments", [[], ["keys"], ["keys", "create"], ["keys", "revoke"], ["nonsense"]])
def test_what_is_not_understood_is_explained_with_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_command_runs_as_a_program_and_names_the_setting_it_misses(database):
    bare = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    listed = subprocess.run([sys.executable, "-m", "app", "keys", "list"], capture_output=True, text=True, check=False)
    failed = subprocess.run(
        [sys.executable, "-m", "app", "keys", "list"], capture_output=True, text=True, env=bare, check=False
    )
    assert (listed.returncode, listed.stderr) == (0, "")
    assert (failed.returncode, failed.stderr) == (1, "error: DATABASE_URL is not set\n")
