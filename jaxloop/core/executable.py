"""A bucket's turn as an executable: built from one member's program, traced and compiled once a process."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxloop.core import devices
from jaxloop.core.assembly import in_chunks, one_member
from jaxloop.core.bucket import SIZE_CLASS, Bucket
from jaxloop.core.chunk import Program
from jaxloop.core.costs import products
from jaxloop.core.member import TrainState
from jaxloop.core.memo import memoized
from jaxloop.core.population import (
    MEMBER,
    SHARED,
    Advance,
    by_size_class,
    compiler_options,
    fitted,
    grouped,
    jitted,
    kept_apart,
    over_slots,
    populated,
    rested,
    spread,
    streamed,
)
from jaxloop.core.shapes import columns, data_shapes, feed_layout
from jaxloop.core.slot_counts import SlotCounts
from jaxloop.core.task import Task
from jaxloop.errors import ResourceError, is_out_of_device_memory
from jaxloop.sweep.sweep import Sweep

KEPT = 8  # executables of a task, in a process that runs many sweeps


class Executable(NamedTuple):
    """A compiled turn.

    advance: `(hparams_M, state_M, fresh_M, data) -> (state_M, record_M)`; see `population.streamed`.
    state, record: as shapes; the state's with shardings.
    """

    advance: Any
    state: TrainState
    record: dict[str, jax.ShapeDtypeStruct]


def executable(
    sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, counts: SlotCounts, feed_rows: int
) -> Executable:
    """Return the turn of so many slots; the same executable where nothing that determines it is different.

    Args:
      feed_rows: of a source, for how many rows of batches its data have room.

    Raises:
      ResourceError: the compiler says that it cannot fit.
    """
    document, best = sweep.document, sweep.document.checkpoint.best
    options = options_of(sweep, task, bucket, mesh)
    layout = feed_layout(sweep, task, bucket)

    def found() -> Executable:
        one, hparams = one_member(sweep, task, bucket)
        state, data = jax.eval_shape(one.init, hparams), data_shapes(sweep, task, bucket, feed_rows)
        turns = [_turn(in_chunks(sweep, task, part, layout), state, mesh, data) for part in bucket.size_classes]
        advance = spread(grouped(rested(by_size_class(turns)), counts.group_size), mesh)
        return _compiled(jitted(advance, options), _arguments(state, bucket, task, counts.capacity, mesh, data))

    # everything besides the task that determines the turn
    key = (
        "turn",
        (bucket.program, *(part.program for part in bucket.classes)),
        (document.run.evaluate_every, document.evaluate.batch_size, best, best and document.mode_of(best)),
        (layout, layout and feed_rows, counts, mesh, tuple(options.items())),
    )
    compiled = memoized(task, key, found)
    for old in [known for known in task.traced if known[0] == "turn"][:-KEPT]:
        del task.traced[old]
    return compiled


def options_of(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> dict[str, Any]:
    """Return XLA's options for a bucket's turn."""
    return compiler_options(
        devices.platform(mesh),
        short_products=products(sweep, task, bucket).are_short,
        deterministic=sweep.document.population.deterministic,
    )


def _turn(size_class: tuple[Program, Any], largest: TrainState, mesh: Mesh, data: Any) -> Advance:
    """Return one turn of a group of one size class, in slots that hold the `largest` state.

    Args:
      size_class: a member's program, and its traced hparams as shapes.
    """
    program, hparams = size_class
    own = jax.eval_shape(program.init, hparams)
    if own != largest:
        program = fitted(program, own, largest)
    return streamed(populated(kept_apart(program, hparams, largest, data, cpu=devices.on_cpu(mesh))))


def _compiled(turn: Any, arguments: tuple) -> Executable:
    """Compile a turn for arguments that are given as shapes.

    Raises:
      ResourceError: the compiler says that it cannot fit.
    """
    _, state, fresh, _ = arguments
    lowered = turn.lower(*arguments)
    try:
        return Executable(lowered.compile(), state, lowered.out_info[1])
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_device_memory(error):
            raise
        raise ResourceError(
            f"{fresh.shape[0]} slots do not fit on the device: lower population.capacity"
        ) from None


def _arguments(state: TrainState, bucket: Bucket, task: Task, capacity: int, mesh: Mesh, data: Any) -> tuple:
    """Return the turn's arguments (hparams, state, fresh, data) as shapes with shardings."""
    by_slot, on_all = NamedSharding(mesh, MEMBER), NamedSharding(mesh, SHARED)

    def column(dtype: Any) -> Any:
        return jax.ShapeDtypeStruct((capacity,), dtype, sharding=by_slot)

    own = {name: leaf.dtype for name, leaf in columns(task, bucket).items()}
    hparams = {name: column(dtype) for name, dtype in {**own, SIZE_CLASS: np.int32}.items()}
    data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_all), data)
    return hparams, over_slots(state, capacity, mesh), column(np.bool_), data
