"""A user's own task that breaks a rule is told before anything compiles: which function, where, what to do."""

import pytest

from jaxloop import api
from jaxloop.core import checks
from jaxloop.errors import SweepError

SWEEP = """
[run]
task = "own.py:task"
steps = 10
[axes]
l2 = { values = [0.0, 0.1] }
"""
TASK = """
import jax.numpy as jnp
import numpy as np
import jaxloop, optax

def init(key, hparams):
    return {"w": jnp.zeros(3)}

def loss(params, batch, key, hparams):
    value = jnp.mean((batch["x"] @ params["w"]) ** 2)
    return value + hparams["l2"], {"mse": value}

def metrics(params, batch, hparams):
    return {"mse": jnp.mean((batch["x"] @ params["w"]) ** 2)}

def tx(hparams, step):
    return optax.GradientTransformation(lambda params: "s", lambda updates, state, params: (updates, state))

rows = {"x": np.ones((200, 3), np.float32)}
data = jaxloop.Data(train=rows, validation=rows, test=rows)
task = jaxloop.Task(init, loss, metrics, data, hparams={"l2": 0.0, "units": 3})
"""


def checked(folder, text, sweep=SWEEP):
    (folder / "own.py").write_text(text)
    (folder / "sweep.toml").write_text(sweep + '[evaluate]\nmetric = "validation/mse"\nmode = "min"\n')
    return checks.check_sweep(*api.read(folder / "sweep.toml"))[1:3]


def test_a_whole_task_is_accepted(tmp_path):
    assert checked(tmp_path, TASK) == ("validation/mse", "min")


@pytest.mark.parametrize(
    ("text", "by", "says"),
    [
        ("jnp.zeros(3)", "jnp.zeros(3, int)", ["own.py:6", "`init` needs to give float arrays", "['w'] is int32"]),
        ("jnp.zeros(3)", "jnp.zeros((2**16, 2**15))", ["own.py:6", "2,147,483,648 parameters, and at most"]),
        ('+ hparams["l2"], {"mse": value}', "", ["own.py:9", "`loss` needs to return (scalar, {metric: value})"]),
        ('value + hparams["l2"]', 'batch["x"]', ["own.py:9", "a scalar first, got shape (100, 3)"]),
        (
            '{"mse": value}',
            '{"mse": batch["x"]}',
            ["own.py:9", "`mse` of shape (100, 3), which depends on the number"],
        ),
        ('return {"mse": jnp.mean', 'return {} and {"mse": jnp.mean', ["own.py:13", "`metrics` needs to return"]),
        (
            'hparams["l2"], {',
            '(1.0 if hparams["l2"] > 0 else 0.0), {',
            ["traced hparam `l2` in Python", "own.py:11"],
        ),
        ('hparams["l2"], {', 'float(hparams["l2"]), {', ["`loss` needs the value of", 'kind = "static"']),
        ('hparams["l2"]', 'hparams["l1"]', ["`loss`: KeyError: l1 ", "own.py:11", "hparams:", "l2", "units"]),
        ('(batch["x"] @ params["w"]) ** 2)}', 'batch["xs"])}', ["`metrics`: KeyError: xs", "of a batch: x;"]),
        (
            'hparams["l2"], {',
            '(1.0 if params["w"].sum() > 0 else 0.0), {',
            ["`loss` needs the value of an array in Python", "use jnp.where or jax.lax.cond;"],
        ),
        (
            "loss(params, batch, key, hparams)",
            "loss(params, batch, hparams)",
            ["own.py:9", "`loss` needs to take (params, batch, key, hparams), takes (params, batch, hparams)"],
        ),
        (
            "data, hparams=",
            "data, learning_rate_multipliers=lambda params: None, hparams=",
            ["`learning_rate_multipliers` needs to take (params, hparams), takes (params)"],
        ),
        (
            "data, hparams=",
            "data, tx=tx, hparams=",
            ["own.py:16", "`tx` returns a str in [0]"],
        ),
        ('{"w": jnp.zeros(3)}', '{"w": jnp.zeros(3), "name": "w"}', ["own.py:6", "returns a str in ['name']"]),
        (
            'batch["x"] @ params["w"]) ** 2)\n    return value',
            'batch["x"] @ params["w"][:2]) ** 2)\n    return value',
            ["`loss`: TypeError", "own.py:10"],
        ),
        ("task = jaxloop.Task(", "tsak = jaxloop.Task(", ["sweep.toml:3: run.task", "no `task`", "mean `tsak`?"]),
        ('"l2": 0.0,', '"learning_rate": 0.0,', ["declares learning_rate", "the engine's own"]),
        ("test=rows", "test={}", ["own.py:20", "data.test: arrays need one common"]),
        ("import jaxloop, optax\n", "import jaxloop\n)", ["own.py:5", "SyntaxError"]),
    ],
)
def test_a_broken_rule_names_the_function_and_the_place(tmp_path, text, by, says):
    assert text in TASK
    with pytest.raises(SweepError) as caught:
        checked(tmp_path, TASK.replace(text, by))
    for part in says:
        assert part in str(caught.value)


def test_a_static_axis_may_branch(tmp_path):
    branching = TASK.replace('hparams["l2"], {', '(1.0 if hparams["l2"] > 0 else 0.0), {')
    assert checked(tmp_path, branching, SWEEP.replace("0.1]", '0.1], kind = "static"')) == (
        "validation/mse",
        "min",
    )
