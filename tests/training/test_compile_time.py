"""The expected compile time: estimated from the program, then from what this machine has measured."""

import re

import pytest
from conftest import TINY

from jaxloop.api import read
from jaxloop.core import devices, size_classes
from jaxloop.core.bucket import undivided
from jaxloop.training import compile_time


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function from overrides to `expected`'s arguments, on a machine that has compiled nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "sweep.toml"
    file.write_text(TINY)

    def of(*overrides):
        sweep, task = read(file, overrides)
        return sweep, task, undivided(sweep)[0], devices.member_mesh()

    return of


def seconds(said):
    return int(re.fullmatch(r"(?:about|last time) (\d+) s", said)[1])


def test_a_larger_model_is_expected_to_take_longer(program):
    small, large = (seconds(compile_time.expected(*program(f"hparams.depth={depth}"))) for depth in (1, 30))
    assert 1 <= small < large


def test_a_program_of_a_known_kind_takes_what_the_last_one_did(program):
    compile_time.keep(17.4, *program())
    assert compile_time.expected(*program("hparams.width=7")) == "last time 17 s"
    assert compile_time.expected(*program("hparams.optimizer='sgd'")).startswith("about ")


def test_a_machine_that_took_ten_times_the_estimate_is_expected_to_again(program):
    before = seconds(compile_time.expected(*program("hparams.depth=30")))
    compile_time.keep(10 * compile_time._estimate(*program()[:3]), *program())
    other = program("hparams.depth=30", "hparams.optimizer='sgd'")
    assert seconds(compile_time.expected(*other)) > 5 * before


def test_a_program_from_the_cache_says_nothing_about_the_next(program):
    before = compile_time.expected(*program("hparams.depth=30"))
    for taken in (0.1, compile_time.WORTH_KEEPING):
        compile_time.keep(taken, *program())
    assert compile_time.expected(*program("hparams.depth=30")) == before


def test_only_the_first_of_a_kind_tells_how_slow_a_machine_is(program):
    compile_time.keep(100.0, *program())
    other = program("hparams.depth=30", "hparams.optimizer='sgd'")
    before = compile_time.expected(*other)
    compile_time.keep(4.0, *program())
    assert compile_time.expected(*other) == before


def test_each_size_class_takes_its_time(program):
    sweep, task, _, _ = program("axes.width.values=[4,60]")
    (one,) = size_classes.recorded(sweep, [[list(range(len(sweep.members)))]])
    first = [number for number, member in enumerate(sweep.members) if member["width"] == 4]
    rest = [number for number in range(len(sweep.members)) if number not in first]
    (two,) = size_classes.recorded(sweep, [[first, rest]])
    estimates = [compile_time._estimate(sweep, task, bucket) - compile_time.FIXED_SECONDS for bucket in (one, two)]
    assert 1.5 * estimates[0] < estimates[1] < 2.5 * estimates[0]
