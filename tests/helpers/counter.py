"""A task that takes its own steps: its state has a PRNG key, a counter, and an infinity to begin with."""

COUNTER = """
import jax
import jax.numpy as jnp

import jaxloop

def init(key, hparams):
    return {
        "params": {"w": jnp.ones(3)},
        "key": key,
        "count": jnp.int32(0),
        "worst": jnp.float32(-jnp.inf),
    }

def update(state, batch, key, step, hparams):
    own, drawn = jax.random.split(state["key"])
    noise = jax.random.normal(drawn, (3,))
    w = state["params"]["w"] - hparams["rate"] * (state["params"]["w"] + 0.1 * noise)
    new = {
        "params": {"w": w},
        "key": own,
        "count": state["count"] + 1,
        "worst": jnp.maximum(state["worst"], noise.max()),
    }
    return new, {"norm": jnp.sum(w**2), "noise": noise}

def metrics(state, batch, hparams):
    w = state["params"]["w"]
    return {"norm": jnp.sum(w**2), "square": jnp.outer(w, w)}

task = jaxloop.Task(
    init, update=update, metrics=metrics, params=lambda state: state["params"], hparams={"rate": 0.1}
)
"""
SWEEP = """
[run]
task = "counter.py:task"
steps = 40
evaluate_every = 10
[axes]
rate = { values = [0.01, 0.1, 3.0] }
seed = { count = 2 }
[evaluate]
metric = "validation/norm"
mode = "min"
[checkpoint]
every = 10
"""


def written(folder, task=COUNTER, sweep=SWEEP):
    """A sweep's file beside its task's."""
    folder.mkdir(exist_ok=True)
    (folder / "counter.py").write_text(task)
    (folder / "counter.toml").write_text(sweep)
    return folder / "counter.toml"
