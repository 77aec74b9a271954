"""ONE training run as pure functions. Nothing here knows that there are others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxloop.core import batches, subsets
from jaxloop.core.learner import Learner
from jaxloop.core.prng import KeyStream, stream_key
from jaxloop.core.task import Hparams, Metrics, Task
from jaxloop.sweep.sizes import Size

# Beside the traced hparams, and no names of one: see `FeedLayout`.
FEED_ROW, FEED_START = "feed row", "feed start"


class FeedLayout(NamedTuple):
    """How a chunk's examples lie in the training data that are read from a source: rows of batches.

    A member finds its batches in the row of its column `FEED_ROW`; the first is that of step `FEED_START`.

    steps: batches in a row.
    batch_size: examples in a batch, of which a member may use fewer.
    """

    steps: int
    batch_size: int


class Best(NamedTuple):
    """What a member had where its metric was best: in `value`, less is better; infinite before it was measured."""

    value: jax.Array
    params: Any
    extra: Any


class TrainState(NamedTuple):
    """What a member carries from step to step; its keys are not in it, they follow from (seed, step)."""

    learner: Any  # the state of its `Learner`
    step: jax.Array  # int32: steps taken
    diverged: jax.Array  # bool: the step after the last one was not finite
    done: jax.Array  # bool: it ended by the task's own criterion
    average: Any = ()  # of the parameters over steps, where the member has an `ema_decay`
    best: Any = ()  # a `Best`, where the sweep keeps it


class Draw(NamedTuple):
    """The random inputs of a step: they follow from (seed, step) alone, never from the state."""

    examples: jax.Array  # (batch_size.max,) uint32: the indices of its batch
    key: jax.Array  # of its loss


class TrainingRun(NamedTuple):
    """One training run, step by step.

    `data` are the resident splits by name, {"train": ..., "validation": ...}, and the arrays that are "shared".

    init: `hparams -> TrainState`.
    draw: `(hparams, step, data) -> Draw`.
    step: `(hparams, TrainState, Draw, data) -> (TrainState, metrics)`.
    validate, test: `(hparams, TrainState, data) -> metrics`, by names such as "validation/loss".
    """

    init: Callable[[Hparams], TrainState]
    draw: Callable[[Hparams, jax.Array, Any], Draw]
    step: Callable[[Hparams, TrainState, Draw, Any], tuple[TrainState, Metrics]]
    validate: Callable[[Hparams, TrainState, Any], Metrics]
    test: Callable[[Hparams, TrainState, Any], Metrics]


def member(
    task: Task,
    learner: Learner,
    expand_hparams: Callable[[Hparams], Hparams],
    evaluation_batch: int,
    *,
    keeps_best: bool = False,
    feed: FeedLayout | None = None,
) -> TrainingRun:
    """Return one member of a task.

    A step that would leave the finite numbers (its loss, gradient or parameters) is not taken: the state stays
    at its last finite value and `diverged` is set. Past its own `steps`, and once done, a member stands still.

    Args:
      learner: how it trains.
      expand_hparams: gives all hparams as the task sees them, from the traced ones (`Bucket.hparams`).
      evaluation_batch: examples evaluated at a time.
      keeps_best: whether its state has room for the best parameters; see `chunk.remembering`.
      feed: where `data["train"]` is not all examples, but those of the next chunk, how they lie in it.
    """
    one = _Member(task, learner, expand_hparams, evaluation_batch, keeps_best, feed)
    return TrainingRun(*map(traced_once, (one.init, one.draw, one.step, one.validate, one.test)))


def ended(hparams: Hparams, state: TrainState) -> jax.Array:
    """Return whether a member has no step left to take."""
    return state.diverged | state.done | (state.step >= hparams["steps"])


@dataclass(frozen=True)
class _Member:
    """The functions of `TrainingRun` for one member of a task; see `member`."""

    task: Task
    learner: Learner
    expand_hparams: Callable[[Hparams], Hparams]
    evaluation_batch: int
    keeps_best: bool
    feed: FeedLayout | None

    def init(self, hparams: Hparams) -> Any:
        hparams = self.expand_hparams(hparams)
        state = self.learner.init(stream_key(hparams, KeyStream.PARAMS), hparams)
        params, extra = self.learner.params(state), self.learner.extra(state)
        average = params if "ema_decay" in hparams else ()
        best = Best(jnp.float32(jnp.inf), params, extra) if self.keeps_best else ()
        return TrainState(state, jnp.int32(0), jnp.bool_(False), jnp.bool_(False), average, best)

    def draw(self, hparams: Hparams, step: jax.Array, data: Any) -> Any:
        hparams_of_task = self.expand_hparams(hparams)
        key = jax.random.fold_in(stream_key(hparams_of_task, KeyStream.LOSS), step)
        if "train" not in data:
            return Draw(jnp.zeros((0,), jnp.uint32), key)
        if self.feed is None:
            return Draw(examples_of(hparams_of_task, step, length(data["train"])), key)
        # the host has read the examples that are drawn: what is left is their place among those
        batch = hparams[FEED_ROW] * self.feed.steps + step - hparams[FEED_START]
        place = batch * self.feed.batch_size + jnp.arange(as_size(hparams_of_task["batch_size"]).max)
        return Draw(place.astype(jnp.uint32), key)

    def step(self, hparams: Hparams, state: TrainState, draw: Any, data: Any) -> Any:
        running = ~ended(hparams, state)
        hparams = self.expand_hparams(hparams)
        new = self.learner.update(state.learner, self._batch(hparams, draw, data), draw.key, state.step, hparams)
        taken = running & new.finite
        average, done = (), state.done
        if "ema_decay" in hparams:
            average = optax.incremental_update(
                self.learner.params(new.state), state.average, 1.0 - hparams["ema_decay"]
            )
        learned, average = jax.tree.map(
            lambda new, old: jnp.where(taken, new, old), (new.state, average), (state.learner, state.average)
        )
        if self.task.done:
            done |= taken & self.task.done(self._evaluated(hparams, learned), hparams)
        diverged = state.diverged | (running & ~new.finite)
        return TrainState(learned, state.step + taken, diverged, done, average, state.best), new.metrics

    def validate(self, hparams: Hparams, state: TrainState, data: Any) -> Any:
        found: dict[str, Any] = {}
        hparams = self.expand_hparams(hparams)
        for split in self._validated(hparams, data):
            if split == "validation" and "folds" in hparams:
                metrics = self._over_fold(hparams, state, data)
            else:
                metrics = self._over_split(hparams, state, data, split)
            found |= {f"{split}/{name}": value for name, value in metrics.items()}
        return found

    def test(self, hparams: Hparams, state: TrainState, data: Any) -> Any:
        if "test" not in data:
            return {}
        metrics = self._over_split(self.expand_hparams(hparams), state, data, "test")
        return {f"test/{name}": value for name, value in metrics.items()}

    def _validated(self, hparams: Hparams, data: Any) -> list[str]:
        """Return the names of what is measured after each turn; without data, the task's metrics alone are."""
        if self.task.metrics is None:
            return []
        named = [split for split in data if split not in ("train", "test", "shared")]
        is_alone = "folds" in hparams or not data.keys() - {"shared"}
        return ["validation", *named] if is_alone else named

    def _batch(self, hparams: Hparams, draw: Draw, data: Any) -> dict[str, jax.Array]:
        batch = dict(data.get("shared", {}))
        if "train" in data:
            batch |= batches.take(data["train"], draw.examples)
            if isinstance(batch_size := hparams["batch_size"], Size):
                batch["weight"] = (jnp.arange(batch_size.max) < batch_size.value).astype(jnp.float32)
        return batch

    def _evaluated(self, hparams: Hparams, state: Any) -> Any:
        """Return what the task's functions get of a learner's state."""
        return self.learner.evaluated(self.learner.params(state), self.learner.extra(state), state, hparams)

    def _over_split(self, hparams: Hparams, state: TrainState, data: Any, split: str) -> Any:
        shared, examples = data.get("shared", {}), data.get(split)
        if examples is None:
            return self._measured(hparams, state, lambda metrics: metrics({**shared}))

        def part(start: Any, size: Any) -> Any:
            return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), examples) | shared

        return self._measured(
            hparams, state, lambda metrics: mean(metrics, part, length(examples), self.evaluation_batch)
        )

    def _over_fold(self, hparams: Hparams, state: TrainState, data: Any) -> Any:
        pool, shared = data["train"], data.get("shared", {})
        index, last, has_last = subsets.held_out(hparams, length(pool))

        def part(start: Any, size: Any) -> Any:
            return batches.take(pool, jax.lax.dynamic_slice_in_dim(index, start, size)) | shared

        def average_over(metrics: Any) -> Any:
            most = mean(metrics, part, len(index), self.evaluation_batch)
            one = metrics(batches.take(pool, last[None]) | shared)
            return jax.tree.map(lambda m, o: jnp.where(has_last, m + (o - m) / (len(index) + 1), m), most, one)

        return self._measured(hparams, state, average_over)

    def _measured(self, hparams: Hparams, state: TrainState, average_over: Callable[..., Metrics]) -> Metrics:
        """Return the metrics of a member's parameters, and as "ema/..." those of their average."""
        of_task, extra = self.task.metrics, self.learner.extra(state.learner)
        assert of_task is not None, "nothing is measured without"

        def of(params: Any) -> Any:
            def metrics(batch: Any) -> Any:
                with jax.default_matmul_precision(hparams["matmul_precision"]):
                    found = of_task(self.learner.evaluated(params, extra, state.learner, hparams), batch, hparams)
                return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), found)

            means = average_over(metrics)
            if self.task.report is None:
                return means
            found = self.task.report(means, hparams)
            return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), found)

        found = of(self.learner.params(state.learner))
        if "ema_decay" in hparams:
            found |= {f"ema/{name}": value for name, value in of(state.average).items()}
        return found


DRAWN_BY = ("seed", "batch_size", "train_examples", "fold")  # the hparams that decide which examples a step sees


def examples_of(hparams: Hparams, step: jax.Array, count: int) -> jax.Array:
    """Return the (batch_size.max,) uint32 examples that a member sees at a step, of so many.

    Args:
      hparams: all of them.
    """
    own = subsets.training(stream_key(hparams, KeyStream.SUBSET), hparams, count)
    batch_size = as_size(hparams["batch_size"])
    return own.at(batches.batch_index(stream_key(hparams, KeyStream.DATA), step, batch_size, own.count))


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
