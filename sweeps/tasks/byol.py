"""Bootstrap your own latent (Grill et al. 2020) on the UCI digits: a network predicts its own slow average.

The average is part of the state, and moves with every update. `probe` is the accuracy of a nearest-centroid
classifier on the representation, `spread` its standard deviation: zero where it has collapsed.
"""

import jax
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.tasks import digits

UNITS, FEATURES = 128, 32
DATA = digits().data
X, Y = jnp.asarray(DATA.splits()["train"]["x"]), jnp.asarray(DATA.splits()["train"]["y"])


def init(key, hparams):
    keys, sizes = jax.random.split(key, 4), [(64, UNITS), (UNITS, FEATURES), (FEATURES, UNITS), (UNITS, FEATURES)]
    names = ("hidden", "out", "predictor_hidden", "predictor_out")
    params = {
        name: jax.random.normal(key, size) / size[0] ** 0.5
        for name, key, size in zip(names, keys, sizes, strict=True)
    }
    return {"params": params, "target": params, "opt_state": jaxloop.optimizer(hparams, 0).init(params)}


def features(params, x):
    return jax.nn.relu(x @ params["hidden"]) @ params["out"]


def unit(x):
    return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)


def update(state, batch, key, step, hparams):
    def view(key):
        kept, noise = jax.random.split(key)
        x = batch["x"] * jax.random.bernoulli(kept, 0.8, batch["x"].shape)
        return x + hparams["noise"] * jax.random.normal(noise, x.shape)

    first, second = map(view, jax.random.split(key))

    def loss(params):
        total = 0.0
        for mine, other in ((first, second), (second, first)):
            hidden = jax.nn.relu(features(params, mine) @ params["predictor_hidden"])
            predicted = unit(hidden @ params["predictor_out"])
            total += 2 - 2 * jnp.mean(jnp.sum(predicted * unit(features(state["target"], other)), -1))
        return total

    value, grads = jax.value_and_grad(loss)(state["params"])
    updates, opt_state = jaxloop.optimizer(hparams, step).update(grads, state["opt_state"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    target = optax.incremental_update(params, state["target"], 1 - hparams["momentum"])
    return {"params": params, "target": target, "opt_state": opt_state}, {"loss": value}


def metrics(state, batch, hparams):
    known, found = unit(features(state["params"], X)), unit(features(state["params"], batch["x"]))
    of_class = jax.nn.one_hot(Y, 10)
    centroids = unit(of_class.T @ known)
    return {
        "probe": jnp.mean((found @ centroids.T).argmax(-1) == batch["y"]),
        "spread": known.std(0).mean(),
    }


task = jaxloop.Task(
    init,
    update=update,
    metrics=metrics,
    params=lambda state: state["params"],
    data=DATA,
    hparams={"momentum": 0.99, "noise": 0.1},
)
