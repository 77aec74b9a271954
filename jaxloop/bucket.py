"""A bucket: members that one compiled program trains, and that program with its slots."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxloop import declared, devices
from jaxloop.errors import ResourceError, SweepError
from jaxloop.member import TrainState, chunked, member, raveled
from jaxloop.population import MEMBER, SHARED, jitted, populated, spread, state_shapes, streamed
from jaxloop.sweep import Sweep
from jaxloop.task import Task


@dataclass(frozen=True)
class Bucket:
    """Members that agree in every static hparam."""

    static: dict[str, Any]
    traced: dict[str, np.dtype]
    numbers: list[int]  # of its members in the sweep, in order


def buckets(sweep: Sweep) -> list[Bucket]:
    """Groups a sweep's members by their static hparams, in order of first appearance."""
    found: dict[tuple, Bucket] = {}
    for number, hparams in enumerate(sweep.members):
        traced = {name: _dtype(name) for name, value in hparams.items() if declared.is_traced(name, value)}
        static = {name: value for name, value in hparams.items() if name not in traced}
        key = (*sorted(static.items()), *sorted(traced))
        found.setdefault(key, Bucket(static, traced, [])).numbers.append(number)
    return list(found.values())


def _dtype(name: str) -> np.dtype:
    if name == "seed":
        return np.dtype(np.uint32)
    return np.dtype(np.int32 if name in declared.TRACED_INTS else np.float32)


@dataclass
class Machine:
    """A bucket's compiled program, ready to turn.

    `advance(hparams_M, state_M, fresh_M, data)` is one turn (see `population.streamed`).
    """

    bucket: Bucket
    mesh: Mesh
    capacity: int
    width: int
    advance: Any
    shapes: TrainState
    params: Any  # one member's parameters in the task's own structure, as shapes
    metrics: list[str]
    compile_seconds: float
    flops: float  # of one member's step
    memory: dict[str, int]  # bytes a device

    def slots(self, members: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Host columns of hparams, one row a slot; slots without a member repeat the first, with no steps."""
        rows = members + [{**members[0], "steps": 0}] * (self.capacity - len(members))
        return {name: np.array([row[name] for row in rows], dtype) for name, dtype in self.bucket.traced.items()}

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading slot axis, laid over the devices."""
        return jax.device_put(tree, NamedSharding(self.mesh, MEMBER))

    def empty(self) -> TrainState:
        """A state of zeros: every slot waits for its first member."""
        return jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype), x.sharding), self.shapes)

    def share(self, task: Task) -> Any:
        """The data, resident on every device."""
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
    return jax.eval_shape(lambda key: task.init(key, _concrete(static, task)), jax.random.key(0))


def _concrete(static: dict[str, Any], task: Task) -> dict[str, Any]:
    return {**{name: value for name, value in task.hparams.items() if name not in static}, **static}


def compiled(
    sweep: Sweep,
    task: Task,
    bucket: Bucket,
    mesh: Mesh,
    *,
    capacity: int | None = None,
    width: int | None = None,
) -> Machine:
    """Compiles a bucket's turn; nothing is allocated on a device.

    Args:
      capacity, width: instead of the sweep's own.

    Raises:
      SweepError: the batch is larger than the training split.
      ResourceError: the program does not fit on a device.
    """
    settings = sweep.document.population
    examples = len(next(iter(task.data.train.values())))
    if bucket.static["batch_size"] > examples:
        raise SweepError(
            f"{sweep.name}: hparams.batch_size: needs at most the {examples} training examples, "
            f"got {bucket.static['batch_size']}"
        )
    if bucket.static["batch_size"] * examples >= 2**32:
        raise SweepError(f"{sweep.name}: hparams.batch_size times the {examples} training examples exceeds 2**32")
    flat = raveled(task, _concrete(bucket.static, task))
    one = member(flat, bucket.static, sweep.document.evaluate.batch_size)
    scalar = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in bucket.traced.items()}
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(one.init, scalar)))
    wanted = capacity or (settings.capacity if isinstance(settings.capacity, int) else None)
    width = width or (settings.width if isinstance(settings.width, int) else None)
    width = width or devices.choose_width(state_bytes, mesh, wanted)
    capacity = devices.choose_capacity(len(bucket.numbers), width, mesh, wanted)

    program = populated(chunked(one, sweep.document.run.evaluate_every), width)
    sharded = NamedSharding(mesh, MEMBER)
    hparams = {
        name: jax.ShapeDtypeStruct((capacity,), dtype, sharding=sharded) for name, dtype in bucket.traced.items()
    }
    shapes = state_shapes(program, hparams, mesh)
    fresh = jax.ShapeDtypeStruct((capacity,), np.bool_, sharding=sharded)
    shared = NamedSharding(mesh, SHARED)
    data = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype), sharding=shared),
        task.data.splits(),
    )
    advance = spread(streamed(program), mesh)
    started = time.perf_counter()
    record = jax.eval_shape(advance, hparams, shapes, fresh, data)[1]
    try:
        executable = jitted(advance, mesh).lower(hparams, shapes, fresh, data).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise ResourceError(f"{capacity} slots do not fit on the device: lower population.capacity") from None
        raise
    seconds = time.perf_counter() - started
    step = jax.jit(one.step).lower(scalar, jax.eval_shape(one.init, scalar), data["train"])
    analysis = executable.memory_analysis()
    names = ("argument", "output", "alias", "temp")
    memory = {name: getattr(analysis, f"{name}_size_in_bytes") for name in names}
    return Machine(
        bucket,
        mesh,
        capacity,
        width,
        executable,
        shapes,
        params_shapes(task, bucket.static),
        [name for name in record if "/" in name],
        seconds,
        float((step.cost_analysis() or {}).get("flops", 0.0)),
        memory,
    )
