"""Isolation, bit for bit on CPU, and one compilation a run."""

import re

import jax
import numpy as np
import pytest
from conftest import ROOT

import jaxloop
from jaxloop import api
from jaxloop.core import devices, size_classes
from jaxloop.core.bucket import undivided
from jaxloop.core.member import TrainState
from jaxloop.core.population import STATE_FIELDS, grouped, rested
from jaxloop.core.program import compiled
from jaxloop.sweep import sweep
from jaxloop.training import replay

pytestmark = pytest.mark.optimized

TASK = """
import jax.numpy as jnp
import jaxloop
from jaxloop.tasks import digits

base = digits()

def init(key, hparams):
    return {"model": base.init(key, hparams), "clock": jnp.float32(0.0)}

def loss(params, batch, key, hparams):  # adam moves the clock by one learning rate a step
    value, metrics = base.loss(params["model"], batch, key, hparams)
    sick = (hparams["poison"] > 0) & (-params["clock"] > 9.5 * hparams["learning_rate"])
    return jnp.where(sick, jnp.nan, value + params["clock"]), metrics

def metrics(params, batch, hparams):
    return base.metrics(params["model"], batch, hparams)

task = jaxloop.Task(init, loss, metrics, base.data, hparams={**base.hparams, "poison": 0.0}, models=base.models)
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
group_size = 2
"""


def results(run):
    """Every member's curves by its hparams, and its parameters where the seed is 0."""
    curves = [run.curves(metric) for metric in ("train/loss", "validation/loss", "test/accuracy")]
    shared = run.steps() % 20 == 0  # a member that diverges adds a step of its own
    found = {}
    for member in run.members:
        key = tuple((name, value) for name, value in member.hparams.items() if name != "poison")
        tree = jax.tree.leaves(run.params(member)) if member.hparams["seed"] == 0 else []
        if not member.hparams.get("poison"):
            found[key] = [*(curve[member.number, shared] for curve in curves), *tree]
    return found


def trained(folder, *overrides, text=SWEEP):
    (folder / "sweep.toml").write_text(text)
    return results(jaxloop.run(folder / "sweep.toml", out=folder / "run", overrides=overrides))


def assert_same_bits(some, reference):
    trees = 0
    for key, values in some.items():
        trees += len(values) > 3
        for a, b in zip(values, reference[key], strict=True):
            np.testing.assert_array_equal(a, b)
    assert trees == len(some) / 4


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("reference"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["population.capacity=8"],  # streamed: eight slots, 64 members
        ["population.group_size=8", "population.capacity=16"],
        ["axes.weight_decay.values=[0.01, 0.0]"],  # another order
    ],
    ids=lambda overrides: ",".join(overrides),
)
def test_a_member_depends_on_nothing_but_itself(tmp_path, reference, overrides):
    assert_same_bits(trained(tmp_path, *overrides), reference)


@pytest.mark.slow
def test_members_differ_from_each_other(reference):
    losses = {values[1].tobytes() for values in reference.values()}
    assert len(losses) == len(reference)


@pytest.mark.slow
def test_a_neighbour_that_turns_nan_changes_nothing(tmp_path):
    (tmp_path / "poisoned.py").write_text(TASK)
    text = SWEEP.replace('"digits"', '"poisoned.py:task"').replace("clip = 1.0\n", "")
    clean = trained(tmp_path, "axes.poison.values=[0.0]", text=text)
    run = jaxloop.run(tmp_path / "sweep.toml", out=tmp_path / "sick", overrides=("axes.poison.values=[1.0, 0.0]",))
    sick = [m for m in run.members if m.hparams["poison"]]
    assert {(m.status, m.step) for m in sick} == {("diverged", 10)}
    beside = results(run)
    assert len(sick) == len(beside) == 64
    assert_same_bits(beside, clean)


