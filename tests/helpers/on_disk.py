"""A task whose training examples are in a file, read as they are needed or all at once."""

import numpy as np

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
    data = jaxloop.Data(jaxloop.from_disk(train) if stream else train, held_out, held_out)
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


def written(folder):
    """A sweep's file beside its task's and the examples'."""
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32))
    (folder / "streamed.py").write_text(TASK)
    (folder / "streamed.toml").write_text(SWEEP)
    return folder / "streamed.toml"
