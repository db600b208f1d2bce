"""--inspect counts what training will see, and never loads torch."""

import json
import subprocess
import sys

import pytest

from tests.trainer.conftest import build_tokenizer, chat, of_kind, train_here, write_job, write_rows
from tests.trainer.process import ENVIRONMENT, ROOT

LOADED = "import sys, runpy\nsys.argv = ['trainer', '--inspect', sys.argv[1]]\nimport os\n" \
    "end = os._exit\nos._exit = lambda code: (print(json.dumps(sorted(m for m in sys.modules " \
    "if m.split('.')[0] in ('torch', 'peft') and sys.modules[m])), file=sys.stderr), end(code))\n" \
    "import json\nrunpy.run_module('workers.trainer', run_name='__main__')"  # fmt: skip


def inspect(job):
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, str(job)], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return ended, [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def job(tiny, tmp_path):
    return write_job(tmp_path / "job", tiny, max_length=24, epochs=1)


def test_it_counts_rows_tokens_and_cuts_as_training_does_and_loads_no_torch(job):
    long = {"messages": chat(6)["messages"] * 4}
    tools = {**chat(3), "tools": [{"type": "function", "function": {"name": "f"}}]}
    write_rows(job / "valid.jsonl", [chat(1), long, chat(2), tools])
    ended, [train, valid] = inspect(job)
    assert ended.returncode == 0
    assert json.loads(ended.stderr.splitlines()[-1]) == []
    assert (train["file"], train["rows"], train["finding_count"]) == ("train.jsonl", 24, 0)
    assert valid["cut"] == {"count": 1, "lines": [2]}
    assert valid["longest"] > 24
    assert [(f["line"], f["code"]) for f in valid["findings"]] == [(4, "tools_ignored")]
    write_rows(job / "valid.jsonl", [chat(1)])
    done = of_kind(train_here(job), "done")[0]
    assert done["trained_tokens"] == train["tokens"]


def test_a_model_that_is_not_there_is_an_error_line_and_exit_1(job):
    spec = json.loads((job / "spec.json").read_text())
    spec["model"]["source"] = str(job / "nowhere")
    (job / "spec.json").write_text(json.dumps(spec))
    ended, lines = inspect(job)
    assert (ended.returncode, [line["code"] for line in lines]) == (1, ["model_load_failed"])


def test_a_template_that_cannot_be_used_is_an_error_line_and_exit_1(job, tmp_path):
    build_tokenizer(tmp_path / "odd", template="always the same")
    spec = json.loads((job / "spec.json").read_text())
    spec["model"]["source"] = str(tmp_path / "odd")
    (job / "spec.json").write_text(json.dumps(spec))
    ended, lines = inspect(job)
    assert (ended.returncode, [line["code"] for line in lines]) == (1, ["chat_template_unsupported"])


def test_what_is_not_json_is_a_finding_with_its_line(job):
    with (job / "train.jsonl").open("a") as file:
        file.write('{"messages": \n')
    _, [train, _] = inspect(job)
    assert [(f["line"], f["code"]) for f in train["findings"]] == [(25, "not_json")]
