"""A task that trains in milliseconds: a straight line, of which a test may change one part."""

import subprocess

LINE = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
y = (3 * x + 1)[:, 0]
split = {"x": x, "y": y}

def init(key, hparams):
    return {"w": jax.random.normal(key, (1,)), "b": jnp.zeros(())}

def predict(params, batch):
    return batch["x"] @ params["w"] + params["b"]

def loss(params, batch, key, hparams):
    return jnp.square(predict(params, batch) - batch["y"]).mean(), {}

def metrics(params, batch, hparams):
    return {"loss": jnp.square(predict(params, batch) - batch["y"]).mean()}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(split, split, split))
"""
SWEEP = """
[run]
task = "line.py:task"
steps = 4
evaluate_every = 2
[hparams]
batch_size = 8
optimizer = "sgd"
[axes]
learning_rate = { values = [0.1, 0.3] }
"""


def written(folder, *, task=LINE, sweep=SWEEP):
    """A sweep's file beside its task's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "line.py").write_text(task)
    (folder / "line.toml").write_text(sweep)
    return folder / "line.toml"


def changed(text, *pairs):
    """A text with some parts replaced, each of which it needs to have."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def at_once(*commands, cwd):
    """Runs commands at the same time; the exit code and stderr of each."""
    started = [
        subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    return [(process.communicate(timeout=300)[1], process.returncode) for process in started]
