"""What members that leave a population end with: rows of its state, as each member's task has them."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxloop.core.bucket import alone
from jaxloop.core.finals import Final
from jaxloop.core.padding import cropped
from jaxloop.core.program import CompiledProgram
from jaxloop.core.shapes import final_shapes
from jaxloop.core.task import Task
from jaxloop.storage.snapshot import Finals
from jaxloop.sweep.sweep import Sweep

# Of all kinds together: plain orbax restores one of a folder's members in 30 ms (benchmarks/LOG.md).
FOLDER_BYTES = 16 << 20


def parts(
    sweep: Sweep, task: Task, program: CompiledProgram, members: np.ndarray, processes: np.ndarray
) -> list[np.ndarray]:
    """Leavers that share a folder: of one size and process, at most `FOLDER_BYTES` together.

    Args:
      members: (N,) numbers of the leavers.
      processes: (N,) whose devices trained them.

    Returns:
      (K,) indexes into `members` for each folder; the same in every process.
    """
    alike: dict[tuple, list[int]] = {}
    for row, (number, process) in enumerate(zip(members.tolist(), processes.tolist(), strict=True)):
        sizes = tuple(sweep.members[number][name] for name in program.bucket.sizes)
        alike.setdefault((process, *sizes), []).append(row)
    return [part for rows in alike.values() for part in _bounded(sweep, task, members, np.array(rows))]


def _bounded(sweep: Sweep, task: Task, members: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    best = bool(sweep.document.checkpoint.best)
    shapes = final_shapes(task, alone(sweep, int(members[rows[0]])), best=best)
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    most = max(1, FOLDER_BYTES // max(1, each))
    return (rows[start : start + most] for start in range(0, len(rows), most))


def kinds(program: CompiledProgram, state: Any) -> dict[Final, Any]:
    """Return what of a program's state members end with, by kind."""
    trees: dict[Final, Any] = {
        "params": jax.vmap(program.learner.params)(state.learner),
        "average": state.average,
        "state": jax.vmap(program.learner.extra)(state.learner),
    }
    if state.best:
        trees |= {"best": state.best.params, "best_state": state.best.extra}
    return {what: tree for what, tree in trees.items() if jax.tree.leaves(tree)}


def ended_with(
    sweep: Sweep,
    task: Task,
    program: CompiledProgram,
    trees: dict[Final, Any],
    slots: np.ndarray,
    members: np.ndarray,
) -> Finals:
    """Return what leavers of the same sizes end with: parameters as the task has them, without padding.

    Args:
      trees: what `kinds` gives of the state, as host arrays of all slots of this process.
      slots, members: (N,) their places in those, and their numbers.
    """
    first = int(members[0])
    own: dict[Final, Any] = jax.tree.map(lambda leaf: leaf[slots], trees)
    for what in own.keys() - {"state", "best_state"}:
        own[what] = program.tree(own[what], program.bucket.class_of[first])
    if program.bucket.sizes:
        shapes = final_shapes(task, alone(sweep, first), best="best" in own)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(members), *leaf.shape), leaf.dtype), shapes)
        own = {what: cropped(tree, shapes["params" if what == "average" else what]) for what, tree in own.items()}
    return Finals(members, own)
