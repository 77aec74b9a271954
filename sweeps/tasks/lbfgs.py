"""Logistic regression by L-BFGS with a line search (optax.lbfgs), which ends where the loss is flat.

A member is done once the largest entry of its gradient is small, whatever its number of steps.
"""

import jax
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.tasks import digits

DATA = digits().data
X, Y = jnp.asarray(DATA.splits()["train"]["x"]), jnp.asarray(DATA.splits()["train"]["y"])


def init(key, hparams):
    return {"w": 0.01 * jax.random.normal(key, (64, 10)), "b": jnp.zeros(10)}


def penalized(params, x, y, hparams):
    losses = optax.softmax_cross_entropy_with_integer_labels(x @ params["w"] + params["b"], y)
    return losses.mean() + hparams["l2"] * jnp.sum(params["w"] ** 2)


def loss(params, batch, key, hparams):
    return penalized(params, X, Y, hparams), {}  # of all examples, not of a batch


def done(params, hparams):
    grads = jax.grad(penalized)(params, X, Y, hparams)
    return optax.tree.norm(grads, ord=jnp.inf) < hparams["tolerance"]


def metrics(params, batch, hparams):
    logits = batch["x"] @ params["w"] + params["b"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return {"accuracy": jnp.mean(logits.argmax(-1) == batch["y"]), "loss": losses.mean()}


task = jaxloop.Task(
    init,
    loss,
    metrics,
    DATA,
    hparams={"l2": 1e-3, "tolerance": 1e-4},
    tx=lambda hparams, step: optax.lbfgs(),
    done=done,
)
