"""--ask: the same question to base and tuned model."""

import json
import subprocess
import sys

import pytest

from tests.trainer.conftest import TEMPLATE, chat, of_kind, train_here, write_job
from tests.trainer.process import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


OWN = {"source": TEMPLATE.replace("<|im_end|>", "<|im_start|>"), "seconds": 5, "memory_mb": 500}


@pytest.mark.parametrize(("training_type", "own"), [("lora", OWN), ("full", None)])
def test_a_chat_on_stdin_is_answered_by_base_and_by_tuned_model_as_at_the_end_of_the_run(
    tiny, tmp_path, training_type, own
):
    trained = {"training_type": training_type, "epochs": 6, "learning_rate": 0.05, "chat_template": own}
    job = write_job(tmp_path / "job", tiny, **trained, answers=2)
    assert of_kind(train_here(job), "answers")[0]["total"] == 2
    expected = [json.loads(line) for line in (job / "answers.jsonl").read_text().splitlines()]
    asked = "".join(json.dumps({"messages": answer["messages"]}) + "\n" for answer in expected)
    ended = subprocess.run(
        [sys.executable, "-m", "workers.trainer", "--ask", str(tiny), "--tuned", str(job / "model")],
        cwd=ROOT, env=ENVIRONMENT, input=asked, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answered = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["tuned"] for answer in answered] == [answer["tuned"] for answer in expected]
    if own is None:  # a template of the job's own is the tuned model's alone
        assert all(now["base"].startswith(then["base"]) for now, then in zip(answered, expected, strict=True))


def test_a_line_that_is_no_chat_is_an_error_line(tiny):
    asked = json.dumps(chat(1)["messages"]) + "\n"
    ended = subprocess.run(
        [sys.executable, "-m", "workers.trainer", "--ask", str(tiny)],
        cwd=ROOT, env=ENVIRONMENT, input=asked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["code"] == "chat_invalid"
