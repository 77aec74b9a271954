"""One member of a bucket before anything is compiled: its functions, shapes and costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax
import numpy as np

from jaxloop.core import padding
from jaxloop.core.bucket import Bucket
from jaxloop.core.chunk import chunked
from jaxloop.core.member import TrainingRun, as_size, member, raveled
from jaxloop.core.optimizer import Layout, Shape
from jaxloop.core.prng import threefry
from jaxloop.core.task import Hparams, Task
from jaxloop.sweep.optimizers import SHAPE_AWARE
from jaxloop.sweep.sizes import Size
from jaxloop.sweep.sweep import Sweep

# How often a step touches a byte that it keeps as compiled: 19 to 34 times in an MLP, a CNN and a GPT,
# 4 times in a GRU, whose loop XLA counts once (benchmarks/LOG.md).
TIMES_TOUCHED = 30.0


Found = TypeVar("Found")


def _once(task: Task, key: Any, found: Callable[[], Found]) -> Found:
    """Return what was found for the task and key before: tracing is most of the time before a program compiles."""
    if key not in task.traced:
        task.traced[key] = found()
    return task.traced[key]


def params_shapes(task: Task, bucket: Bucket) -> Any:
    """Return the shapes of one member's parameters, in the task's own structure."""

    def shapes() -> Any:
        return jax.eval_shape(
            lambda key, traced: task.init(key, bucket.hparams(traced)), threefry(0), _scalars(bucket)
        )

    return _once(task, ("params", bucket.program), shapes)


def resident(task: Task, bucket: Bucket) -> dict[str, dict[str, np.ndarray]]:
    """Return the splits that a bucket's program reads; with folds, training and validation examples as one."""
    splits = task.data.splits()
    if "folds" in bucket.static:
        validation = splits.pop("validation")
        splits["train"] = {name: np.concatenate([x, validation[name]]) for name, x in splits["train"].items()}
    return splits


def batch_shapes(task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return one training batch, as the task's loss sees it."""
    batch_size = bucket.hparams(bucket.traced)["batch_size"]
    size = as_size(batch_size)
    shapes = {
        name: jax.ShapeDtypeStruct((size.max, *x.shape[1:]), jax.dtypes.canonicalize_dtype(x.dtype))
        for name, x in task.data.train.items()
    }
    if isinstance(batch_size, Size):
        shapes["weight"] = jax.ShapeDtypeStruct((size.max,), np.float32)
    return shapes


def _scalars(bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in bucket.traced.items()}


def measured_shapes(sweep: Sweep, task: Task, bucket: Bucket) -> dict[str, jax.ShapeDtypeStruct]:
    """Return what a turn measures of each member, as shapes: "train/loss", "validation/accuracy", ..."""
    one, hparams = one_member(sweep, task, bucket)
    state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
    measured = {
        "train": jax.eval_shape(chunked(one, 1).step, hparams, state, data)[1],
        "validation": jax.eval_shape(one.validate, hparams, state, data),
        "test": jax.eval_shape(one.test, hparams, state, data),
    }
    return {f"{split}/{name}": leaf for split, values in measured.items() for name, leaf in values.items()}


def step_flops(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """FLOPs of one member's step, as XLA counts them; a loop counts once."""
    return _step_cost(sweep, task, bucket, "flops")


def working_set(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """Estimate the bytes that one member's step keeps in use from those that XLA counts as read and written."""
    return _step_cost(sweep, task, bucket, "bytes accessed") / TIMES_TOUCHED


def _step_cost(sweep: Sweep, task: Task, bucket: Bucket, what: str) -> float:
    """Return what XLA counts of one member's step, before it is compiled."""

    def costs() -> Any:
        one, hparams = one_member(sweep, task, bucket)
        state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
        step = jax.jit(one.step).lower(hparams, state, jax.eval_shape(one.draw, hparams, state.step, data), data)
        return step.cost_analysis() or {}

    return float(_once(task, ("costs", bucket.program), costs).get(what, 0.0))


def one_member(sweep: Sweep, task: Task, bucket: Bucket) -> tuple[TrainingRun, dict[str, jax.ShapeDtypeStruct]]:
    """Return the program of one member, and its traced hparams as shapes."""
    batch = sweep.document.evaluate.batch_size

    def found() -> Any:
        if is_elementwise(bucket):
            return member(raveled(task, params_shapes(task, bucket)), bucket.hparams, batch)
        return member(task, bucket.hparams, batch, _layout(task, bucket))

    return _once(task, ("member", bucket.program, batch), found), _scalars(bucket)


def is_elementwise(bucket: Bucket) -> bool:
    """Return whether the optimizer does not care which array an element of the parameters stands in."""
    return bucket.static["optimizer"] not in SHAPE_AWARE and bucket.static["weight_decay_on"] == "all"


def _layout(task: Task, bucket: Bucket) -> Callable[[Hparams], Layout]:
    """Return the parameters' `Layout` as a function of a member's hparams, for optimizers of whole arrays."""
    shapes = params_shapes(task, bucket)
    decay_mask, hidden = task.decay_mask(shapes, bucket.static), task.hidden(shapes, bucket.static)
    extents = params_extents(task, bucket)
    return lambda hparams: Layout(
        decay_mask, hidden, jax.tree.map(lambda extent: Shape(extent.own(hparams)), extents)
    )


def params_extents(task: Task, bucket: Bucket) -> Any:
    """Return how the shapes of the bucket's parameters follow from its padded sizes."""
    return padding.extents(lambda sizes: params_shapes(task, replace(bucket, sizes=dict(sizes))), bucket.sizes)
