"""Isolation, bit for bit on CPU, and one compilation a run."""

import jax
import numpy as np
import pytest

import jaxloop
from jaxloop import sweep

TASK = """
import jax, jax.numpy as jnp, numpy as np, jaxloop
from jaxloop.tasks import digits
base = digits()
def loss(params, batch, key, hparams):
    value, metrics = base.loss(params, batch, key, hparams)
    return value + jnp.where(hparams["poison"] > 0, jnp.log(-value) * hparams["poison"], 0.0), metrics
task = jaxloop.Task(init=base.init, loss=loss, metrics=base.metrics, data=base.data,
                    hparams={**base.hparams, "poison": 0.0})
"""
SWEEP = """
[run]
task = "digits"
steps = 60
evaluate_every = 20
[hparams]
width = 24
batch_size = 32
clip = 1.0
[axes]
learning_rate = { log = [1e-3, 1e-1], num = 8 }
weight_decay = { values = [0.0, 0.01] }
seed = { count = 4 }
[population]
width = 2
"""


def results(tmp_path, name, *overrides, text=SWEEP):
    """Every member's curve and parameters, by its hparams."""
    swept = sweep.parse(text, overrides, folder=tmp_path, task_hparams=lambda *_: HPARAMS)
    run = jaxloop.run(swept, out=tmp_path / name)
    curves = {metric: run.curves(metric) for metric in ("train/loss", "validation/loss", "test/accuracy")}
    found = {}
    for member in run.members:
        key = tuple((k, v) for k, v in member.hparams.items() if k != "poison")
        tree = jax.tree.leaves(run.params(member)) if member.number % 9 == 0 else []
        found[key] = (*[curve[member.number] for curve in curves.values()], *tree)
    return found


HPARAMS = {}


def assert_same_bits(some, reference):
    assert some
    for key, values in some.items():
        for a, b in zip(values, reference[key], strict=False):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return results(tmp_path_factory.mktemp("reference"), "run")


@pytest.mark.parametrize(
    "overrides",
    [
        ["population.width=8"],
        ["population.width=16"],
        ["population.capacity=8"],  # streamed: eight slots, 64 members
        ["population.width=8", "population.capacity=16"],
        ["axes.learning_rate.num=8", "axes.weight_decay.values=[0.01]"],  # half the neighbours
        ["axes.weight_decay.values=[0.01, 0.0]"],  # another order
    ],
    ids=lambda overrides: ",".join(overrides),
)
def test_a_member_depends_on_nothing_but_itself(tmp_path, reference, overrides):
    assert_same_bits(results(tmp_path, "run", *overrides), reference)


def test_members_differ_from_each_other(reference):
    losses = {values[1].tobytes() for values in reference.values()}
    assert len(losses) == len(reference)


def test_a_neighbour_that_turns_nan_changes_nothing(tmp_path):
    (tmp_path / "poisoned.py").write_text(TASK)
    HPARAMS.update({"poison": 0.0, **jaxloop.tasks.mnist1d().hparams})
    text = SWEEP.replace('"digits"', '"poisoned.py:task"')
    clean = results(tmp_path, "clean", "axes.poison.values=[0.0]", text=text)
    sick = tmp_path / "sick"
    swept = sweep.parse(
        text, ("axes.poison.values=[0.0, 1.0]",), folder=tmp_path, task_hparams=lambda *_: HPARAMS
    )
    run = jaxloop.run(swept, out=sick)
    assert {m.status for m in run.members if m.hparams["poison"]} == {"diverged"}
    beside = run.curves("validation/loss")
    checked = 0
    for member in run.members:
        if member.hparams["poison"] == 0.0:
            key = tuple((k, v) for k, v in member.hparams.items() if k != "poison")
            np.testing.assert_array_equal(beside[member.number], clean[key][1])
            checked += 1
    assert checked == 64


def test_one_program_is_compiled_once_and_never_again(tmp_path, caplog):
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        jaxloop.run(sweep.parse(SWEEP, ("population.capacity=16",)), out=tmp_path / "run")
    compiled = [r.getMessage() for r in caplog.records if "Finished XLA compilation of jit(advance)" in r.getMessage()]
    assert len(compiled) == 1  # 64 members through 16 slots, three chunks each: twelve turns
    assert "jit(advance)" in compiled[0]
