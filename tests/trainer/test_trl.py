"""The engine computes what TRL computes: same model, rows, order and batches, same losses."""

import pytest
import torch

from tests.bench.engine import Profile, Setting, child_trl, child_tuneyard
from tests.trainer.conftest import build_model, chat, write_rows

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training_type", ["full", "lora"])
def test_the_first_steps_have_trls_losses(tmp_path, training_type):
    build_model(tmp_path / "model")
    write_rows(tmp_path / "train.jsonl", [chat(place) for place in range(40)])
    setting, profile = Setting(training_type, 1, "float32"), Profile(steps=10, batch_size=4, rounds=1, starts=0)
    ours = child_tuneyard(tmp_path, setting, profile)["losses"]
    torch.use_deterministic_algorithms(False)
    theirs = child_trl(tmp_path, setting, profile)["losses"]
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours[-1] < ours[0]
