"""Trains one member again, with no neighbours, and compares: anyone can check a run's numbers."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxloop.core import size_classes
from jaxloop.core.devices import SMALLEST_GROUP, member_mesh, on_cpu
from jaxloop.core.program import CompiledProgram, compiled, shared
from jaxloop.core.slot_counts import SlotLimits
from jaxloop.core.slots import Slots
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, NotFoundError
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import drift
from jaxloop.training.feed import Feed


def train_alone(sweep: Sweep, task: Task, store: Store, number: int) -> dict[str, Any]:
    """Train one member alone and compare its curve with the recorded one.

    Returns:
      `member` and its `steps`; `largest_difference` over all metrics and points; `points` compared; `missing`,
      points that only one of the two curves has; `drift`, what of code, data and libraries has changed since.

    Raises:
      NotFoundError: nothing of the member is recorded yet.
      DamagedError: the store does not say in which program the member was trained.
    """
    recorded: dict[tuple[str, int], Any] = dict(store.points(number))
    if not recorded:
        raise NotFoundError(f"{store.path.parent}: member {number} has no recorded point to compare with")
    for metric, arrays in store.arrays(number).items():
        recorded |= {(metric, step): array for step, array in arrays.items()}
    lineage = _lineage(store, number)
    member, start = lineage[-1], lineage[-1].parent_step
    last = sweep.members[number]["steps"] if member.status in (Status.FINISHED, Status.DIVERGED) else member.step
    mesh = member_mesh(store.devices)
    program = _program(sweep, task, store, number, mesh)
    bucket = program.bucket
    slots = Slots(bucket, sweep.members, program.capacity, program.group_size, [number], mesh.size)
    fresh, feed = program.place(slots.admit()), Feed(sweep, task, program, shared(task, bucket, mesh))
    (seat,) = slots.seated
    slots.reseat(seat, lineage[0].number)
    hparams, state = program.place(slots.columns), program.empty()
    nobody = program.place(np.zeros(program.capacity, bool))
    curves: dict[tuple[str, int], Any] = {}
    while True:
        where, data = feed.chunk(slots.columns, slots.steps, slots.seated)
        state, record = feed.program.advance({**hparams, **program.place(where)}, state, fresh, data)
        mine = {name: values[seat] for name, values in jax.device_get(record).items()}
        step, fresh = int(mine["step"]), nobody
        slots.steps[seat] = step
        if step > start or not step:  # one that diverged at once was measured as it began
            names = (*program.metrics, *program.arrays)
            curves |= {(name, step): mine[name] for name in names if not np.isnan(mine[name]).all()}
        if mine["diverged"] or mine["done"] or step >= last:
            break
        while len(lineage) > 1 and step >= lineage[1].parent_step:
            lineage = lineage[1:]
            slots.reseat(seat, lineage[0].number)
            hparams = program.place(slots.columns)
    feed.close()
    both = curves.keys() & recorded.keys()
    gaps = [_gap(curves[at], recorded[at]) for at in both]
    return {
        "member": number,
        "steps": step,
        "points": len(both),
        "missing": len(curves.keys() ^ recorded.keys()),
        "largest_difference": max(gaps, default=0.0),
        "drift": drift.changes(store, drift.origin(sweep, task)),
    }


def _gap(mine: Any, recorded: Any) -> float:
    """Return the largest difference of two values or arrays; equal infinities differ by nothing."""
    mine, recorded = np.asarray(mine, np.float64), np.asarray(recorded, np.float64)
    if np.array_equal(mine, recorded, equal_nan=True):
        return 0.0
    return float(np.nanmax(np.abs(mine - recorded)[mine != recorded]))


def _lineage(store: Store, number: int) -> list[Member]:
    """Return a member behind those that it began as a copy of, the first of which has no parent."""
    (member,) = store.members("number = ?", (number,))
    return [*([] if member.parent is None else _lineage(store, member.parent)), member]


def _program(sweep: Sweep, task: Task, store: Store, number: int, mesh: Mesh) -> CompiledProgram:
    """Return the program that gives a member its bits: on CPU any does, elsewhere only the one of the run."""
    buckets = size_classes.recorded(sweep, store.size_classes)
    if on_cpu(mesh):
        alone = size_classes.with_one(buckets, number)
        return compiled(sweep, task, alone, mesh, SlotLimits(capacity=1, group_size=SMALLEST_GROUP))
    index = next(index for index, bucket in enumerate(buckets) if number in bucket.numbers)
    layout = store.layout(index)
    if layout is None:
        raise DamagedError(f"{store.path}: the layout of member {number}'s program is missing")
    limits = SlotLimits(capacity=layout["capacity"], group_size=layout["width"])
    return compiled(sweep, task, buckets[index], mesh, limits)
