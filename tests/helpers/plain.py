"""One member trained by a loop as anyone writes it: of jaxloop it has only which batch a step sees."""

import functools

import jax
import jax.numpy as jnp
import optax

from helpers.compiling import OPTIMIZED
from jaxloop.core.bucket import alone
from jaxloop.core.member import examples_of
from jaxloop.core.prng import KeyStream, stream_key
from jaxloop.core.shapes import resident

compiled = functools.partial(jax.jit, compiler_options=OPTIMIZED)  # as anyone's own code is


def trained(sweep, task, number, *, init_as_one_program=False):
    """What is left of a member after its steps: what its `init` gave first, and what the last step measured.

    Args:
      init_as_one_program: not operation by operation, which tests compile without optimizations.
    """
    bucket = alone(sweep, number)
    columns = bucket.columns(sweep.members[number])
    hparams, splits = bucket.hparams(columns), resident(task, bucket)
    count = task.data.train_length()
    draw = compiled(lambda step: examples_of(hparams, step, count) if count else jnp.zeros(0, int))
    loss_key = stream_key(hparams, KeyStream.LOSS)

    def init(key):
        return task.init(key, hparams)

    state = (compiled(init) if init_as_one_program else init)(stream_key(hparams, KeyStream.PARAMS))
    step_of = by_update if task.update else by_gradient
    state, step = step_of(task, state, hparams)
    metrics = {}
    for number in range(hparams["steps"]):
        examples, key = draw(jnp.int32(number)), jax.random.fold_in(loss_key, number)
        batch = {name: array[examples] for name, array in splits.get("train", {}).items()}
        if task.done and task.done(state if task.update else state[0], hparams):
            break
        state, metrics = step(state, {**batch, **splits.get("shared", {})}, key, jnp.int32(number))
    return (state if task.update else state[0]), metrics


def by_update(task, state, hparams):
    return state, compiled(lambda state, batch, key, step: task.update(state, batch, key, step, hparams))


def by_gradient(task, initial, hparams):
    def tx(step):
        if task.tx:
            return task.tx(hparams, step)
        # float32 as a member's are: Python floats make a relative difference of 5e-6 after 100 steps, by `1 - b2`
        given = {name: hparams[name] for name in ("b1", "b2", "eps", "weight_decay")}
        return optax.adamw(hparams["learning_rate"], **given)

    def loss(params, extra, batch, key, step):
        if task.stateful_loss:
            return task.stateful_loss(params, extra, batch, key, step, hparams)
        value, metrics = task.loss(params, batch, key, hparams)
        return value, (extra, metrics)

    @compiled
    def step(state, batch, key, step):
        (params, extra), opt_state = state if task.stateful_loss else ((state[0], ()), state[1])

        def of(params):
            return loss(params, extra, batch, key, step)

        (value, (extra, _)), grads = jax.value_and_grad(of, has_aux=True)(params)
        seen = {"value": value, "grad": grads, "value_fn": lambda params: of(params)[0]} if task.tx else {}
        updates, opt_state = optax.with_extra_args_support(tx(step)).update(grads, opt_state, params, **seen)
        params = optax.apply_updates(params, updates)
        return ((params, extra) if task.stateful_loss else params, opt_state), {"loss": value}

    params = initial[0] if task.stateful_loss else initial
    return (initial, tx(jnp.int32(0)).init(params)), step
