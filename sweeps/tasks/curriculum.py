"""Curriculum learning (Bengio et al. 2009): noisy digits, the easy ones first.

The loss needs the step: `stateful_loss` gets it, and this one keeps no state.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop
from jaxloop.tasks import digits

UNITS = 64


def noisy(split, seed):
    """Return digits under noise of a strength of their own, from 0 to 1: their difficulty."""
    random = np.random.default_rng(seed)
    difficulty = random.uniform(size=len(split["y"])).astype(np.float32)
    x = split["x"] + difficulty[:, None] * random.normal(size=split["x"].shape).astype(np.float32)
    return {"x": x, "y": split["y"], "difficulty": difficulty}


def init(key, hparams):
    first, second = jax.random.split(key)
    hidden = jax.random.normal(first, (64, UNITS)) / 8
    return {"hidden": hidden, "out": jax.random.normal(second, (UNITS, 10)) / UNITS**0.5}, ()


def losses(params, batch):
    logits = jnp.tanh(batch["x"] @ params["hidden"]) @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]), logits


def loss(params, state, batch, key, step, hparams):
    hardest = hparams["start"] + (1 - hparams["start"]) * step / hparams["ramp"]
    weight = (batch["difficulty"] <= hardest).astype(jnp.float32)
    value = jnp.sum(weight * losses(params, batch)[0]) / jnp.maximum(weight.sum(), 1)
    return value, (state, {"share": weight.mean()})


def metrics(trained, batch, hparams):
    each, logits = losses(trained[0], batch)
    return {"accuracy": jnp.mean(logits.argmax(-1) == batch["y"]), "loss": each.mean()}


splits = digits().data.splits()
task = jaxloop.Task(
    init,
    stateful_loss=loss,
    metrics=metrics,
    data=jaxloop.Data(**{name: noisy(split, seed) for seed, (name, split) in enumerate(splits.items())}),
    hparams={"start": 0.2, "ramp": 200.0},
)
