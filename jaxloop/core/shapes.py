"""What one member of a bucket is computed from, before anything is compiled: shapes, and the data themselves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxloop.core import padding
from jaxloop.core.bucket import Bucket
from jaxloop.core.member import FEED_ROW, FEED_START, FeedLayout, as_size
from jaxloop.core.memo import memoized
from jaxloop.core.prng import key_shape
from jaxloop.core.task import Task
from jaxloop.sweep.sizes import Size
from jaxloop.sweep.sweep import Sweep


def params_shapes(task: Task, bucket: Bucket) -> Any:
    """Return the shapes of one member's parameters, in the task's own structure."""
    found = initial_shapes(task, bucket)
    if task.stateful_loss:
        return found[0]
    return memoized(
        task, ("params", bucket.program), lambda: jax.eval_shape(task.params or (lambda state: state), found)
    )


def initial_shapes(task: Task, bucket: Bucket, trace: Callable[[], Any] | None = None) -> Any:
    """Return the shapes of what the task's `init` gives one member.

    Args:
      trace: gives the shapes if they are not memoized, as the contract does, which explains errors of `init`.
    """

    def shapes() -> Any:
        return jax.eval_shape(
            lambda key, traced: task.init(key, bucket.hparams(traced)), key_shape(), traced_shapes(bucket)
        )

    return memoized(task, ("init", bucket.program), trace or shapes)


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
    rows = memoized(task, "first row", lambda: source.rows(np.zeros(1, np.int64)))
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
    return bucket.hparams(traced_shapes(bucket))["batch_size"]


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


def traced_shapes(bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the traced hparams of one member, as shapes."""
    return {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in bucket.traced.items()}


def hparams_read(task: Task, bucket: Bucket) -> set[str]:
    """Return the names of the hparams that a member's functions have read in all traces so far."""
    return memoized(task, ("read", bucket.program), set)


def columns(task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return what a slot's columns hold for one member's functions, as shapes: the traced hparams first."""
    own = traced_shapes(bucket)
    if task.data.source is not None:
        own |= dict.fromkeys((FEED_ROW, FEED_START), jax.ShapeDtypeStruct((), np.int32))
    return own


def params_extents(task: Task, bucket: Bucket) -> Any:
    """Return how the shapes of the bucket's parameters follow from its padded sizes."""
    return padding.extents(lambda sizes: params_shapes(task, replace(bucket, sizes=dict(sizes))), bucket.sizes)
