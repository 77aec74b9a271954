"""A bucket's program, compiled for a mesh: what the runner turns."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxloop import devices
from jaxloop.bucket import Bucket, buckets
from jaxloop.errors import ResourceError, SweepError, unknown
from jaxloop.member import Program, TrainState, chunked, member, raveled
from jaxloop.population import MEMBER, SHARED, jitted, populated, spread, state_shapes, streamed
from jaxloop.sweep import Sweep
from jaxloop.task import Task


@dataclass(frozen=True)
class CompiledProgram:
    """A bucket's turn as an executable over M slots, and what its caller must know of it.

    Attributes:
      advance: `(hparams_M, state_M, fresh_M, data) -> (state_M, record_M)`; see `population.streamed`.
      state: the population's state as shapes with shardings.
      params: one member's parameters in the task's own structure, as shapes.
      metrics: names of the measured values in a record.
      flops: of one member's step, as XLA counts them; a loop counts once.
      memory_bytes: that a device needs, as the compiler planned it.
    """

    bucket: Bucket
    mesh: Mesh
    capacity: int
    width: int
    advance: Any
    state: TrainState
    params: Any
    metrics: list[str]
    compile_seconds: float
    flops: float
    memory_bytes: int

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading slot axis, laid over the devices."""
        copied = jax.tree.map(np.array, tree)  # a CPU device may read the host's memory in place
        return jax.device_put(copied, NamedSharding(self.mesh, MEMBER))

    def empty(self) -> TrainState:
        """A state of zeros: every slot waits for its first member."""
        return jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype), x.sharding), self.state)

    def share(self, task: Task) -> Any:
        """The task's data, resident on every device."""
        return jax.device_put(task.data.splits(), NamedSharding(self.mesh, SHARED))

    def unravel(self, vector: np.ndarray) -> Any:
        """One member's flat (P,) parameters in the task's own structure."""
        leaves, offset = [], 0
        for leaf in jax.tree.leaves(self.params):
            size = int(np.prod(leaf.shape))
            leaves.append(vector[offset : offset + size].reshape(leaf.shape).astype(leaf.dtype))
            offset += size
        return jax.tree.unflatten(jax.tree.structure(self.params), leaves)


def params_shapes(task: Task, static: dict[str, Any]) -> Any:
    """The shapes of one member's parameters, in the task's own structure."""
    return jax.eval_shape(lambda key: task.init(key, {**task.hparams, **static}), jax.random.key(0))


def check(sweep: Sweep, task: Task) -> None:
    """What a sweep asks of its task, which the file alone does not tell.

    Raises:
      SweepError: a batch larger than the training split, or a ranking by a metric that is not measured.
    """
    examples = len(next(iter(task.data.train.values())))
    for bucket in buckets(sweep):
        size, metric = bucket.static["batch_size"], sweep.document.evaluate.metric
        known = metric_names(sweep, task, bucket)
        if size > examples:
            path, rule = ("hparams", "batch_size"), f"needs at most the {examples} training examples, got {size}"
        elif size * examples >= 2**32:
            path, rule = (
                ("hparams", "batch_size"),
                f"times {examples} examples needs to be below 2**32, got {size}",
            )
        elif metric not in known:
            path, rule = ("evaluate", "metric"), unknown("metric", metric, known)
        else:
            continue
        raise SweepError(sweep.places.say(path, rule))


def metric_names(sweep: Sweep, task: Task, bucket: Bucket) -> list[str]:
    """What a turn measures of each member: "train/loss", "validation/accuracy", ..."""
    one, hparams = _member(sweep, task, bucket)
    state, splits = jax.eval_shape(one.init, hparams), task.data.splits()
    train = jax.eval_shape(one.step, hparams, state, splits["train"])[1]
    evaluated = jax.eval_shape(one.evaluate, hparams, state, splits["validation"])
    return [
        f"{split}/{name}"
        for split, names in zip(splits, (train, evaluated, evaluated), strict=True)
        for name in names
    ]


def _member(sweep: Sweep, task: Task, bucket: Bucket) -> tuple[Program, dict[str, jax.ShapeDtypeStruct]]:
    """The program of one member over flat parameters, and its traced hparams as shapes."""
    flat = raveled(task, {**task.hparams, **bucket.static})
    hparams = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in bucket.traced.items()}
    return member(flat, bucket.static, sweep.document.evaluate.batch_size), hparams


def compiled(
    sweep: Sweep,
    task: Task,
    bucket: Bucket,
    mesh: Mesh,
    *,
    capacity: int | None = None,
    width: int | None = None,
) -> CompiledProgram:
    """Compiles a bucket's turn; nothing is allocated on a device.

    Args:
      capacity, width: instead of the sweep's own.

    Raises:
      ResourceError: the program does not fit on a device.
    """
    one, hparams = _member(sweep, task, bucket)
    capacity, width = _layout(sweep, bucket, mesh, jax.eval_shape(one.init, hparams), capacity, width)

    program = populated(chunked(one, sweep.document.run.evaluate_every), width)
    arguments = _arguments(program, bucket, task, capacity, mesh)
    advance = spread(streamed(program), mesh)
    started = time.perf_counter()
    try:
        executable = jitted(advance, mesh).lower(*arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise ResourceError(f"{capacity} slots do not fit on the device: lower population.capacity") from None
        raise
    seconds = time.perf_counter() - started
    step = jax.jit(one.step).lower(hparams, jax.eval_shape(one.init, hparams), arguments[3]["train"])
    sizes = executable.memory_analysis()
    return CompiledProgram(
        bucket=bucket,
        mesh=mesh,
        capacity=capacity,
        width=width,
        advance=executable,
        state=arguments[1],
        params=params_shapes(task, bucket.static),
        metrics=metric_names(sweep, task, bucket),
        compile_seconds=seconds,
        flops=float((step.cost_analysis() or {}).get("flops", 0.0)),
        memory_bytes=sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes,
    )


def _layout(sweep, bucket, mesh, state: TrainState, capacity: int | None, width: int | None) -> tuple[int, int]:
    """The program's capacity and width: the caller's, else the sweep's, else chosen."""
    settings = sweep.document.population
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    wanted = capacity or (settings.capacity if isinstance(settings.capacity, int) else None)
    width = width or (settings.width if isinstance(settings.width, int) else None)
    width = width or devices.choose_width(state_bytes, mesh, wanted)
    return devices.choose_capacity(len(bucket.numbers), width, mesh, wanted), width


def _arguments(program: Program, bucket: Bucket, task: Task, capacity: int, mesh: Mesh) -> tuple:
    """The turn's arguments (hparams, state, fresh, data) as shapes with shardings."""
    by_slot, on_all = NamedSharding(mesh, MEMBER), NamedSharding(mesh, SHARED)

    def column(dtype):
        return jax.ShapeDtypeStruct((capacity,), dtype, sharding=by_slot)

    hparams = {name: column(dtype) for name, dtype in bucket.traced.items()}
    data = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype), sharding=on_all),
        task.data.splits(),
    )
    return hparams, state_shapes(program, hparams, mesh), column(np.bool_), data
