"""Training examples that are read from disk as they are needed: the same bits as from memory, killed or not."""

import numpy as np
import pytest
from helpers import stopping

import jaxloop
from jaxloop.core.data import Data, Streamed
from jaxloop.training import replay

TASK = """
import numpy as np
import jax
import jax.numpy as jnp

import jaxloop

def init(key, hparams):
    return {"w": jax.random.normal(key, (8, 16)), "out": jnp.ones(16) / 16}

def error(params, batch):
    return jnp.mean((jnp.tanh(batch["x"] @ params["w"]) @ params["out"] - batch["y"]) ** 2)

def loss(params, batch, key, hparams):
    return error(params, batch), {}

def metrics(params, batch, hparams):
    return {"loss": error(params, batch)}

def task(path, stream=True):
    x = np.load(path, mmap_mode="r")
    y = np.sin(x).sum(1)
    train = {"x": x[:800], "y": y[:800]}
    held_out = {"x": x[800:], "y": y[800:]}
    data = jaxloop.Data(jaxloop.streamed(train) if stream else train, held_out, held_out)
    return jaxloop.Task(init, loss, metrics, data)
"""
SWEEP = """
[run]
task = "streamed.py:task"
steps = 100
evaluate_every = 20
[data]
path = "x.npy"
[hparams]
optimizer = "adam"
batch_size = 32
[axes]
learning_rate = { values = [1e-3, 1e-2] }
seed = { count = 3 }
train_examples = { values = [100, 800] }
steps = { values = [40, 100] }
[population]
capacity = 8
group_size = 4
[checkpoint]
every = 20
"""
METRICS = ("train/loss", "validation/loss", "test/loss")


@pytest.fixture
def sweep(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32))
    (tmp_path / "streamed.py").write_text(TASK)
    (tmp_path / "streamed.toml").write_text(SWEEP)
    return tmp_path / "streamed.toml"


@pytest.mark.slow
def test_streamed_examples_give_the_bits_of_resident_ones(sweep, tmp_path):
    resident = jaxloop.run(sweep, out=tmp_path / "resident", overrides=("data.stream=false",))
    streamed = jaxloop.run(sweep, out=tmp_path / "streamed")
    assert len(streamed.members) == 24
    for metric in METRICS:
        np.testing.assert_array_equal(streamed.curves(metric), resident.curves(metric))
    again = replay.train_alone(*streamed.sweep_and_task, streamed.store, 23)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)


@pytest.mark.slow
def test_a_streamed_run_that_is_killed_resumes_to_the_same_bits(sweep, tmp_path):
    whole = jaxloop.run(sweep, out=tmp_path / "whole")
    with pytest.raises(stopping.Stopped):
        jaxloop.run(sweep, out=tmp_path / "killed", observe=stopping.crash_at(7))
    resumed = jaxloop.resume(tmp_path / "killed")
    for metric in METRICS:
        np.testing.assert_array_equal(resumed.curves(metric), whole.curves(metric))


def test_rows_are_read_once_each_and_in_the_order_of_the_file():
    asked = []

    class Spy(np.ndarray):
        def __getitem__(self, index):
            asked.append(np.asarray(index).tolist())
            return np.asarray(self).__getitem__(index)

    source = Streamed({"x": np.arange(20).view(Spy)})
    assert source.rows(np.array([7, 3, 7, 19]))["x"].tolist() == [7, 3, 7, 19]
    assert asked == [[3, 7, 19]]


def test_a_fingerprint_of_a_source_tells_its_length_and_content():
    x = np.arange(10_000.0)
    prints = {
        Data(jaxloop.streamed({"x": array})).fingerprint() for array in (x, x[:-1], x + 1, x.astype(np.float32))
    }
    assert len(prints) == 4
    assert Data(jaxloop.streamed({"x": x.copy()})).fingerprint() in prints


def test_examples_that_fit_no_split_are_refused():
    with pytest.raises(ValueError, match="one common, non-empty first axis"):
        jaxloop.streamed({"x": np.zeros(3), "y": np.zeros(4)})
