"""ONE training run as pure functions. Nothing here knows that there are others."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxloop import data as batches
from jaxloop import optim
from jaxloop.task import Hparams, Metrics, Task


class TrainState(NamedTuple):
    """What a member carries from step to step; keys are not in it, they follow from (seed, step)."""

    params: Any
    opt_state: Any
    step: jax.Array  # int32: steps taken
    diverged: jax.Array  # bool: the step after the last one was not finite


class Program(NamedTuple):
    """An algorithm as a value; transformations map a Program to a Program.

    init: `hparams -> TrainState`.
    step: `(hparams, TrainState, data) -> (TrainState, metrics)`.
    evaluate: `(hparams, TrainState, split) -> metrics`.
    """

    init: Callable[[Hparams], TrainState]
    step: Callable[[Hparams, TrainState, Any], tuple[TrainState, Metrics]]
    evaluate: Callable[[Hparams, TrainState, Any], Metrics]


class Stream(IntEnum):
    """Independent key streams of a seed."""

    PARAMS = 0
    DATA = 1
    LOSS = 2


def stream(hparams: Hparams, which: Stream) -> jax.Array:
    # threefry by name: under vmap, `rbg` would use the first member's key for all.
    return jax.random.fold_in(jax.random.key(hparams["seed"], impl="threefry2x32"), which)


def raveled(task: Task, params: Any) -> Task:
    """The same task over ONE flat parameter vector: elementwise optimizers then run as one loop.

    Args:
      params: the task's parameters, as shapes.
    """
    restore = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params))[1]

    def init(key, hparams):
        return ravel_pytree(task.init(key, hparams))[0]

    def loss(params, batch, key, hparams):
        return task.loss(restore(params), batch, key, hparams)

    def metrics(params, batch, hparams):
        return task.metrics(restore(params), batch, hparams)

    return Task(init, loss, metrics, task.data, task.hparams)


def member(task: Task, static: Hparams, evaluation_batch: int) -> Program:
    """The program of one member.

    A step that would leave the finite numbers (its loss, gradient or update) is not taken: the state stays
    at its last finite value and `diverged` is set. Past its own `steps`, a member stands still.

    Args:
      static: the hparams that are Python values, the same for all members of the program.
      evaluation_batch: examples evaluated at a time.
    """

    def whole(hparams: Hparams) -> dict[str, Any]:
        return {**static, **hparams}

    def transformation(hparams: Hparams, step: jax.Array):
        rate = optim.learning_rate(step, hparams)
        return optim.optimizer({**hparams, "learning_rate": rate}), rate

    def init(hparams):
        hparams = whole(hparams)
        params = task.init(stream(hparams, Stream.PARAMS), hparams)
        tx, _ = transformation(hparams, jnp.int32(0))
        return TrainState(params, tx.init(params), jnp.int32(0), jnp.bool_(False))

    def step(hparams, state, data):
        hparams = whole(hparams)
        examples = len(jax.tree.leaves(data)[0])
        index = batches.batch_index(stream(hparams, Stream.DATA), state.step, hparams["batch_size"], examples)
        key = jax.random.fold_in(stream(hparams, Stream.LOSS), state.step)
        (loss, metrics), grads = jax.value_and_grad(task.loss, has_aux=True)(
            state.params, batches.take(data, index), key, hparams
        )
        tx, rate = transformation(hparams, state.step)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        grad_norm, update_norm = optax.global_norm(grads), optax.global_norm(updates)

        running = ~state.diverged & (state.step < hparams["steps"])
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & jnp.isfinite(update_norm)
        taken = running & finite
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(taken, new, old),
            (optax.apply_updates(state.params, updates), opt_state),
            (state.params, state.opt_state),
        )
        state = TrainState(params, opt_state, state.step + taken, state.diverged | (running & ~finite))
        return state, {**metrics, "loss": loss, "learning_rate": rate, "grad_norm": grad_norm}

    def evaluate(hparams, state, split):
        hparams = whole(hparams)
        examples = len(jax.tree.leaves(split)[0])
        size = min(evaluation_batch, examples)
        full = examples // size

        def mean_of(batch):
            return task.metrics(state.params, batch, hparams)

        grouped = jax.tree.map(lambda x: x[: full * size].reshape(full, size, *x.shape[1:]), split)
        total = jax.tree.map(lambda m: m.sum(0) * size, jax.lax.map(mean_of, grouped))
        if rest := examples - full * size:
            tail = mean_of(jax.tree.map(lambda x: x[full * size :], split))
            total = jax.tree.map(lambda t, m: t + m * rest, total, tail)
        return jax.tree.map(lambda t: t / examples, total)

    return Program(init, step, evaluate)


def chunked(program: Program, length: int) -> Program:
    """A program whose step is `length` steps; metrics are means over the steps that were taken."""

    def step(hparams, state, data):
        def body(carry, _):
            state, total = carry
            after, metrics = program.step(hparams, state, data)
            taken = after.step > state.step
            total = jax.tree.map(lambda t, m: t + jnp.where(taken, m, 0).astype(t.dtype), total, metrics)
            return (after, total), None

        shapes = jax.eval_shape(program.step, hparams, state, data)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
        (after, total), _ = jax.lax.scan(body, (state, zeros), None, length=length)
        taken = (after.step - state.step).astype(jnp.float32)
        return after, jax.tree.map(lambda t: t / taken, total)  # no step taken: NaN, "not measured"

    return program._replace(step=step)
