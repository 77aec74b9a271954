"""A task: pure functions of ONE member, which never see the population. Here: regression of a noisy function."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

FEATURES = 8
generator = np.random.default_rng(0)
x = generator.normal(size=(1500, FEATURES)).astype(np.float32)
y = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * generator.normal(size=1500)).astype(np.float32)


def init(key, hparams):
    """Return a member's initial parameters: any pytree of arrays."""
    first, second = jax.random.split(key)
    units = hparams["units"]
    return {
        "hidden": jax.random.normal(first, (FEATURES, units)) / FEATURES**0.5,
        "bias": jnp.zeros(units),
        "out": jax.random.normal(second, (units,)) / units**0.5,
    }


def predict(params, x):
    return jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["out"]


def loss(params, batch, key, hparams):
    """Return what is minimized, and metrics of the training batch."""
    error = jnp.mean((predict(params, batch["x"]) - batch["y"]) ** 2)
    return error, {"mse": error}


def metrics(params, batch, hparams):
    """Return what is measured on the validation and test splits, each a mean over examples."""
    return {"mse": jnp.mean((predict(params, batch["x"]) - batch["y"]) ** 2)}


def split(rows):
    return {"x": x[rows], "y": y[rows]}


task = jaxloop.Task(
    init=init,
    loss=loss,
    metrics=metrics,
    data=jaxloop.Data(
        train=split(slice(0, 1000)),
        validation=split(slice(1000, 1250)),
        test=split(slice(1250, None)),
    ),
    hparams={"units": 32},  # of the task's own, with defaults; a float is traced, an int, bool or str static
)
