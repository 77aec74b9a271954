"""One member of a bucket, assembled: its learner, its training run and its program in chunks."""

from collections.abc import Callable
from typing import Any

import jax

from jaxloop.core.bucket import Bucket
from jaxloop.core.chunk import Program, chunked, remembering
from jaxloop.core.finals import Final
from jaxloop.core.learner import Learner, learner
from jaxloop.core.member import FeedLayout, TrainingRun, member
from jaxloop.core.memo import memoized
from jaxloop.core.noting import NotingHparams
from jaxloop.core.optimizer import Layout, Shape
from jaxloop.core.prng import threefry
from jaxloop.core.raw_keys import with_raw_keys
from jaxloop.core.shapes import (
    columns,
    feed_layout,
    hparams_read,
    params_extents,
    params_shapes,
    resident,
    traced_shapes,
)
from jaxloop.core.task import Hparams, Task
from jaxloop.sweep.optimizers import OWN, SHAPE_AWARE
from jaxloop.sweep.sweep import Sweep


def one_member(
    sweep: Sweep, task: Task, bucket: Bucket, layout: FeedLayout | None = None
) -> tuple[TrainingRun, dict[str, jax.ShapeDtypeStruct]]:
    """Return the program of one member, and its traced hparams as shapes.

    Args:
      layout: of the data of a feed, if not of one for this bucket alone.
    """
    batch, keeps_best = sweep.document.evaluate.batch_size, bool(sweep.document.checkpoint.best)
    layout = layout or feed_layout(sweep, task, bucket)

    def found() -> Any:
        trains, read = learner_of(task, bucket), hparams_read(task, bucket)

        def expand_hparams(traced: Any) -> NotingHparams:
            return NotingHparams(bucket.hparams(traced), read)

        return member(task, trains, expand_hparams, batch, keeps_best=keeps_best, feed=layout)

    return memoized(task, ("member", bucket.program, batch, keeps_best, layout), found), columns(task, bucket)


def in_chunks(
    sweep: Sweep, task: Task, bucket: Bucket, layout: FeedLayout | None
) -> tuple[Program, dict[str, jax.ShapeDtypeStruct]]:
    """Return one member in chunks from one evaluation to the next, and its traced hparams as shapes.

    Args:
      layout: of the data of a feed.
    """
    one, hparams = one_member(sweep, task, bucket, layout)
    program, metric = chunked(one, sweep.document.run.evaluate_every), sweep.document.checkpoint.best
    if metric:
        mode = sweep.document.mode_of(metric)
        assert mode is not None, "checked by checks._broken_best"
        program = remembering(program, learner_of(task, bucket), metric, mode)
    return program, hparams


def measured_shapes(sweep: Sweep, task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return what a turn measures of each member, as shapes: "train/loss", "validation/accuracy", ..."""
    one, hparams = one_member(sweep, task, bucket)
    state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
    train = jax.eval_shape(chunked(one, 1).step, hparams, state, data)[1]
    return {
        **{f"train/{name}": leaf for name, leaf in train.items()},
        **jax.eval_shape(one.validate, hparams, state, data),
        **jax.eval_shape(one.test, hparams, state, data),
    }


def final_shapes(task: Task, bucket: Bucket, *, best: bool) -> dict[Final, Any]:
    """Return the shapes of what one member ends with, by kind, without the average of its parameters.

    Args:
      best: whether the sweep keeps each member's best parameters.
    """
    trains, state = _learner_and_state(task, bucket)

    def parts() -> tuple[Any, Any]:
        return jax.eval_shape(trains.params, state), jax.eval_shape(trains.extra, state)

    params, extra = memoized(task, ("finals", bucket.program), parts)
    if task.update is None:
        params = params_shapes(task, bucket)
    found: dict[Final, Any] = {"params": params, "state": extra}
    if best:
        found |= {"best": params, "best_state": extra}
    return {kind: shapes for kind, shapes in found.items() if jax.tree.leaves(shapes)}


def learner_of(task: Task, bucket: Bucket) -> Learner:
    """Return how the members of a bucket train."""
    return _learner_and_state(task, bucket)[0]


def _learner_and_state(task: Task, bucket: Bucket) -> tuple[Learner, Any]:
    """Return how the members of a bucket train, and the state of one, as shapes."""

    def state_of(trains: Learner) -> Any:
        return jax.eval_shape(
            lambda traced: trains.init(threefry(0), bucket.hparams(traced)), traced_shapes(bucket)
        )

    def found() -> tuple[Learner, Any]:
        layout = None if is_elementwise(task, bucket) else _layout(task, bucket)
        trains = learner(task, bucket.static["optimizer"], params_shapes(task, bucket), layout)
        state = state_of(trains)
        raw = with_raw_keys(trains, state)
        return raw, state if raw is trains else state_of(raw)

    return memoized(task, ("learner", bucket.program), found)


def is_elementwise(task: Task, bucket: Bucket) -> bool:
    """Return whether parameters are trained as one vector: nobody cares which array an element stands in."""
    optimizer = bucket.static["optimizer"]
    if task.update or optimizer == OWN:
        return False
    return optimizer not in SHAPE_AWARE and bucket.static["weight_decay_on"] == "all"


def _layout(task: Task, bucket: Bucket) -> Callable[[Hparams], Layout]:
    """Return the parameters' `Layout` as a function of a member's hparams, for optimizers of whole arrays."""
    shapes = params_shapes(task, bucket)
    static = NotingHparams(bucket.static, hparams_read(task, bucket))
    decay_mask, hidden = task.decay_mask(shapes, static), task.hidden(shapes, static)
    extents = params_extents(task, bucket)
    return lambda hparams: Layout(
        decay_mask, hidden, jax.tree.map(lambda extent: Shape(extent.own(hparams)), extents)
    )
