"""What a task hardly means is told, with where, before it is trained; and at the end where divergence began."""

import re

import jax
import pytest
from helpers import counter, line

import jaxloop
from jaxloop import api
from jaxloop.core.cautions import averaged, cautions
from jaxloop.training import replay

SEEDS = line.SWEEP + "seed = { count = 2 }\n"


def told(folder, *pairs):
    file = line.written(folder, task=line.changed(line.LINE, *pairs), sweep=SEEDS)
    with jax.numpy_rank_promotion("allow"):  # as in a user's process
        return cautions(*api.read(file))


def test_nothing_is_told_of_a_sound_task(tmp_path):
    assert told(tmp_path) == []


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("y = (3 * x + 1)[:, 0]", "y = 3 * x + 1")], [r"`loss`: subtract of \(N,\) and \(N, 1\).*line.py:19"]),
        ([('batch["x"] @', 'jnp.mean(batch["x"], 0) + batch["x"] @')], []),
        (
            [("y = (3 * x + 1)[:, 0]", "y = np.where(x > 0.9, np.nan, x)[:, 0]")],
            [r"data.train\['y'\] has 4 values"],
        ),
        ([("64, dtype", "64, dtype"), ("y = (", "x[5] = np.inf; y = (")], [r"\['x'\] has a value .* at \[5, 0\]"]),
        ([("jax.random.normal(key, (1,))", "jnp.ones(1)")], ["`init` does not depend on its key"]),
        (
            [("jax.random.normal(key, (1,))", "np.random.normal(size=1)")],
            ["`init` returns different numbers when called twice"],
        ),
        (
            [(".mean(), {}", ".mean() * np.random.normal(), {}")],
            ["`loss` returns different numbers when called twice"],
        ),
        (
            [(".mean(), {}", ".reshape(8).mean() * np.random.normal(), {}")],  # at no other batch size
            ["`loss` returns different numbers when called twice"],
        ),
    ],
)
def test_what_is_hardly_meant_is_told(tmp_path, pairs, says):
    found = told(tmp_path, *pairs)
    assert all(any(re.search(each, caution) for caution in found) for each in says), found
    assert bool(found) == bool(says)


CLASSES = """
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop

x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
y = np.arange(60) % 3
split, wrong = {"x": x, "y": y}, {"x": x, "y": np.where(np.arange(60) == 17, WRONG, y)}

def init(key, hparams):
    return {"w": 0.1 * jax.random.normal(key, (4, 3))}

def loss(params, batch, key, hparams):
    return optax.softmax_cross_entropy_with_integer_labels(batch["x"] @ params["w"], batch["y"]).mean(), {}

def metrics(params, batch, hparams):
    return {"accuracy": ((batch["x"] @ params["w"]).argmax(-1) == batch["y"]).mean()}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(wrong, split, split))
"""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("1", None),
        ("3", "integers from 0 to 3: out-of-bounds indexing for array of shape (8, 3): index 3"),
        ("255", "integers from 0 to 255: out-of-bounds"),
        ("-1", "integers from -1 to 2: if they are used as indices, negative values count from the end"),
        ("-9", "integers from -9 to 2: out-of-bounds"),
    ],
)
def test_labels_out_of_range_are_told_though_few_of_the_examples_have_them(tmp_path, wrong, says):
    found = cautions(*api.read(line.written(tmp_path, task=CLASSES.replace("WRONG", wrong), sweep=SEEDS)))
    assert [f"data.train['y'] has {says}" in caution for caution in found] == ([True] if says else [])


TWINS = "is read neither by the task's functions nor by jaxloop: members that differ in it alone are twins"


@pytest.mark.parametrize(
    ("axis", "values", "is_read"),
    [
        ("rate", "[0.1, 0.2]", True),
        ("seed", "[0, 1]", True),
        ("weight_decay", "[0.1, 0.2]", False),
        ("batch_size", "[10, 20]", False),
        ("optimizer", "['sgd', 'adam']", False),
    ],
)
def test_an_axis_that_an_update_does_not_read_is_named(tmp_path, axis, values, is_read):
    axes = f"[axes]\n{axis} = {{ values = {values} }}\n"
    text = re.sub(r"\[axes\]\n(.+\n){2}", axes, counter.SWEEP)
    found = cautions(*api.read(counter.written(tmp_path, sweep=text)))
    assert found == ([] if is_read else [f"the axis {axis} {TWINS}"])


@pytest.mark.parametrize(
    ("reads", "told"),
    [
        ("", [f"the axis l2 {TWINS}"]),
        (' + hparams["l2"]', []),
        (' + hparams.get("l2", 0.0)', []),
        (' + {**hparams}["l2"]', []),
        (' + (hparams | {})["l2"]', []),
        (' + dict(hparams)["l2"]', []),
        (' + hparams.pop("l2")', []),
        (' + jax.tree.map(lambda value: value, hparams)["l2"]', []),
        (' + sum(value for name, value in hparams.items() if name == "l2")', []),
    ],
)
def test_an_axis_that_a_loss_does_not_read_is_named(tmp_path, reads, told):
    task = line.changed(
        line.LINE, (".mean(), {}", f".mean(){reads}, {{}}"), ("split))", 'split), hparams={"l2": 0.0})')
    )
    sweep = line.SWEEP + "l2 = { values = [0.0, 0.1] }\n"
    assert cautions(*api.read(line.written(tmp_path, task=task, sweep=sweep))) == told


