"""Fine-tuning by an optax chain of the task's own: the first layer is frozen, the head learns ten times as fast.

A frozen layer has no optimizer state. Two batches make one update.
"""

import jax
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.tasks import digits

UNITS = 64


def init(key, hparams):
    keys, sizes = jax.random.split(key, 3), [64, UNITS, UNITS, 10]
    return {
        name: jax.random.normal(key, (n, m)) / n**0.5
        for name, key, n, m in zip(("first", "hidden", "head"), keys, sizes[:-1], sizes[1:], strict=True)
    }


def tx(hparams, step):
    rate = hparams["learning_rate"] * 0.5 ** (step // hparams["half_life"])
    layers = {
        "first": optax.set_to_zero(),
        "hidden": optax.adam(rate),
        "head": optax.chain(optax.adam(10 * rate), optax.add_decayed_weights(-hparams["decay"] * rate)),
    }
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.partition(layers, {name: name for name in layers}))
    return optax.MultiSteps(chain, every_k_schedule=2)


def cross_entropy(params, batch):
    hidden = jax.nn.relu(jax.nn.relu(batch["x"] @ params["first"]) @ params["hidden"])
    logits = hidden @ params["head"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean(), logits


def loss(params, batch, key, hparams):
    return cross_entropy(params, batch)[0], {}


def metrics(params, batch, hparams):
    value, logits = cross_entropy(params, batch)
    return {"accuracy": jnp.mean(logits.argmax(-1) == batch["y"]), "loss": value}


task = jaxloop.Task(init, loss, metrics, digits().data, hparams={"decay": 0.01, "half_life": 100.0}, tx=tx)
