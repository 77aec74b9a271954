"""ONE training run as pure functions. Nothing here knows that there are others."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxloop.core import batches, optimizer, schedules, subsets
from jaxloop.core.prng import KeyStream, stream_key
from jaxloop.core.task import Hparams, Metrics, Task
from jaxloop.sweep.sizes import Size

SCHEDULED = ("learning_rate", "adam_learning_rate")


class TrainState(NamedTuple):
    """What a member carries from step to step; keys are not in it, they follow from (seed, step)."""

    params: Any
    opt_state: Any
    step: jax.Array  # int32: steps taken
    diverged: jax.Array  # bool: the step after the last one was not finite
    average: Any = ()  # of the parameters over steps, where the member has an `ema_decay`


class Draw(NamedTuple):
    """What a step has by chance: it follows from (seed, step) alone, never from the state."""

    examples: jax.Array  # (batch_size.max,) uint32: the indices of its batch
    key: jax.Array  # of its loss


class TrainingRun(NamedTuple):
    """One training run, step by step.

    `data` are the resident splits, {"train": ..., "validation": ..., "test": ...}.

    init: `hparams -> TrainState`.
    draw: `(hparams, step, data) -> Draw`.
    step: `(hparams, TrainState, Draw, data) -> (TrainState, metrics)`.
    validate, test: `(hparams, TrainState, data) -> metrics`.
    """

    init: Callable[[Hparams], TrainState]
    draw: Callable[[Hparams, jax.Array, Any], Draw]
    step: Callable[[Hparams, TrainState, Draw, Any], tuple[TrainState, Metrics]]
    validate: Callable[[Hparams, TrainState, Any], Metrics]
    test: Callable[[Hparams, TrainState, Any], Metrics]


def raveled(task: Task, params: Any) -> Task:
    """Return the same task over ONE flat parameter vector: elementwise optimizers then run as one loop.

    Args:
      params: the task's parameters, as shapes.
    """
    restore = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params))[1]

    def init(key: jax.Array, hparams: Hparams) -> Any:
        return ravel_pytree(task.init(key, hparams))[0]

    def loss(params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        return task.loss(restore(params), batch, key, hparams)

    def metrics(params: Any, batch: Any, hparams: Hparams) -> Any:
        return task.metrics(restore(params), batch, hparams)

    def learning_rate_multipliers(params: Any, hparams: Hparams) -> Any:
        found = task.learning_rate_multipliers(restore(params), hparams)
        return None if found is None else ravel_pytree(spread_over(restore(params), found))[0]

    return replace(
        task, init=init, loss=loss, metrics=metrics, learning_rate_multipliers=learning_rate_multipliers
    )


def spread_over(params: Any, scalars: Any) -> Any:
    """Return scalars, one for each array of `params`, as arrays of the same shapes."""
    return jax.tree.map(lambda leaf, scalar: jnp.full(leaf.shape, scalar, leaf.dtype), params, scalars)


def member(
    task: Task,
    whole: Callable[[Hparams], Hparams],
    evaluation_batch: int,
    layout: Callable[[Hparams], optimizer.Layout] | None = None,
) -> TrainingRun:
    """Return one member of a task.

    A step that would leave the finite numbers (its loss, gradient or parameters) is not taken: the state stays
    at its last finite value and `diverged` is set. Past its own `steps`, a member stands still.

    Args:
      whole: all hparams as the task sees them, from the traced ones (`Bucket.hparams`).
      evaluation_batch: examples evaluated at a time.
      layout: of the parameters, from all hparams, for optimizers that look at arrays as a whole.
    """
    one = _Member(task, whole, evaluation_batch, layout)
    return TrainingRun(*map(traced_once, (one.init, one.draw, one.step, one.validate, one.test)))


@dataclass(frozen=True)
class _Member:
    """The functions of `TrainingRun` for one member of a task; see `member`."""

    task: Task
    whole: Callable[[Hparams], Hparams]
    evaluation_batch: int
    layout: Callable[[Hparams], optimizer.Layout] | None

    def init(self, hparams: Hparams) -> Any:
        hparams = self.whole(hparams)
        params = self.task.init(stream_key(hparams, KeyStream.PARAMS), hparams)
        tx, _ = self._transformation(hparams, jnp.int32(0))
        average = params if "ema_decay" in hparams else ()
        return TrainState(params, tx.init(params), jnp.int32(0), jnp.bool_(False), average)

    def draw(self, hparams: Hparams, step: jax.Array, data: Any) -> Any:
        hparams = self.whole(hparams)
        own = subsets.training(stream_key(hparams, KeyStream.SUBSET), hparams, length(data["train"]))
        batch_size = as_size(hparams["batch_size"])
        place = batches.batch_index(stream_key(hparams, KeyStream.DATA), step, batch_size, own.count)
        return Draw(own.at(place), jax.random.fold_in(stream_key(hparams, KeyStream.LOSS), step))

    def step(self, hparams: Hparams, state: TrainState, draw: Any, data: Any) -> Any:
        hparams = self.whole(hparams)
        batch, batch_size = batches.take(data["train"], draw.examples), as_size(hparams["batch_size"])
        if isinstance(hparams["batch_size"], Size):
            batch["weight"] = (jnp.arange(batch_size.max) < batch_size.value).astype(jnp.float32)
        loss = jax.value_and_grad(self._loss, has_aux=True)
        (value, metrics), grads = loss(state.params, batch, draw.key, hparams)
        tx, rate = self._transformation(hparams, state.step)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        if (multipliers := self.task.learning_rate_multipliers(state.params, hparams)) is not None:
            updates = jax.tree.map(jnp.multiply, updates, multipliers)
        params = optax.apply_updates(state.params, updates)
        grad_norm = optimizer.norm_where_finite(grads, params)

        running = ~state.diverged & (state.step < hparams["steps"])
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
        taken = running & finite
        if (
            self.layout is None
        ):  # elementwise: computed again where it is kept, since to write it twice takes longer
            _, opt_state = tx.update(grads, *jax.lax.optimization_barrier((state.opt_state, state.params)))
        average = ()
        if "ema_decay" in hparams:
            average = optax.incremental_update(params, state.average, 1.0 - hparams["ema_decay"])
        params, opt_state, average = jax.tree.map(
            lambda new, old: jnp.where(taken, new, old),
            (params, opt_state, average),
            (state.params, state.opt_state, state.average),
        )
        diverged = state.diverged | (running & ~finite)
        state = TrainState(params, opt_state, state.step + taken, diverged, average)
        return state, {**metrics, "loss": value, "learning_rate": rate, "grad_norm": grad_norm}

    def validate(self, hparams: Hparams, state: TrainState, data: Any) -> Any:
        if "validation" in data:
            return self._over_split(hparams, state, data["validation"])
        return self._over_fold(hparams, state, data["train"])

    def test(self, hparams: Hparams, state: TrainState, data: Any) -> Any:
        return self._over_split(hparams, state, data["test"])

    def _transformation(self, hparams: Hparams, step: jax.Array) -> Any:
        factor = schedules.schedule(step, hparams)
        rates = {name: hparams[name] * factor for name in SCHEDULED if name in hparams}
        layout = self.layout and self.layout(hparams)
        return optimizer.optimizer({**hparams, **rates}, layout), rates["learning_rate"]

    def _loss(self, params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        with jax.default_matmul_precision(hparams["matmul_precision"]):
            value, metrics = self.task.loss(computed(params, hparams), batch, key, hparams)
        return jnp.asarray(value, jnp.float32), metrics

    def _over_split(self, hparams: Hparams, state: TrainState, split: Any) -> Any:
        hparams = self.whole(hparams)

        def part(start: Any, size: Any) -> Any:
            return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), split)

        examples = length(split)
        return self._measured(hparams, state, lambda metrics: mean(metrics, part, examples, self.evaluation_batch))

    def _over_fold(self, hparams: Hparams, state: TrainState, pool: Any) -> Any:
        hparams = self.whole(hparams)
        index, last, has_last = subsets.held_out(hparams, length(pool))

        def part(start: Any, size: Any) -> Any:
            return batches.take(pool, jax.lax.dynamic_slice_in_dim(index, start, size))

        def average_over(metrics: Any) -> Any:
            most = mean(metrics, part, len(index), self.evaluation_batch)
            one = metrics(batches.take(pool, last[None]))
            return jax.tree.map(lambda m, o: jnp.where(has_last, m + (o - m) / (len(index) + 1), m), most, one)

        return self._measured(hparams, state, average_over)

    def _measured(self, hparams: Hparams, state: TrainState, average_over: Callable[..., Metrics]) -> Metrics:
        """Return the metrics of a member's parameters, and as "ema/..." those of their average."""

        def of(params: Any) -> Any:
            def metrics(batch: Any) -> Any:
                with jax.default_matmul_precision(hparams["matmul_precision"]):
                    found = self.task.metrics(computed(params, hparams), batch, hparams)
                return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), found)

            means = average_over(metrics)
            if self.task.report is None:
                return means
            found = self.task.report(means, hparams)
            return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), found)

        found = of(state.params)
        if "ema_decay" in hparams:
            found |= {f"ema/{name}": value for name, value in of(state.average).items()}
        return found


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function, traced once for all its calls with the same shapes, into the program around it."""
    return jax.jit(function, inline=True)


def mean(metrics: Callable[[Any], Metrics], part: Callable[..., Any], examples: int, batch: int) -> Metrics:
    """Return metrics averaged over examples, `batch` at a time.

    Args:
      metrics: of a batch, means over it.
      part: `(start, size)` gives the batch of so many examples from `start` on.
    """
    batch = min(batch, examples)
    full, rest = divmod(examples, batch)
    each = jax.lax.map(lambda number: metrics(part(number * batch, batch)), jnp.arange(full))
    total = jax.tree.map(lambda m: m.sum(0) * batch, each)
    if rest:
        total = jax.tree.map(lambda t, m: t + m * rest, total, metrics(part(full * batch, rest)))
    return jax.tree.map(lambda t: t / examples, total)


def length(split: Any) -> int:
    """Return how many examples a split has."""
    return len(jax.tree.leaves(split)[0])


def as_size(batch_size: Any) -> Size:
    """Return a batch size that may be padded, from one that may be an int."""
    return batch_size if isinstance(batch_size, Size) else Size(batch_size, batch_size)


def computed(params: Any, hparams: Hparams) -> Any:
    """Return the parameters in the precision that the member computes in; what it keeps stays float32."""
    if hparams["precision"] == "float32":
        return params
    return jax.tree.map(lambda x: x.astype(hparams["precision"]), params)
