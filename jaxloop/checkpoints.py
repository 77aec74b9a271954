"""Orbax, behind three needs: resume a population, keep final parameters, export one member."""

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxloop.errors import DamagedError

logging.getLogger("absl").setLevel(logging.ERROR)
KEPT = 2  # the newest, and the one before it: the store may still name that one


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())


def save_population(folder: Path, turn: int, state: Any, slots: np.ndarray) -> None:
    """Commits a whole population's state and who sits in which slot, under `folder/turn`.

    Args:
      state: pytree of (M, ...) host arrays.
      slots: (M,) int32 numbers of the members; -1 for an idle slot.
    """
    path = folder.absolute() / f"{turn:08d}"
    with _checkpointer() as checkpointer:
        checkpointer.save(path, ocp.args.PyTreeSave({"state": state, "slots": slots}), force=True)


def prune(folder: Path) -> None:
    """Deletes all but the newest checkpoints."""
    for old in sorted(folder.glob("[0-9]" * 8))[:-KEPT]:
        shutil.rmtree(old)


def restore_population(folder: Path, turn: int, like: Any) -> tuple[Any, np.ndarray]:
    """The state and slots of a turn, as host arrays in `like`'s structure."""
    path = folder.absolute() / f"{turn:08d}"
    try:
        with _checkpointer() as checkpointer:
            metadata = checkpointer.metadata(path).item_metadata.tree
            numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
            saved = checkpointer.restore(path, ocp.args.PyTreeRestore(restore_args=numpy))
    except Exception as error:  # orbax raises many kinds; each means that the checkpoint is not usable
        raise DamagedError(f"{path}: this checkpoint cannot be restored: {error}") from error
    leaves, expected = jax.tree.leaves(saved["state"]), jax.tree.leaves(like)
    found, wanted = [x.shape for x in leaves], [x.shape for x in expected]
    if found != wanted:
        raise DamagedError(f"{path}: state of shapes {found}, this program has {wanted}")
    return jax.tree.unflatten(jax.tree.structure(like), leaves), np.asarray(saved["slots"])


def save_members(folder: Path, params: dict[int, Any]) -> None:
    """Commits final parameters of members that retire together: one tree, a key for each member's number."""
    with _checkpointer() as checkpointer:
        tree = {str(number): tree for number, tree in params.items()}
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(tree), force=True)


def restore_member(folder: Path, number: int, like: Any) -> Any:
    """One member's parameters as host arrays, in `like`'s structure, without reading the others."""
    item = {str(number): jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)}
    numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    try:
        with _checkpointer() as checkpointer:
            arguments = ocp.args.PyTreeRestore(item, restore_args=numpy, partial_restore=True)
            return checkpointer.restore(folder.absolute(), arguments)[str(number)]
    except Exception as error:
        raise DamagedError(f"{folder}: member {number} cannot be restored: {error}") from error


def save_one(folder: Path, params: Any) -> None:
    """Commits one member's parameters as a checkpoint of their own."""
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(params), force=True)


def restore_one(folder: Path) -> Any:
    """A member's own checkpoint folder, as host arrays."""
    with _checkpointer() as checkpointer:
        metadata = checkpointer.metadata(folder.absolute()).item_metadata.tree
        numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
        return checkpointer.restore(folder.absolute(), ocp.args.PyTreeRestore(restore_args=numpy))
