"""A training run in chunks: what the device does between two reads by the host."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxloop.core.learner import Learner
from jaxloop.core.member import Best, TrainingRun, TrainState
from jaxloop.core.task import Hparams, Metrics

DRAWN = 1 << 15  # indices of examples that a member draws at once: 128 KiB


class Program(NamedTuple):
    """A training run in chunks of steps; transformations map a Program to a Program.

    init: `hparams -> TrainState`.
    step: `(hparams, TrainState, data) -> (TrainState, metrics)`, one chunk.
    validate, test: `(hparams, TrainState, data) -> metrics`, by names such as "validation/loss".
    remember: `(TrainState, metrics) -> TrainState`: keeps what was best, after each chunk.
    """

    init: Callable[[Hparams], TrainState]
    step: Callable[[Hparams, TrainState, Any], tuple[TrainState, Metrics]]
    validate: Callable[[Hparams, TrainState, Any], Metrics]
    test: Callable[[Hparams, TrainState, Any], Metrics]
    remember: Callable[[TrainState, Metrics], TrainState] = lambda state, metrics: state


def chunked(member: TrainingRun, length: int) -> Program:
    """Return a member in chunks of `length` steps; metrics are means over the steps that were taken.

    Random inputs are drawn for many steps at once: on CPU, drawing them step by step took a fifth of a small
    member's time (benchmarks/LOG.md). A member that stands still needs none.
    """

    def step(hparams: Any, state: Any, data: Any) -> Any:
        def drawn(first: Any, count: Any) -> Any:
            return jax.vmap(lambda ahead: member.draw(hparams, first + ahead, data))(jnp.arange(count))

        def body(carry: Any, draw: Any) -> Any:
            state, total = carry
            after, metrics = member.step(hparams, state, draw, data)
            taken = after.step > state.step
            total = jax.tree.map(lambda t, m: t + jnp.where(taken, m, 0).astype(t.dtype), total, metrics)
            return (after, total), None

        def block(carry: Any, number: Any) -> Any:
            return jax.lax.scan(body, carry, drawn(state.step + number * together, together))

        one = jax.eval_shape(member.draw, hparams, state.step, data)
        together = _together(length, one.examples.size)
        shapes = jax.eval_shape(member.step, hparams, state, one, data)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
        (after, total), _ = jax.lax.scan(block, (state, zeros), jnp.arange(length // together))
        taken = (after.step - state.step).astype(jnp.float32)
        return after, jax.tree.map(lambda t: t / taken, total)  # no step taken: NaN, "not measured"

    return Program(member.init, step, member.validate, member.test)


def remembering(program: Program, learner: Learner, metric: str, mode: str) -> Program:
    """Return the program of a member that keeps the parameters with which a metric was best.

    Args:
      metric: its name, "validation/loss".
      mode: what is better, "max" or "min".
    """

    def remember(state: Any, metrics: Any) -> Any:
        value = metrics[metric] if mode == "min" else -metrics[metric]
        now = Best(value, learner.params(state.learner), learner.extra(state.learner))
        is_better = value < state.best.value  # NaN is not
        return state._replace(best=jax.tree.map(lambda n, old: jnp.where(is_better, n, old), now, state.best))

    return program._replace(remember=remember)


def _together(length: int, batch_size: int) -> int:
    """Return how many steps of a chunk to draw at once: a divisor of its length, for at most `DRAWN` examples."""
    most = max(1, DRAWN // max(1, batch_size))
    return next(count for count in range(min(length, most), 0, -1) if length % count == 0)
