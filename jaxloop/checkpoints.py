"""Orbax, behind three needs: resume a population, keep final parameters, export one member."""

import logging
import shutil
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxloop.errors import DamagedError

Final = Literal["params", "average"]  # what a member ends with; the second is of the first, over steps


class Finals(NamedTuple):
    """What members that retire together end with.

    members: (N,) int32 numbers.
    trees: of each kind the task's own structure, of (N, ...) host arrays.
    """

    members: np.ndarray
    trees: dict[Final, Any]

    def folders(self) -> Iterator["Finals"]:
        """In parts of at most `FOLDER_BYTES`, since who restores one member reads its part."""
        leaves = jax.tree.leaves(self.trees)
        most = max(1, FOLDER_BYTES * len(self.members) // max(1, sum(leaf.nbytes for leaf in leaves)))
        for start in range(0, len(self.members), most):
            part = slice(start, start + most)
            yield Finals(self.members[part], jax.tree.map(lambda leaf, part=part: leaf[part], self.trees))


# Of final parameters: plain orbax restores one of a folder's members in 30 ms (benchmarks/LOG.md).
FOLDER_BYTES = 16 << 20

logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax logs, it raises as well


def _checkpointer() -> ocp.Checkpointer:
    # to compress took five times as long, on cores that train, for a tenth of the bytes (benchmarks/LOG.md)
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False))


def save_population(folder: Path, turn: int, state: Any, slots: np.ndarray) -> None:
    """Commits a whole population's state and who sits in which slot, under `folder/turn`.

    Args:
      state: pytree of (M, ...) host arrays.
      slots: (M,) int32 numbers of the members; -1 for an idle slot.
    """
    path = folder.absolute() / f"{turn:08d}"
    with _checkpointer() as checkpointer:
        checkpointer.save(path, ocp.args.PyTreeSave({"state": state, "slots": slots}), force=True)


def keep_only(folder: Path, turns: Container[int]) -> None:
    """Deletes the checkpoints of all other turns, and what a killed process left half-written."""
    for path in folder.glob("[0-9]*"):
        if not path.name.isdigit() or int(path.name) not in turns:
            shutil.rmtree(path)


def restore_population(folder: Path, turn: int, like: Any) -> tuple[Any, np.ndarray]:
    """The state and slots of a turn, as host arrays in `like`'s structure and shapes."""
    path = folder.absolute() / f"{turn:08d}"
    saved = _restored(path, {"state": like, "slots": np.zeros(0, np.int32)}, "this checkpoint")
    found, wanted = ([leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (saved["state"], like))
    if found != wanted:
        raise DamagedError(f"{path}: state of shapes {found}, this program has {wanted}")
    return saved["state"], saved["slots"]


def _restored(path: Path, like: Any, what: str) -> Any:
    """The part of a checkpoint that `like` names, as host arrays in its structure."""
    arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        with _checkpointer() as checkpointer:
            return checkpointer.restore(path, ocp.args.PyTreeRestore(like, arrays, partial_restore=True))
    except Exception as error:  # orbax raises many kinds; each means that the checkpoint is not usable
        raise DamagedError(f"{path}: {what} cannot be restored: {error}") from error


def save_finals(folder: Path, finals: Finals) -> None:
    """Commits what members end with: "members", and by its name each kind of tree."""
    with _checkpointer() as checkpointer:
        tree = {"members": finals.members, **finals.trees}
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(tree), force=True)


def restore_final(folder: Path, number: int, what: Final, like: Any) -> Any:
    """One of a member's final trees as host arrays, in `like`'s structure.

    Raises:
      DamagedError: the folder cannot be read, or the member is not in it.
    """
    saved = _restored(folder.absolute(), {"members": np.zeros(0, np.int32), what: like}, "these final parameters")
    rows = np.flatnonzero(saved["members"] == number)
    if len(rows) != 1:
        raise DamagedError(f"{folder}: needs to hold member {number} once, holds members {saved['members']}")
    return jax.tree.map(lambda leaf: leaf[rows[0]], saved[what])


def save_one(folder: Path, params: Any) -> None:
    """Commits one member's parameters as a checkpoint of their own."""
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(params), force=True)


def restore_one(folder: Path, like: Any) -> Any:
    """A member's own checkpoint folder, as host arrays in `like`'s structure."""
    return _restored(folder.absolute(), like, "this checkpoint")
