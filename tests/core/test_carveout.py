"""The rows that are held out are a function of seed, number and share, and every row is as likely as another."""

import pytest

from app.core import carveout


@pytest.mark.parametrize(
    ("rows", "share", "held_out"),
    [(100, 0.1, 10), (10, 0.05, 1), (24, 0.2, 5), (7, 0.5, 4), (3, 0.01, 1), (100, 0.0, 0), (1, 0.5, 0), (0, 0.5, 0)],
)
def test_so_many_rows_are_held_out_and_no_other_number(rows, share, held_out):
    assert carveout.count(rows, share) == held_out
    places = carveout.places(rows, share, seed=3)
    assert len(places) == held_out
    assert places == sorted(set(places) & set(range(rows)))


def test_the_places_are_those_that_an_earlier_start_of_the_job_found():
    assert carveout.places(20, 0.25, seed=7) == [1, 3, 6, 8, 10]
    assert carveout.places(20, 0.25, seed=8) == [0, 2, 4, 12, 14]


def test_no_place_is_likelier_than_another():
    held = [place for seed in range(2000) for place in carveout.places(10, 0.3, seed=seed)]
    assert all(520 < held.count(place) < 680 for place in range(10))


def test_what_is_trained_on_is_the_file_without_what_is_held_out():
    counted = {"rows": 10, "tokens": 500, "longest": 90, "format": "chat", "held_out": {"rows": 2, "tokens": 120}}
    assert carveout.trained_part(counted) == {"rows": 8, "tokens": 380, "longest": 90}
    assert carveout.trained_part({"rows": 10, "tokens": 500}) == {"rows": 10, "tokens": 500}
