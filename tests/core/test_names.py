"""Ids and model names."""

import pytest

from app.core import names


def test_a_model_without_a_suffix_has_two_colons():
    assert names.model_name("tiny", "acme", None, "ftjob-abcdefgh12345678") == "ft:tiny:acme::12345678"


def test_spaces_of_a_suffix_become_hyphens():
    assert names.model_name("tiny", "acme", "my model", "ftjob-12345678") == "ft:tiny:acme:my-model:12345678"


def test_ids_do_not_repeat():
    assert len({names.job_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("suffix", ["a", "A b.c-d_1", "x" * 64])
def test_a_suffix_may_be(suffix):
    assert names.SUFFIX.fullmatch(suffix)


@pytest.mark.parametrize("suffix", ["", "x" * 65, "a/b", "a:b", "-a", "a\n", "ä", "a\0"])
def test_a_suffix_may_not_be(suffix):
    assert not names.SUFFIX.fullmatch(suffix)