def test_where_numbers_of_a_source_are_not_finite_is_told(tmp_path):
    far = "far = np.zeros((4096, 1), np.float32); far[-1] = np.inf"
    task = line.changed(
        line.LINE,
        ('split = {"x": x, "y": y}', f'split = {{"x": x, "y": y}}; {far}'),
        ("jaxloop.Data(split,", 'jaxloop.Data(jaxloop.from_disk({"x": far, "y": far[:, 0]}),'),
    )
    x, y = cautions(*api.read(line.written(tmp_path, task=task, sweep=SEEDS)))
    among = "has a value that is not finite among 1024 examples spread over it"
    assert x == f"data.train['x'] {among}, the first at [4095, 0]"
    assert "the first at [4095]" in y


def test_the_average_over_batches_is_told_where_there_are_several(tmp_path):
    swept, task = api.read(line.written(tmp_path), ("evaluate.batch_size=10",))
    (note,) = averaged(swept, task)
    assert "evaluate.batch_size = 10" in note
    assert "F1" in note
    assert averaged(*api.read(line.written(tmp_path))) == []


SICK = {
    "data": (('"x": x,', '"x": np.where(x > 0.0, np.nan, x),'),),
    "loss": ((".mean(), {}", ".mean() + jnp.log(-1.0 - params['b'] ** 2), {}"),),
    "gradient": ((".mean(), {}", ".mean() + jnp.sqrt(jnp.abs(0 * params['b'])), {}"),),
    "update": (('"b": jnp.zeros(())', '"b": 3e38 * jnp.ones(())'), ('+ params["b"]', '+ 1e-38 * params["b"]')),
}
CAUSES = {
    "data": ["has nan in 'x' at [0]; its loss was nan"],
    "loss": ["in step 1:", "nan generated by primitive: log"],
    "gradient": ["the gradient of params['b'] was not finite"],
    "update": ["the update by sgd left the range of float32"],
}


def test_where_a_stateful_loss_diverges_it_is_told_where_it_began(tmp_path):
    """Its step is repeated with the state that it had, here a count: the third step takes the root of -1."""
    task = line.changed(
        line.LINE,
        ('"b": jnp.zeros(())}', '"b": jnp.zeros(())}, jnp.float32(0)'),
        ("def loss(params, batch, key, hparams)", "def loss(params, count, batch, key, step, hparams)"),
        (".mean(), {}", '.mean() + jnp.sqrt(1 - count) * params["b"], (count + 1, {})'),
        ("def metrics(params,", "def metrics(state,"),
        ('{"loss": jnp.square(predict(params', '{"loss": jnp.square(predict(state[0]'),
        ("init, loss, metrics, jaxloop.Data(", "init, stateful_loss=loss, metrics=metrics, data=jaxloop.Data("),
    )
    run = jaxloop.run(line.written(tmp_path, task=task, sweep=SEEDS), out=tmp_path / "run")
    (note,) = [note for note in run.summary.notes if "divergence began" in note]
    assert "in step 3: " in note
    assert "nan generated by primitive: sqrt" in note


def test_a_state_without_arrays_keeps_no_divergence_from_being_explained(tmp_path):
    task = line.changed(
        line.LINE,
        ('"b": jnp.zeros(())}', '"b": jnp.zeros(())}, {"kept": {}}'),
        ("def loss(params, batch, key, hparams)", "def loss(params, state, batch, key, step, hparams)"),
        (".mean(), {}", '.mean() + len(state["kept"]) + jnp.log(-1.0 - params["b"] ** 2), (state, {})'),
        ("def metrics(params,", "def metrics(state,"),
        ('{"loss": jnp.square(predict(params', '{"loss": jnp.square(predict(state[0]'),
        ("init, loss, metrics, jaxloop.Data(", "init, stateful_loss=loss, metrics=metrics, data=jaxloop.Data("),
    )
    run = jaxloop.run(line.written(tmp_path, task=task, sweep=SEEDS), out=tmp_path / "run")
    (note,) = [note for note in run.notes if "divergence began" in note]
    assert "nan generated by primitive: log" in note
    again = replay.train_alone(*run.sweep_and_task, run.store, 0)
    assert (again["steps"], again["missing"]) == (0, 0)
    assert again["points"] > 0


@pytest.mark.parametrize("sick", SICK)
def test_where_all_diverge_it_is_told_where_it_began(tmp_path, sick):
    file = line.written(tmp_path, task=line.changed(line.LINE, *SICK[sick]), sweep=SEEDS)
    override = "axes.learning_rate.values=[3e38]" if sick == "update" else "run.steps=4"
    run = jaxloop.run(file, out=tmp_path / "run", overrides=(override,))
    assert run.summary.finished == 0
    (note,) = [note for note in run.summary.notes if "divergence began" in note]
    assert "member 0 (learning_rate=" in note
    assert all(cause in note for cause in CAUSES[sick]), note
