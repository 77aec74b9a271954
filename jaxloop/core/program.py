"""A bucket's program, compiled for a mesh: the turn that training runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxloop.core import devices
from jaxloop.core.assembly import is_elementwise, learner_of
from jaxloop.core.bucket import Bucket
from jaxloop.core.executable import executable
from jaxloop.core.learner import Learner
from jaxloop.core.member import DRAWN_BY, TrainState
from jaxloop.core.population import (
    MEMBER,
    SHARED,
    STATE_FIELDS,
)
from jaxloop.core.shapes import params_shapes, resident
from jaxloop.core.slot_counts import DEFAULT_LIMITS, SlotCounts, SlotLimits, slot_counts, smallest_group
from jaxloop.core.task import Task
from jaxloop.errors import ResourceError
from jaxloop.sweep.sweep import Sweep


@dataclass(frozen=True)
class CompiledProgram:
    """A bucket's turn as an executable over M slots, and what its caller must know of it.

    Attributes:
      advance: `(hparams_M, state_M, fresh_M, data) -> (state_M, record_M)`; see `population.streamed`.
      state: the population's state as shapes with shardings.
      params: one member's parameters in the task's own structure, as shapes; of each size class.
      is_flat: whether the state has the parameters as one vector.
      learner: how its members train.
      metrics: names of the measured values in a record.
      arrays: names of those that are arrays.
      memory_bytes: that a device needs, as the compiler planned it.
      feed_rows: of a source, for how many rows of a chunk's batches its data have room.
      recompiled: `(rows) -> CompiledProgram`: the same with room for others.
    """

    bucket: Bucket
    mesh: Mesh
    capacity: int
    group_size: int
    advance: Any
    state: TrainState
    params: list[Any]
    is_flat: bool
    learner: Learner
    metrics: list[str]
    arrays: list[str]
    memory_bytes: int
    feed_rows: int
    recompiled: Callable[[int], "CompiledProgram"]

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading slot axis, laid over the devices."""
        copied = jax.tree.map(np.array, tree)  # a CPU device may read the host's memory in place
        return jax.device_put(copied, NamedSharding(self.mesh, MEMBER))

    def empty(self) -> TrainState:
        """Return a state of zeros: every slot waits for its first member."""
        return jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype), x.sharding), self.state)

    def tree(self, params: Any, size_class: int = 0) -> Any:
        """Return parameters in the task's own structure, from the state's (..., ) host arrays; padding and all."""
        if not self.is_flat:
            return params
        own, offset = self.params[size_class], 0
        leaves = []
        for leaf in jax.tree.leaves(own):
            size = int(np.prod(leaf.shape))
            flat = params[..., offset : offset + size]
            leaves.append(flat.reshape(*flat.shape[:-1], *leaf.shape).astype(leaf.dtype))
            offset += size
        return jax.tree.unflatten(jax.tree.structure(own), leaves)


def shared(task: Task, bucket: Bucket, mesh: Mesh) -> dict[str, dict[str, jax.Array]]:
    """Put the splits that a bucket's program reads on every device, without waiting for their transfer.

    What a source has is missing: `feed` brings it, chunk by chunk.
    """
    splits = resident(task, bucket)
    if task.data.source is not None:
        del splits["train"]
    return jax.device_put(splits, NamedSharding(mesh, SHARED))


def compiled(
    sweep: Sweep,
    task: Task,
    bucket: Bucket,
    mesh: Mesh,
    limits: SlotLimits = DEFAULT_LIMITS,
) -> CompiledProgram:
    """Compile a bucket's turn; nothing is allocated on a device.

    A capacity that nobody chose shrinks until its program is planned to fit in the devices' memory.

    Raises:
      ResourceError: the program does not fit on a device.
    """
    chosen = limits.capacity is not None or sweep.document.population.capacity != "auto"
    narrowest = limits.group_size or smallest_group(sweep)
    counts = slot_counts(sweep, task, bucket, mesh, limits)
    if chosen:
        return _compiled(sweep, task, bucket, mesh, counts)
    while True:
        try:
            program = _compiled(sweep, task, bucket, mesh, counts)
            if program.memory_bytes <= limits.memory_bytes:
                return program
            share = limits.memory_bytes / program.memory_bytes
        except ResourceError:
            share = 0.5
        smaller = devices.shrunk(*counts, narrowest, mesh.size, share)
        if smaller is None:
            free = f"{limits.memory_bytes / 2**30:.2f} GiB of each are free"
            raise ResourceError(f"{counts.capacity} members at a time do not fit in the devices' memory: {free}")
        counts = SlotCounts(*smaller)


def _compiled(
    sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, counts: SlotCounts, feed_rows: int | None = None
) -> CompiledProgram:
    """Return the turn of so many slots as an executable.

    Args:
      feed_rows: of a source, if not as many as its members see different batches.

    Raises:
      ResourceError: the compiler says that it cannot fit.
    """
    if feed_rows is None:
        feed_rows = rounded_up_rows(min(counts.capacity, distinct_batches(sweep, bucket)))
    advance, state, record = executable(sweep, task, bucket, mesh, counts, feed_rows)
    sizes = advance.memory_analysis()
    measured = {name: leaf for name, leaf in record.items() if name not in STATE_FIELDS}
    return CompiledProgram(
        bucket=bucket,
        mesh=mesh,
        capacity=counts.capacity,
        group_size=counts.group_size,
        advance=advance,
        state=state,
        params=[params_shapes(task, part) for part in bucket.size_classes],
        is_flat=is_elementwise(task, bucket),
        learner=learner_of(task, bucket),
        metrics=[name for name, leaf in measured.items() if leaf.ndim == 1],
        arrays=[name for name, leaf in measured.items() if leaf.ndim > 1],
        memory_bytes=sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes,
        feed_rows=feed_rows,
        recompiled=lambda rows: _compiled(sweep, task, bucket, mesh, counts, rows),
    )


def rounded_up_rows(rows: int) -> int:
    """Return for how many rows of a feed to make room where some are needed: a few sizes serve all needs."""
    return 1 << (rows - 1).bit_length()


def distinct_batches(sweep: Sweep, bucket: Bucket) -> int:
    """Return how many of a bucket's members see batches of their own, while all take the same steps."""
    members = [sweep.members[number] for number in bucket.numbers]
    return len({tuple(member.get(name) for name in DRAWN_BY) for member in members})
