"""The demo's small parts; tests/e2e shows it whole."""

import subprocess

import pytest

from app.embedded.demo.__main__ import asked_for
from app.embedded.demo.job import reason
from app.embedded.demo.screen import Screen


@pytest.mark.parametrize("value", ["", "0", " no ", "False"])
def test_an_option_that_is_given_as_no_is_off(monkeypatch, value):
    monkeypatch.setenv("FAST", value)
    assert not asked_for("FAST")


def test_an_option_that_is_given_is_on(monkeypatch):
    monkeypatch.setenv("FAST", "1")
    assert asked_for("FAST")


def test_what_went_wrong_fits_on_a_line():
    failed = subprocess.CalledProcessError(1, ["ask"], stderr="Traceback:\n  line 1\nKeyError: 'x'\n")
    assert reason(failed).endswith("returned non-zero exit status 1. KeyError: 'x'")
    assert reason(OSError("first\n\nsecond")) == "first second"
    assert reason(TimeoutError()) == "TimeoutError"


def test_every_headline_has_its_number(capsys):
    screen = Screen()
    screen.headline("Upload")
    screen.line("between")
    screen.headline("Pause")
    assert capsys.readouterr().out == "\n1. Upload\nbetween\n\n2. Pause\n"
