"""A program is compiled once a process, and again only when something that it depends on changes."""

import re

import pytest
from conftest import TINY

import jaxloop
from jaxloop.core import devices, executable, program
from jaxloop.core.bucket import undivided
from jaxloop.core.slot_counts import DEFAULT_LIMITS, slot_counts
from jaxloop.sweep import sweep
from jaxloop.tasks import digits
from jaxloop.tasks.load import load
from jaxloop.training import compile_time

SMALL = ("hparams.width=4", "hparams.depth=1", "population.capacity=4")


@pytest.fixture
def compiled(monkeypatch):
    """Counts the programs that a sweep's buckets would compile, all of one task."""
    calls, task, mesh = [], digits(), devices.member_mesh()
    monkeypatch.setattr(executable, "_compiled", lambda *arguments: calls.append(arguments))

    def count(*overrides):
        del calls[:]
        swept = sweep.parse(TINY, (*SMALL, *overrides))
        for bucket in undivided(swept):
            counts = slot_counts(swept, task, bucket, mesh, DEFAULT_LIMITS)
            rows = program.rounded_up_rows(min(counts.capacity, program.distinct_batches(swept, bucket)))
            executable.executable(swept, task, bucket, mesh, counts, rows)
        return len(calls)

    return count


def test_what_is_traced_needs_no_other_program(compiled):
    assert compiled() == 1
    assert compiled() == 0
    assert compiled("axes.learning_rate={values=[0.5, 0.2, 0.1]}", "run.steps=100", "hparams.b1=0.8") == 0
    assert compiled("evaluate.metric=validation/accuracy", "checkpoint.every=60", "axes.seed.count=4") == 0


@pytest.mark.parametrize(
    "override",
    [
        "run.evaluate_every=10",
        "evaluate.batch_size=100",
        "checkpoint.best=validation/loss",
        "checkpoint.best=validation/accuracy",
        "hparams.batch_size=16",
        "hparams.optimizer=sgd",
        "hparams.width=5",
        "axes.width={values=[4, 8]}",
        "hparams.dropout=0.1",
        "hparams.ema_decay=0.9",
        "hparams.precision=bfloat16",
        "population.capacity=8",
        "population.group_size=1",
    ],
)
def test_what_changes_a_program_has_it_compiled_anew(compiled, override):
    compiled()
    assert compiled(override) == 1


def test_tasks_that_ship_are_one_in_a_process_unless_files_may_have_changed(tmp_path):
    def task(**options):
        return load("digits", tmp_path, options)

    assert task() is task()
    assert task(seed=1) is not task()
    (tmp_path / "words.txt").write_text("to be or not to be " * 200)
    text = [load("text", tmp_path, {"path": "words.txt"}) for _ in range(2)]
    assert text[0] is not text[1]


@pytest.mark.slow
def test_a_run_tells_how_long_its_program_will_take_to_compile(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    phases = []

    class Observer:
        phase = staticmethod(phases.append)

        def __call__(self, progress):
            pass

    for name, least in (("first", 0.0), ("second", 1000.0), ("third", 1000.0)):
        monkeypatch.setattr(compile_time, "WORTH_KEEPING", least)
        swept = sweep.parse(TINY, (*SMALL, f"hparams.depth={3 if name == 'third' else 1}", "run.steps=20"))
        jaxloop.run(swept, out=tmp_path / name, observe=Observer()).close()
    compiling = [phase for phase in phases if phase.startswith("compiling")]
    assert re.fullmatch(r"compiling program 1 of 1 \(about [1-9]\d* s\)", compiling[0])
    assert re.fullmatch(r"compiling program 1 of 1 \(last time [1-9]\d* s\)", compiling[1])
    assert compiling[2] == compiling[1]  # other sizes, but the same kind of program


def test_a_second_run_in_a_process_compiles_nothing_and_has_the_same_bits(tmp_path, monkeypatch):
    swept = sweep.parse(TINY, SMALL)
    first = jaxloop.run(swept, out=tmp_path / "first")
    monkeypatch.setattr(executable, "_compiled", None)  # a call would raise
    second = jaxloop.run(swept, out=tmp_path / "second")
    for member in range(6):
        assert first.store.points(member) == second.store.points(member)
