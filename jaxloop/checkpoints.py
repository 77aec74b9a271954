"""Orbax, behind three needs: resume a population, keep final parameters, export one member."""

import logging
import shutil
from collections.abc import Container
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxloop.errors import DamagedError

Final = Literal["params", "average"]  # what a member ends with; the second is of the first, over steps

logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax logs, it raises as well


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


def save_members(folder: Path, finals: dict[int, dict[Final, Any]]) -> None:
    """Commits what members that retire together end with: one tree, a key for each of a member's trees."""
    tree = {_key(number, what): tree for number, trees in finals.items() for what, tree in trees.items()}
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(tree), force=True)


def restore_member(folder: Path, number: int, what: Final, like: Any) -> Any:
    """One of a member's final trees as host arrays, in `like`'s structure, without reading others."""
    key = _key(number, what)
    return _restored(folder.absolute(), {key: like}, f"member {key}")[key]


def _key(number: int, what: Final) -> str:
    return str(number) if what == "params" else f"{number}-{what}"


def save_one(folder: Path, params: Any) -> None:
    """Commits one member's parameters as a checkpoint of their own."""
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(params), force=True)


def restore_one(folder: Path, like: Any) -> Any:
    """A member's own checkpoint folder, as host arrays in `like`'s structure."""
    return _restored(folder.absolute(), like, "this checkpoint")
