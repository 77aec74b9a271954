"""A neural ODE (Chen et al. 2018), solved by diffrax, that learns the paths of a damped pendulum."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

TIMES = np.linspace(0.0, 3.0, 16, dtype=np.float32)


def paths(count, seed):
    """Return angles and speeds of pendulums, integrated in small steps."""
    state = np.random.default_rng(seed).uniform(-1.5, 1.5, (count, 2))
    found, finer = [state], 50
    for _ in TIMES[1:]:
        for _ in range(finer):
            slope = np.stack([state[:, 1], -np.sin(state[:, 0]) - 0.2 * state[:, 1]], 1)
            state = state + slope * (TIMES[1] / finer)
        found.append(state)
    return {"path": np.stack(found, 1).astype(np.float32)}


def init(key, hparams):
    first, second = jax.random.split(key)
    units = hparams["units"]
    return {
        "hidden": jax.random.normal(first, (2, units)),
        "bias": jnp.zeros(units),
        "out": jax.random.normal(second, (units, 2)) * 0.1 / units**0.5,
    }


def error(params, batch):
    def slope(time, state, _):
        return jnp.tanh(state @ params["hidden"] + params["bias"]) @ params["out"]

    def solved(start):
        terms, saved = diffrax.ODETerm(slope), diffrax.SaveAt(ts=TIMES)
        found = diffrax.diffeqsolve(terms, diffrax.Tsit5(), 0.0, TIMES[-1], 0.1, start, saveat=saved)
        return found.ys

    return jnp.mean((jax.vmap(solved)(batch["path"][:, 0]) - batch["path"]) ** 2)


def loss(params, batch, key, hparams):
    return error(params, batch), {}


def metrics(params, batch, hparams):
    return {"loss": error(params, batch)}


task = jaxloop.Task(
    init,
    loss,
    metrics,
    data=jaxloop.Data(train=paths(128, 0), validation=paths(64, 1), test=paths(64, 2)),
    hparams={"units": 32},
)
