"""Settings from an environment."""

import pytest

from app.config import Settings, SettingsError, load


def test_an_empty_environment_gives_the_defaults():
    assert load({}) == Settings()


def test_a_setting_is_read_by_its_name_in_upper_case():
    assert load({"LEASE_SECONDS": "5"}).lease_seconds == 5.0


def test_an_empty_value_is_the_default():
    assert load({"LEASE_SECONDS": ""}).lease_seconds == 60.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "soon"),
        ("LEASE_SECONDS", "-1"),
        ("LEASE_SECONDS", "nan"),
        ("DISPATCH_AHEAD", "1.5"),
        ("TRAINER_STANDBY", "maybe"),
        ("RESULT_FILES", "zip"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name):
        load({name: value})
