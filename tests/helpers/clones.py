"""Clones of one member in every lane of a group: the same bits, whatever the group."""

import jax
import numpy as np

from jaxloop import api
from jaxloop.core import devices
from jaxloop.core.bucket import SIZE_CLASS, undivided
from jaxloop.core.program import compiled, shared
from jaxloop.core.slot_counts import SlotLimits
from jaxloop.sweep import sweep

TURNS = 2  # the first starts members, the last one ends and tests them


def trained(swept: sweep.Sweep, group_size: int, clones: int | None = None):
    """What a turn measures and what is left of clones of a sweep's first member: leaves with an axis of lanes.

    Args:
      clones: how many there are on each device; the other lanes of a group stay idle.
    """
    (bucket,) = undivided(swept)
    task, mesh = api.task_of(swept), devices.member_mesh()
    program = compiled(swept, task, bucket, mesh, SlotLimits(group_size * mesh.size, group_size))
    lanes = np.tile(np.arange(group_size) < (clones or group_size), mesh.size)
    columns = {name: np.full(len(lanes), value) for name, value in bucket.columns(swept.members[0]).items()}
    columns["steps"] = np.where(lanes, columns["steps"], 0).astype(columns["steps"].dtype)
    columns[SIZE_CLASS] = np.zeros(len(lanes), np.int32)
    hparams, data = program.place(columns), shared(task, bucket, mesh)
    state, records = program.empty(), []
    for turn in range(TURNS):
        state, record = program.advance(hparams, state, program.place(lanes & (turn == 0)), data)
        records.append(jax.device_get(record))
    return jax.tree.map(lambda leaf: leaf[lanes], (records, jax.device_get(state.learner.params)))


def assert_equal_bits(found, reference):
    """Compare each lane with the reference's first."""
    leaves, wanted = jax.tree.leaves(found), jax.tree.leaves(reference)
    assert len(leaves) == len(wanted) > 0
    for leaf, one in zip(leaves, wanted, strict=True):
        np.testing.assert_array_equal(leaf, np.broadcast_to(one[:1], leaf.shape))