@pytest.mark.slow
def test_members_in_size_classes_have_the_bits_of_a_program_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(size_classes, "COMPILE_SECONDS", 0.0)  # a class for each mix of sizes
    few = "axes.learning_rate.num=2"
    mixed = sweep.parse(SWEEP, (few, "axes.width.values=[8, 24]", "population.capacity=8"))
    mixed = jaxloop.run(mixed, out=tmp_path / "mixed")
    (bucket,) = size_classes.buckets(*mixed.sweep_and_task)
    assert [len(part.numbers) for part in bucket.size_classes] == [16, 16]
    own = {}
    for width in (8, 24):
        alike = sweep.parse(SWEEP, (few, f"axes.width.values=[{width}]"))
        own |= results(jaxloop.run(alike, out=tmp_path / f"{width}"))
    assert_same_bits(results(mixed), own)
    number = next(m.number for m in mixed.members if m.hparams["width"] == 8)
    again = replay.train_alone(*mixed.sweep_and_task, mixed.store, number)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)


def test_a_group_in_which_nobody_has_a_step_to_take_is_not_computed():
    def turn(hparams, state, fresh, data):
        state = state._replace(learner=state.learner + 1, step=state.step + 1)
        return state, {"train/loss": state.learner, **{name: getattr(state, name) for name in STATE_FIELDS}}

    advance = jax.jit(grouped(rested(turn), 2))
    ended = np.array([0, 1, 0, 1, 1, 0], bool)
    state = TrainState(np.zeros(6), np.array([9, 0, 5, 5, 5, 5]), ended, np.zeros(6, bool))
    fresh = np.array([0, 0, 0, 0, 1, 0], bool)
    steps = np.array([9, 9, 6, 5, 5, 5])
    after, record = advance({"steps": steps}, state, fresh, ())
    assert after.learner.tolist() == [0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(record["train/loss"], [np.nan, np.nan, 1, 1, 1, 1])
    assert record["step"].tolist() == [9, 0, 6, 6, 6, 6]


def short_main_job(folder, *settings):
    short = ("run.steps=40", "run.evaluate_every=20")
    chosen = [f"population.{setting}" for setting in settings]
    return jaxloop.run(ROOT / "sweeps" / "lr_wd.toml", out=folder / "run", overrides=(*short, *chosen))


@pytest.mark.slow
def test_the_main_job_gives_the_same_bits_in_any_slots(tmp_path):
    whole, other = short_main_job(tmp_path / "whole"), short_main_job(tmp_path, "capacity=32", "group_size=2")
    assert whole.summary is not None
    assert whole.summary.capacity == len(whole.members) == 256
    for metric in whole.store.metric_names():
        np.testing.assert_array_equal(whole.curves(metric), other.curves(metric))
    for number in (0, 101, 255):
        for a, b in zip(*(jax.tree.leaves(run.params(number)) for run in (whole, other)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_devices_share_no_step_and_the_state_is_updated_in_place():
    swept = sweep.parse(SWEEP)
    (bucket,) = undivided(swept)
    mesh = devices.member_mesh()
    assert mesh.size == 2
    program = compiled(swept, api.task_of(swept), bucket, mesh)
    text = program.advance.as_text()
    assert not re.findall(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\b", text)
    aliased = program.advance.memory_analysis().alias_size_in_bytes
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.state))
    assert aliased == state // 2  # each device holds half of the slots


@pytest.mark.slow
def test_one_program_is_compiled_and_nothing_after_the_first_turn(tmp_path, caplog):
    turns = []
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):

        def observe(_):
            turns.append(sum("Finished XLA compilation" in record.getMessage() for record in caplog.records))

        # a width that no other test has: this process may have compiled the program of another already
        swept = sweep.parse(SWEEP, ("population.capacity=16", "hparams.width=13"))
        jaxloop.run(swept, out=tmp_path / "run", observe=observe)
    programs = [r for r in caplog.records if "Finished XLA compilation of jit(advance)" in r.getMessage()]
    assert len(programs) == 1
    assert len(turns) == 12  # 64 members through 16 slots, three chunks each
    assert turns[-1] == turns[1]  # the first turn is observed while the second runs
