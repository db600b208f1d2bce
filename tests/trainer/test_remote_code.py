"""Code that comes with a model is never run, whatever its configuration asks for."""

import json
import shutil

import pytest
import torch

from tests.trainer.conftest import of_kind, train_here, write_job
from workers.trainer import model, templates
from workers.trainer.failures import Failure
from workers.trainer.spec import Base

CLASSES = {"AutoConfig": "Config", "AutoModelForCausalLM": "Model", "AutoTokenizer": ["Tokenizer", "Tokenizer"]}


@pytest.fixture
def trapped(tiny, tmp_path):
    """A model whose modules leave a trace when they are imported, and the trace."""
    directory, trace = tmp_path / "trapped", tmp_path / "trace"
    shutil.copytree(tiny, directory)
    code = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
    code += "class Config: pass\nclass Model: pass\nclass Tokenizer: pass\ndef generate(**_): pass\n"
    (directory / "custom_generate").mkdir()
    for name in ("trap.py", "custom_generate/generate.py"):
        (directory / name).write_text(code)
    references = {
        kind: [f"trap.{each}" for each in named] if isinstance(named, list) else f"trap.{named}"
        for kind, named in CLASSES.items()
    }
    for name in ("config.json", "tokenizer_config.json"):
        change(directory / name, auto_map=references)
    return directory, trace


def change(path, **keys):
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_the_trap_would_have_left_its_trace(trapped):
    from transformers import AutoTokenizer

    directory, trace = trapped
    with pytest.raises(AttributeError):
        AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    assert trace.exists()


@pytest.mark.slow
def test_a_known_architecture_is_trained_without_its_own_code(trapped, tmp_path):
    directory, trace = trapped
    lines = train_here(write_job(tmp_path / "job", directory, epochs=1))
    assert of_kind(lines, "answers")
    assert not trace.exists()


@pytest.mark.parametrize(
    "load",
    [templates.load, model.count_parameters, lambda base: model.load_base(base, dtype=torch.float32, device="cpu")],
    ids=["tokenizer", "count of parameters", "weights"],
)
def test_an_architecture_that_only_its_own_code_knows_is_refused(trapped, load):
    directory, trace = trapped
    change(directory / "config.json", model_type="trapped")
    change(directory / "tokenizer_config.json", tokenizer_class="TrappedTokenizer")
    with pytest.raises(Failure) as refused:
        load(Base("trapped", str(directory)))
    assert refused.value.code == "model_load_failed"
    assert not trace.exists()
