"""What becomes of the suite's results: counted, and every failure either announced or ours."""

import tomllib
from pathlib import Path

import pytest

from tests.conformance.suite import CLIENTS, Result, read, requirements
from tests.conformance.verdict import by_module, judge

ROOT = Path(__file__).resolve().parents[2]
REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.a.TestA" name="test_passes[loose]"/>
<testcase classname="tests.a.TestA" name="test_fails"><failure message="expected a string">line 3</failure></testcase>
<testcase classname="tests.a.TestA" name="test_breaks"><error message="no fixture">line 4</error></testcase>
<testcase classname="tests.a.TestA" name="test_waits"><skipped message="never mind"/></testcase>
</testsuite></testsuites>"""
PASSED = Result("tests.test_files.TestFiles::test_method_list", "passed", "")
GRADER = "tests.api_resources.fine_tuning.alpha.test_graders.TestGraders::test_method_run[loose]"
GONE = "openai.NotFoundError: Error code: 404 - Unknown request URL: POST /v1/fine_tuning/alpha/graders/run"


def test_a_report_is_read_test_by_test(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    found = read(tmp_path / "report.xml")
    assert [(result.test, result.outcome) for result in found] == [
        ("tests.a.TestA::test_breaks", "failed"),
        ("tests.a.TestA::test_fails", "failed"),
        ("tests.a.TestA::test_passes[loose]", "passed"),
        ("tests.a.TestA::test_waits", "skipped"),
    ]
    assert "expected a string" in found[1].text


def test_the_results_of_each_module_are_counted_apart():
    assert by_module([PASSED, PASSED, Result(GRADER, "failed", GONE)]) == [
        "tests.test_files: 2 tests: 2 passed, 0 failed, 0 skipped",
        "fine_tuning.alpha.test_graders: 1 tests: 0 passed, 1 failed, 0 skipped",
    ]


def test_a_failure_that_was_announced_is_named_and_conforms():
    found = judge([PASSED, Result(GRADER, "failed", GONE)])
    assert found.conforms
    assert list(found.awaited.values()) == [[GRADER]]
    assert found.line == "2 tests: 1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize(
    "failed",
    [
        Result(GRADER, "failed", "openai.InternalServerError: Error code: 500"),
        Result(PASSED.test, "failed", GONE),
    ],
    ids=["an announced test for another reason", "another test for the announced reason"],
)
def test_any_other_failure_is_ours(failed):
    found = judge([PASSED, failed])
    assert not found.conforms
    assert found.unexplained == [failed]


def test_a_suite_of_which_nothing_passed_does_not_conform():
    assert not judge([]).conforms
    assert not judge([Result(GRADER, "failed", GONE)]).conforms


def test_the_suites_are_those_of_the_clients_which_the_project_pins():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    wanted = requirements()
    assert {line for line in wanted if line.startswith("openai==")} <= set(extras["embedded"])
    assert {client.package for client in CLIENTS} <= {line.partition("==")[0] for line in wanted}
    assert all("==" in line for line in wanted)
