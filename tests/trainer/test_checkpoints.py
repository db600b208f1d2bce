"""A checkpoint is there whole, or it is not there."""

import json

import pytest

from workers.trainer import checkpoints, publishing


def write(directory, step, kind="resume", *, best=None):
    history = {"best": {"step": best}} if best else {}
    with publishing.published(directory / f"step-{step}") as draft:
        (draft / "state").mkdir()
        (draft / "state" / "history.json").write_text(json.dumps(history))
        manifest = {"step": step, "kind": kind, "metrics": {}, "files": publishing.describe(draft)}
        (draft / "manifest.json").write_text(json.dumps(manifest))


def steps(directory):
    return sorted(int(path.name.removeprefix("step-")) for path in directory.iterdir())


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    for step in (9, 10, 100):
        write(tmp_path, step)
    (tmp_path / "step-100" / "state" / "history.json").write_text("{ }")
    assert checkpoints.newest(tmp_path).step == 10


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"step": 5, "kind": "resume", "metrics": {}, "files": {}}'])
def test_a_manifest_that_vouches_for_nothing_makes_no_checkpoint(tmp_path, content):
    (tmp_path / "step-5").mkdir()
    (tmp_path / "step-5" / "manifest.json").write_text(content)
    assert checkpoints.newest(tmp_path) is None


def test_a_failed_write_leaves_the_old_directory_and_no_draft(tmp_path):
    write(tmp_path, 3)

    def fail():
        with publishing.published(tmp_path / "step-3") as draft:
            (draft / "half").write_text("")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    assert checkpoints.newest(tmp_path).step == 3


def test_publishing_again_replaces_what_was_there(tmp_path):
    write(tmp_path, 3, "stop")
    write(tmp_path, 3, "epoch")
    assert checkpoints.newest(tmp_path).kind == "epoch"
    assert steps(tmp_path) == [3]


@pytest.mark.parametrize("best", [1, 2])
def test_two_resume_points_three_epochs_and_the_best_of_any_kind_survive(tmp_path, best):
    for step in range(1, 11):
        write(tmp_path, step, "epoch" if step % 2 == 0 else "resume", best=best)
    checkpoints.prune(tmp_path)
    assert steps(tmp_path) == [best, 6, 7, 8, 9, 10]


def test_the_best_one_of_the_last_but_one_survives_a_new_best(tmp_path):
    for step, best in ((24, 24), (27, 24), (28, 28)):
        write(tmp_path, step, best=best)
    checkpoints.prune(tmp_path)
    assert steps(tmp_path) == [24, 27, 28]
    write(tmp_path, 29, best=28)
    checkpoints.prune(tmp_path)
    assert steps(tmp_path) == [28, 29]


def test_only_checkpoints_beyond_the_step_are_dropped_readable_or_not(tmp_path):
    for step in (3, 4, 5):
        write(tmp_path, step)
    (tmp_path / "step-5" / "manifest.json").write_text("")
    (tmp_path / "step-9").mkdir()
    checkpoints.drop_beyond(tmp_path, 3)
    assert steps(tmp_path) == [3]


def test_drafts_of_a_killed_process_are_swept_away(tmp_path):
    (tmp_path / "step-4.tmp123").mkdir()
    (tmp_path / "step-4.old123").mkdir()
    write(tmp_path, 4)
    publishing.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-4"]
