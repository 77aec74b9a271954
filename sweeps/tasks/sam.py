"""Sharpness-aware minimization (Foret et al. 2021): the gradient is taken where the loss is highest nearby."""

import jax
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.tasks import digits

UNITS = 64


def init(key, hparams):
    first, second = jax.random.split(key)
    params = {
        "hidden": jax.random.normal(first, (64, UNITS)) / 8,
        "out": jax.random.normal(second, (UNITS, 10)) / UNITS**0.5,
    }
    return params, jaxloop.optimizer(hparams, 0).init(params)


def cross_entropy(params, batch):
    logits = jax.nn.relu(batch["x"] @ params["hidden"]) @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean(), logits


def update(state, batch, key, step, hparams):
    params, opt_state = state
    (value, _), grads = jax.value_and_grad(cross_entropy, has_aux=True)(params, batch)
    scale = hparams["radius"] / (optax.global_norm(grads) + 1e-12)
    highest = jax.tree.map(lambda leaf, grad: leaf + scale * grad, params, grads)
    grads, _ = jax.grad(cross_entropy, has_aux=True)(highest, batch)
    updates, opt_state = jaxloop.optimizer(hparams, step).update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), {"loss": value}


def metrics(state, batch, hparams):
    value, logits = cross_entropy(state[0], batch)
    return {"accuracy": jnp.mean(logits.argmax(-1) == batch["y"]), "loss": value}


task = jaxloop.Task(
    init,
    update=update,
    metrics=metrics,
    params=lambda state: state[0],
    data=digits(label_noise=0.2).data,
    hparams={"radius": 0.05},
)
