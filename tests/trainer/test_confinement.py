"""A template that came with the job is refused in words, whatever it does, and its process goes on as it was."""

import gc
import resource
import signal
from pathlib import Path

import pytest

from tests.trainer.conftest import TEMPLATE, build_tokenizer, train_here, write_job
from tests.trainer.process import Trainer, hashes
from tests.trainer.test_resume import StopAtLook
from workers.trainer import confinement, templates
from workers.trainer.failures import Failure
from workers.trainer.spec import Base, OwnTemplate

NESTED = 3000
BAD = {
    "parts without end": ("{{ ([['a' * 1000] * 1000] * 1000)|map('join')|join }}", "took longer|more than 100 MB"),
    "a huge power": ("{{ 10 ** (10 ** 9) }}", "took longer than 0.2 s"),
    "a huge text": ("{{ 'a' * 1000000000 }}", "more than 100 MB"),
    "a wide format": ("{{ '%1000000000d' % 1 }}", "more than 100 MB"),
    "a long answer": ("{% for a in range(5000) %}{{ 'abcdefghij' * 100 }}{% endfor %}", "writes 50001.. characters"),
    "a macro that calls itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    "deep nesting": ("{% if 1 %}" * NESTED + "{% endif %}" * NESTED, "nested too deeply"),
    "loops in loops": ("{% for a in [1] %}" * 60 + "{% endfor %}" * 60, "too many statically nested blocks"),
    "a private attribute": ("{{ messages.__class__ }}", "an attribute that is not allowed: __class__, in line 1"),
    "a private attribute that is nowhere": ("{{ messages[0]['__class__'].__mro__ }}", "not allowed: __mro__"),
    "a change of what it is shown": ("{{ messages.append(1) }}", "not allowed: access to attribute 'append'"),
    "a private attribute in a format": ("{{ '{0.__class__.__mro__}'.format(1) }}", "not allowed: access to attribute"),
    "a range too long": ("{{ range(10000000)|length }}", "Range too big"),
    "an error of Python's": ("{{ 1 // 0 }}", "ZeroDivisionError"),
    "an error of its own": ("{{ raise_exception('never') }}", "plain conversation .never."),
    "an endless error": ("{{ raise_exception('no\\x00' * 1000000) }}", "conversation .no no .{,400}$"),
    "half a character": ("{{ '\\ud800' }}", "half a surrogate pair"),
    "no conversation": ("always the same", "does not hold what the assistant said"),
    "turns without an end": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
        "turns cannot be found in what it renders: wrap each, .* {% endgeneration %}",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(place, template=None)
    return Base("tiny", str(place))


def own(source, place):
    return OwnTemplate(source, seconds=0.2, memory_mb=100, marker=place / "rendering")


def state():
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)
    return [*map(resource.getrlimit, kinds), signal.getsignal(signal.SIGPROF), signal.getitimer(signal.ITIMER_PROF)]


@pytest.fixture
def small_heap():
    """What other tests left behind is not looked through on a template's time: a trainer's process holds little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("small_heap")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one lost in a finalizer comes again
@pytest.mark.parametrize(("source", "told"), BAD.values(), ids=BAD)
def test_a_bad_template_is_refused_and_leaves_no_limit_behind(base, tmp_path, source, told):
    before = state()
    rest = "" if told in (BAD["no conversation"][1], BAD["turns without an end"][1]) else TEMPLATE
    with pytest.raises(Failure, match=told) as refused:
        templates.load(base, own(source + rest, tmp_path))
    assert (refused.value.code, refused.value.param) == ("chat_template_invalid", "chat_template")
    assert state() == before


def test_a_process_in_which_python_gets_no_turn_is_ended_by_the_system(base, tmp_path):
    deaf = "{% set n = 3000000 %}{{ ([[messages|length] * n] * 1000).count([1.0 * messages|length] * n) }}"
    limits = {"source": deaf + TEMPLATE, "seconds": 0.2, "memory_mb": 200}
    job = write_job(tmp_path / "job", Path(base.source), chat_template=limits)
    with Trainer("--inspect", job) as trainer:
        assert trainer.process.wait(60) == -signal.SIGXCPU
    assert (job / "rendering").read_text() == "a plain conversation"


def test_lots_are_drawn_alike_each_time(base, tmp_path):
    drawn = TEMPLATE + "{{ lipsum(n=1) }}"
    asked = [{"role": "user", "content": "a"}]
    template, again = (templates.load(base, own(drawn, tmp_path)) for _ in range(2))
    assert template.prompt(asked, None) == again.prompt(asked, None)


def test_between_rows_the_marker_is_empty(base, tmp_path):
    template = templates.load(base, own(TEMPLATE, tmp_path))
    marker = tmp_path / "rendering"
    with template.confined("line 1"):
        assert marker.read_text() == "line 1"
    assert marker.read_text() == ""


def test_a_conversation_may_grow_with_its_own_length():
    shown = ["a" * 100_000]
    assert confinement.bounded("b" * 1_200_000, shown)
    with pytest.raises(Exception, match="may write 1300040"):
        confinement.bounded("b" * 1_400_000, shown)


@pytest.mark.slow
def test_a_run_resumes_with_its_own_template_to_the_bytes_of_an_undisturbed_one(tiny, tmp_path):
    source = TEMPLATE.replace("{% for", "{{ 'order ' }}{% for", 1)
    changes = {"epochs": 1, "answers": 2, "chat_template": {"source": source, "seconds": 5, "memory_mb": 500}}
    undisturbed, parted, plain = (tmp_path / name for name in ("undisturbed", "parted", "plain"))
    whole = train_here(write_job(undisturbed, tiny, **changes))
    stopped = train_here(write_job(parted, tiny, **changes), lifeline=StopAtLook(24 + 6 + 4 + 2))
    assert stopped[-1]["type"] == "stopped"
    train_here(parted)
    assert hashes(parted / "model") == hashes(undisturbed / "model")
    assert (parted / "model" / "chat_template.jinja").read_text() == source
    without = train_here(write_job(plain, tiny, epochs=1, answers=2))
    assert whole[-1]["trained_tokens"] > without[-1]["trained_tokens"]
    assert hashes(plain / "model") != hashes(undisturbed / "model")
