"""One member of a bucket before anything is compiled: its functions and shapes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax
import numpy as np

from jaxloop.core import padding
from jaxloop.core.bucket import Bucket
from jaxloop.core.chunk import Program, chunked, remembering
from jaxloop.core.finals import Final
from jaxloop.core.learner import Learner, learner
from jaxloop.core.member import FEED_ROW, FEED_START, FeedLayout, TrainingRun, as_size, member
from jaxloop.core.noting import NotingHparams
from jaxloop.core.optimizer import Layout, Shape
from jaxloop.core.prng import key_shape, threefry
from jaxloop.core.raw_keys import with_raw_keys
from jaxloop.core.task import Hparams, Task
from jaxloop.sweep.optimizers import OWN, SHAPE_AWARE
from jaxloop.sweep.sizes import Size
from jaxloop.sweep.sweep import Sweep

Found = TypeVar("Found")


def once(task: Task, key: Any, found: Callable[[], Found]) -> Found:
    """Memoize `found()` by task and key: tracing is most of the time before a program compiles."""
    if key not in task.traced:
        task.traced[key] = found()
    return task.traced[key]


def params_shapes(task: Task, bucket: Bucket) -> Any:
    """Return the shapes of one member's parameters, in the task's own structure."""
    found = initial_shapes(task, bucket)
    if task.stateful_loss:
        return found[0]
    return once(
        task, ("params", bucket.program), lambda: jax.eval_shape(task.params or (lambda state: state), found)
    )


def initial_shapes(task: Task, bucket: Bucket, trace: Callable[[], Any] | None = None) -> Any:
    """Return the shapes of what the task's `init` gives one member.

    Args:
      trace: gives the shapes if they are not memoized, as the contract does, which explains errors of `init`.
    """

    def shapes() -> Any:
        return jax.eval_shape(
            lambda key, traced: task.init(key, bucket.hparams(traced)), key_shape(), _scalars(bucket)
        )

    return once(task, ("init", bucket.program), trace or shapes)


def resident(task: Task, bucket: Bucket) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays that a bucket's program reads, by split; with folds, training and validation are one.

    What has no axis of examples is "shared". Of a source, one example stands for those that a chunk needs.
    """
    splits = task.data.splits()
    if task.data.source is not None:
        splits["train"] = _first_row(task)
    if task.data.shared:
        splits["shared"] = dict(task.data.shared)
    if "folds" in bucket.static:
        validation = splits.pop("validation")
        splits["train"] = {name: np.concatenate([x, validation[name]]) for name, x in splits["train"].items()}
    return splits


def _first_row(task: Task) -> dict[str, np.ndarray]:
    source = task.data.source
    assert source is not None, "callers have checked that there is one"
    rows = once(task, "first row", lambda: source.rows(np.zeros(1, np.int64)))
    return {name: np.asarray(array) for name, array in rows.items()}


def feed_layout(sweep: Sweep, task: Task, bucket: Bucket) -> FeedLayout | None:
    """Return how a chunk's examples lie in what is read from a source; None for a task without one.

    Args:
      bucket: the whole program's, whose size classes all read the same rows.
    """
    if task.data.source is None:
        return None
    return FeedLayout(sweep.document.run.evaluate_every, as_size(_batch_size(bucket)).max)


def _batch_size(bucket: Bucket) -> int | Size:
    """Return the batch size of a bucket's members; a `Size` has a weight for each example."""
    return bucket.hparams(_scalars(bucket))["batch_size"]


def data_shapes(sweep: Sweep, task: Task, bucket: Bucket, rows: int) -> dict[str, dict[str, Any]]:
    """Return the arrays that a bucket's program reads, as shapes.

    Args:
      rows: of a source, how many rows of batches there is room for; see `FeedLayout`.
    """

    def shape(array: np.ndarray, examples: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((examples, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype))

    found = resident(task, bucket)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)), found)
    if layout := feed_layout(sweep, task, bucket):
        examples = rows * layout.steps * layout.batch_size
        shapes["train"] = {name: shape(array, examples) for name, array in found["train"].items()}
    return shapes


def batch_shapes(task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return one training batch, as the task's functions see it."""

    def shape(array: np.ndarray, *examples: int) -> jax.ShapeDtypeStruct:
        own = array.shape[len(examples) :]
        return jax.ShapeDtypeStruct((*examples, *own), jax.dtypes.canonicalize_dtype(array.dtype))

    batch_size = _batch_size(bucket)
    shapes = {name: shape(array) for name, array in task.data.shared.items()}
    if task.data.train is None:
        return shapes
    train = task.data.splits().get("train") or _first_row(task)
    shapes |= {name: shape(array, as_size(batch_size).max) for name, array in train.items()}
    if isinstance(batch_size, Size):
        shapes["weight"] = jax.ShapeDtypeStruct((batch_size.max,), np.float32)
    return shapes


def _scalars(bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in bucket.traced.items()}


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

    params, extra = once(task, ("finals", bucket.program), parts)
    if task.update is None:
        params = params_shapes(task, bucket)
    found: dict[Final, Any] = {"params": params, "state": extra}
    if best:
        found |= {"best": params, "best_state": extra}
    return {kind: shapes for kind, shapes in found.items() if jax.tree.leaves(shapes)}


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

        def whole(traced: Any) -> NotingHparams:
            return NotingHparams(bucket.hparams(traced), read)

        return member(task, trains, whole, batch, keeps_best=keeps_best, feed=layout)

    return once(task, ("member", bucket.program, batch, keeps_best, layout), found), columns(task, bucket)


def hparams_read(task: Task, bucket: Bucket) -> set[str]:
    """Return the names of the hparams that a member's functions have read in all traces so far."""
    return once(task, ("read", bucket.program), set)


def columns(task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return what a slot's columns hold for one member's functions, as shapes: the traced hparams first."""
    own = _scalars(bucket)
    if task.data.source is not None:
        own |= dict.fromkeys((FEED_ROW, FEED_START), jax.ShapeDtypeStruct((), np.int32))
    return own


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


def learner_of(task: Task, bucket: Bucket) -> Learner:
    """Return how the members of a bucket train."""
    return _learner_and_state(task, bucket)[0]


def _learner_and_state(task: Task, bucket: Bucket) -> tuple[Learner, Any]:
    """Return how the members of a bucket train, and the state of one, as shapes."""

    def state_of(trains: Learner) -> Any:
        return jax.eval_shape(lambda traced: trains.init(threefry(0), bucket.hparams(traced)), _scalars(bucket))

    def found() -> tuple[Learner, Any]:
        layout = None if is_elementwise(task, bucket) else _layout(task, bucket)
        trains = learner(task, bucket.static["optimizer"], params_shapes(task, bucket), layout)
        state = state_of(trains)
        raw = with_raw_keys(trains, state)
        return raw, state if raw is trains else state_of(raw)

    return once(task, ("learner", bucket.program), found)


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


def params_extents(task: Task, bucket: Bucket) -> Any:
    """Return how the shapes of the bucket's parameters follow from its padded sizes."""
    return padding.extents(lambda sizes: params_shapes(task, replace(bucket, sizes=dict(sizes))), bucket.sizes)
