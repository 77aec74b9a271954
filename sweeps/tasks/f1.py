"""A rare class, judged by F1, with its confusion matrix: neither is a mean over examples.

`metrics` gives shares, which are; `report` computes F1 from the shares of a whole split.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop
from jaxloop.tasks import digits

UNITS, RARE = 32, 8


def init(key, hparams):
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (64, UNITS)) / 8,
        "out": jax.random.normal(second, (UNITS,)) / UNITS**0.5,
    }


def score(params, batch):
    return jax.nn.relu(batch["x"] @ params["hidden"]) @ params["out"]


def loss(params, batch, key, hparams):
    losses = optax.sigmoid_binary_cross_entropy(score(params, batch), batch["y"])
    return jnp.mean(losses * jnp.where(batch["y"] > 0, hparams["positive_weight"], 1.0)), {}


def metrics(params, batch, hparams):
    predicted = jax.nn.one_hot((score(params, batch) > 0).astype(jnp.int32), 2)
    return {"confusion": jax.nn.one_hot(batch["y"], 2).T @ predicted / len(predicted)}


def report(means, hparams):
    (_, false_alarms), (missed, hits) = means["confusion"]
    return {"f1": 2 * hits / (2 * hits + false_alarms + missed), **means}


splits = digits().data.splits()
rare = {name: {"x": split["x"], "y": (split["y"] == RARE).astype(np.float32)} for name, split in splits.items()}
task = jaxloop.Task(init, loss, metrics, jaxloop.Data(**rare), hparams={"positive_weight": 1.0}, report=report)
