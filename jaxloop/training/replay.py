"""Trains one member again, with no neighbours, and compares: anyone can check a run's numbers."""

from typing import Any

import jax
import numpy as np

from jaxloop.core import devices, size_classes
from jaxloop.core.program import compiled, shared
from jaxloop.core.slots import Slots
from jaxloop.core.task import Task
from jaxloop.errors import NotFoundError
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import drift


def train_alone(sweep: Sweep, task: Task, store: Store, number: int) -> dict[str, Any]:
    """Train one member alone and compare its curve with the recorded one.

    Returns:
      `member` and its `steps`; `largest_difference` over all metrics and points; `points` compared; `missing`,
      points that only one of the two curves has; `drift`, what of code, data and libraries has changed since.

    Raises:
      NotFoundError: nothing of the member is recorded yet.
    """
    recorded = store.points(number)
    if not recorded:
        raise NotFoundError(f"{store.path.parent}: member {number} has no recorded point to compare with")
    bucket = size_classes.with_one(size_classes.recorded(sweep, store.size_classes), number)
    mesh = devices.member_mesh(store.devices)
    program = compiled(sweep, task, bucket, mesh, capacity=1, group_size=devices.SMALLEST_GROUP)
    slots = Slots(bucket, sweep.members, program.capacity, program.group_size, [number], mesh.size)
    fresh, data = program.place(slots.admit()), shared(task, bucket, mesh)
    hparams, state = program.place(slots.columns), program.empty()
    nobody = program.place(np.zeros(program.capacity, bool))
    curves: dict[tuple[str, int], float] = {}
    while True:
        state, record = program.advance(hparams, state, fresh, data)
        mine = {name: float(values[0]) for name, values in jax.device_get(record).items()}
        step, fresh = int(mine["step"]), nobody
        curves |= {(name, step): mine[name] for name in program.metrics if not np.isnan(mine[name])}
        if mine["diverged"] or step >= sweep.members[number]["steps"]:
            break
    both = curves.keys() & recorded.keys()
    # equal infinities differ by nothing
    gaps = [abs(curves[at] - recorded[at]) for at in both if curves[at] != recorded[at]]
    return {
        "member": number,
        "steps": step,
        "points": len(both),
        "missing": len(curves.keys() ^ recorded.keys()),
        "largest_difference": max(gaps, default=0.0),
        "drift": drift.changes(store, drift.origin(sweep, task)),
    }
