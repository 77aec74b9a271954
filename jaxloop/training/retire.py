"""What members that leave a population end with: rows of its state, as each member's task has them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxloop.core.assembly import final_shapes
from jaxloop.core.bucket import alone
from jaxloop.core.finals import Final
from jaxloop.core.padding import cropped
from jaxloop.core.program import CompiledProgram
from jaxloop.core.task import Task
from jaxloop.storage import run_folder
from jaxloop.storage.snapshot import Finals
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import processes

# Of all kinds together: plain orbax restores one of a folder's members in 30 ms (benchmarks/LOG.md).
FOLDER_BYTES = 16 << 20


class Leavers(NamedTuple):
    """Some that leave a population, and where their states are.

    members: (N,) their numbers.
    owners: (N,) the processes that write what they end with.
    rows: (N,) their places in their owner's `state`.
    state: of (M, ...) arrays, this process's.
    """

    members: np.ndarray
    owners: np.ndarray
    rows: np.ndarray
    state: Any


def finals(
    sweep: Sweep, task: Task, program: CompiledProgram, turn: int, groups: Sequence[Leavers]
) -> tuple[dict[int, str], list[tuple[str, Finals]]]:
    """Return the folders of what leavers end with, by number, of all processes; and the contents of this one's."""
    folders: dict[int, str] = {}
    contents: list[tuple[str, Finals]] = []
    if sweep.document.checkpoint.keep == "none":
        return folders, contents
    count = itertools.count()
    for leavers in groups:
        trees = jax.device_get(_kinds(program, leavers.state))
        for part in _parts(sweep, task, program, leavers):
            folder, members = run_folder.final_name(turn, next(count)), leavers.members[part]
            folders |= dict.fromkeys(members.tolist(), folder)
            if leavers.owners[part[0]] == processes.index():
                contents.append((folder, _ended_with(sweep, task, program, trees, leavers.rows[part], members)))
    return folders, contents


def _parts(sweep: Sweep, task: Task, program: CompiledProgram, leavers: Leavers) -> Iterator[np.ndarray]:
    """Yield (K,) indexes of those that share a folder: of one size and owner, `FOLDER_BYTES` at most."""
    alike: dict[tuple, list[int]] = {}
    for row, (number, owner) in enumerate(zip(leavers.members.tolist(), leavers.owners.tolist(), strict=True)):
        sizes = tuple(sweep.members[number][name] for name in program.bucket.sizes)
        alike.setdefault((owner, *sizes), []).append(row)
    for rows in alike.values():
        yield from _bounded(sweep, task, leavers.members, np.array(rows))


def _bounded(sweep: Sweep, task: Task, members: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    best = bool(sweep.document.checkpoint.best)
    shapes = final_shapes(task, alone(sweep, int(members[rows[0]])), best=best)
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    most = max(1, FOLDER_BYTES // max(1, each))
    return (rows[start : start + most] for start in range(0, len(rows), most))


def _kinds(program: CompiledProgram, state: Any) -> dict[Final, Any]:
    """Return what of a program's state members end with, by kind."""
    trees: dict[Final, Any] = {
        "params": jax.vmap(program.learner.params)(state.learner),
        "average": state.average,
        "state": jax.vmap(program.learner.extra)(state.learner),
    }
    if state.best:
        trees |= {"best": state.best.params, "best_state": state.best.extra}
    return {what: tree for what, tree in trees.items() if jax.tree.leaves(tree)}


def _ended_with(
    sweep: Sweep,
    task: Task,
    program: CompiledProgram,
    trees: dict[Final, Any],
    slots: np.ndarray,
    members: np.ndarray,
) -> Finals:
    """Return what leavers of the same sizes end with: parameters as the task has them, without padding.

    Args:
      trees: what `_kinds` gives of the state, as host arrays of all slots of this process.
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
