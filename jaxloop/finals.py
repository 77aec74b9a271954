"""What members that leave a population end with: rows of its state, as each member's task has them."""

from typing import Any

import jax
import numpy as np

from jaxloop.bucket import alone
from jaxloop.checkpoints import Final, Finals
from jaxloop.compiled import CompiledProgram
from jaxloop.padding import cropped
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.traced import params_shapes


def ended_with(
    sweep: Sweep, task: Task, program: CompiledProgram, state: Any, slots: np.ndarray, members: np.ndarray
) -> list[Finals]:
    """What leavers end with, those of one size together: parameters as the task has them, without padding.

    Args:
      state: of all slots.
      slots, members: (N,) slots of the leavers, and their numbers.
    """
    kinds: dict[Final, Any] = {"params": state.params, "average": state.average}
    saved = jax.device_get({what: tree for what, tree in kinds.items() if jax.tree.leaves(tree)})
    alike: dict[tuple, list[int]] = {}
    for row, number in enumerate(members.tolist()):
        sizes = tuple(sweep.members[number][name] for name in program.bucket.sizes)
        alike.setdefault(sizes, []).append(row)
    return [_alike(sweep, task, program, saved, slots[rows], members[rows]) for rows in alike.values()]


def _alike(
    sweep: Sweep,
    task: Task,
    program: CompiledProgram,
    saved: dict[Final, Any],
    slots: np.ndarray,
    members: np.ndarray,
) -> Finals:
    """What leavers of the same sizes end with, from the state of all slots."""
    first = int(members[0])
    trees: dict[Final, Any] = {
        what: program.tree(jax.tree.map(lambda leaf: leaf[slots], tree), program.bucket.class_of[first])
        for what, tree in saved.items()
    }
    if program.bucket.sizes:
        own = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((len(members), *leaf.shape), leaf.dtype),
            params_shapes(task, alone(sweep, first)),
        )
        trees = {what: cropped(tree, own) for what, tree in trees.items()}
    return Finals(members, trees)
