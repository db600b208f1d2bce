"""The catalogue file, good and bad; the one that ships is read too."""

from pathlib import Path

import pytest

from app.config import DEFAULT_CATALOGUE
from app.core.catalogue import CatalogueError, load

ENTRY = """
[[model]]
name = "tiny"
aliases = ["gpt-4o-mini"]
source = "./model"
context_length = 512
learning_rate = { lora = 1e-3, full = 1e-4 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_a_model_is_found_by_name_and_by_alias(tmp_path):
    found = load(written(tmp_path, ENTRY))
    assert found.find("tiny") is found.find("gpt-4o-mini") is not None


def test_a_model_that_is_not_there_is_none(tmp_path):
    assert load(written(tmp_path, ENTRY)).find("gpt-5") is None


def test_a_relative_source_starts_at_the_file(tmp_path):
    assert load(written(tmp_path, ENTRY)).models["tiny"].source == str(tmp_path / "model")


def test_a_hub_id_stays_as_it_is(tmp_path):
    path = written(tmp_path, ENTRY.replace("./model", "org/model"))
    assert load(path).models["tiny"].source == "org/model"


@pytest.mark.parametrize(
    "text",
    [
        "[[model]\n",
        ENTRY + ENTRY,
        ENTRY.replace('name = "tiny"', ""),
        ENTRY.replace(", full = 1e-4", ""),
        ENTRY.replace("512", '"many"'),
        ENTRY + 'training_type = "qlora"\n',
    ],
)
def test_a_faulty_catalogue_is_refused_by_its_path(tmp_path, text):
    with pytest.raises(CatalogueError, match=r"models\.toml"):
        load(written(tmp_path, text))


def test_a_missing_catalogue_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match="No such file"):
        load(tmp_path / "models.toml")


def test_the_catalogue_that_ships_is_sound_and_says_what_memory_is_needed():
    models = load(DEFAULT_CATALOGUE).models
    assert "tuneyard-tiny" in models
    assert all(set(model.memory) == {"lora", "full"} for model in models.values())


def test_a_model_names_the_queue_that_its_jobs_wait_in(tmp_path):
    found = load(written(tmp_path, ENTRY + 'queue = "gpu-80gb"\n' + ENTRY.replace('"tiny"', '"other"').replace(
        '"gpt-4o-mini"', '"gpt-4o"')))  # fmt: skip
    assert (found.models["tiny"].queue, found.models["other"].queue) == ("gpu-80gb", "")
    assert found.queues() == ["gpu-80gb"]


def test_a_queue_that_no_worker_could_be_told_is_refused(tmp_path):
    with pytest.raises(CatalogueError):
        load(written(tmp_path, ENTRY + 'queue = "a, b"\n'))


def test_a_catalogue_that_was_edited_is_read_anew(tmp_path):
    assert load(written(tmp_path, ENTRY)).find("other") is None
    assert load(written(tmp_path, ENTRY.replace('"tiny"', '"other"'))).find("other") is not None
