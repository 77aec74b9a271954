"""Checkpoints, for three needs: resume a population, keep final parameters, export one member.

Every folder is sealed with digests when it is whole, and compared with them before anything of it is restored.
"""

import shutil
from collections.abc import Container
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxloop.core.finals import Final
from jaxloop.errors import DamagedError, SweepError
from jaxloop.storage import format_5, run_folder, seal, trees
from jaxloop.storage.snapshot import Finals, Snapshot, concatenated, steps_of

MEMBERS = {"members": np.zeros(0, np.int32)}  # whose rows a folder holds, as `like` of what is restored


def refuse_patterns(folder: Path) -> None:
    """Make sure that orbax, which looks for its files by pattern, will not take a folder's name for one.

    Raises:
      SweepError: it would.
    """
    if found := set("*?[") & set(str(folder.absolute())):
        raise SweepError(
            f"{folder}: needs a path without {' '.join(sorted(found))}, which orbax takes for a pattern"
        )


def _save_members(folder: Path, numbers: np.ndarray, of_members: dict[str, Any]) -> None:
    """Commit some members' trees after reading their numbers back: orbax may write nothing without an error.

    Raises:
      DamagedError: they are others.
    """
    trees.write(folder, {"members": numbers, **of_members})
    if trees.read(folder, MEMBERS, "what was just written")["members"].tolist() != numbers.tolist():
        raise DamagedError(f"{folder}: orbax did not write what it was given")
    seal.seal(folder)


def _restored(folder: Path, like: Any, what: str) -> Any:
    """Return the part of a sealed checkpoint that `like` names, as host arrays in its structure.

    Raises:
      DamagedError: a file is not what was written, or orbax does not find in it what `like` names.
    """
    seal.compare(folder)
    return trees.read(folder, like, what)


def save_population(run: Path, turn: int, part: int, snapshot: Snapshot) -> None:
    """Commit one process's part of a turn's checkpoint, under `checkpoints/TURN/PROCESS`."""
    _save_members(run_folder.checkpoint(run, turn, part), snapshot.members, {"state": snapshot.state})


def check_population(run: Path, turn: int, parts: list[int]) -> None:
    """Compare all parts of a turn's checkpoint with their digests.

    Raises:
      DamagedError: one is missing, or not what was written.
    """
    for part in parts:
        seal.compare(run_folder.checkpoint(run, turn, part))


def save_states(folder: Path, states: Snapshot) -> None:
    """Commit the states that members finished with."""
    _save_members(folder, states.members, {"state": states.state})


def restore_states(folder: Path, like: Any) -> Snapshot:
    """Restore the states in a folder; `like` is one member's, as shapes.

    Raises:
      DamagedError: they cannot be read, or belong to another program.
    """
    return _restored_part(folder, like)


def state_steps(folder: Path) -> dict[int, int]:
    """Return the members whose states a folder holds, by number, and the steps that each had taken.

    Raises:
      DamagedError: it is missing, or not what was written.
    """
    like = {"state": {"step": np.zeros(0, np.int32)}, **MEMBERS}
    saved = _restored(folder, like, "this checkpoint")
    return steps_of(saved["members"], saved["state"]["step"])


def restore_population(run: Path, turn: int, parts: list[int], like: Any) -> Snapshot | None:
    """Restore the members in all shards of a turn's checkpoint; `like` is one member's state as shapes."""
    return concatenated([_restored_part(run_folder.checkpoint(run, turn, part), like) for part in parts])


def _restored_part(path: Path, like: Any) -> Snapshot:
    seal.compare(path)
    is_old = format_5.is_old(trees.names(path, "state"))
    wanted = format_5.as_then(like) if is_old else like
    saved = trees.read(path, {"state": wanted, **MEMBERS}, "this checkpoint")
    if is_old:
        saved["state"] = format_5.as_now(saved["state"])
    found = [leaf.shape for leaf in jax.tree.leaves(saved["state"])]
    wanted = [(len(saved["members"]), *leaf.shape) for leaf in jax.tree.leaves(like)]
    if found != wanted:
        raise DamagedError(f"{path}: state of shapes {found}, this program has {wanted}")
    return Snapshot(saved["members"], saved["state"])


def steps(run: Path, turn: int, parts: list[int]) -> dict[int, int]:
    """Return the members in all parts of a turn's checkpoint, by number, and the steps that each had taken.

    Raises:
      DamagedError: a part is missing, or not what was written.
    """
    found: dict[int, int] = {}
    for part in parts:
        found |= state_steps(run_folder.checkpoint(run, turn, part))
    return dict(sorted(found.items()))


def keep_only(run: Path, turns: Container[int]) -> None:
    """Delete the checkpoints of all other turns, and what a killed process left half-written."""
    for path in run_folder.checkpoints(run).glob("[0-9]*"):
        if path.is_dir() and not (path.name.isdigit() and int(path.name) in turns):
            shutil.rmtree(path)


def save_finals(folder: Path, finals: Finals) -> None:
    """Commit what members end with: "members", and by its name each kind of tree."""
    _save_members(folder, finals.members, {**finals.trees})


class FinalReader:
    """Restores final trees, keeping the last folder, so that members that share it are read at once."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._saved: dict[Final, Any] = {}

    def restore(self, folder: Path, number: int, what: Final, like: Any) -> Any:
        """Return one of a member's final trees as host arrays, in `like`'s structure.

        Raises:
          DamagedError: the folder cannot be read, or the member is not in it.
        """
        if folder != self._folder:
            self._folder, self._saved = folder, {}
        if what not in self._saved:
            self._saved[what] = _restored(folder, {**MEMBERS, what: like}, "these final parameters")
        saved = self._saved[what]
        rows = np.flatnonzero(saved["members"] == number)
        if len(rows) != 1:
            raise DamagedError(f"{folder}: needs to hold member {number} once, holds members {saved['members']}")
        return jax.tree.map(lambda leaf: leaf[rows[0]], saved[what])


def members(folder: Path) -> list[int]:
    """Return the numbers of the members whose final trees a folder holds.

    Raises:
      DamagedError: the folder is not what was written.
    """
    return _restored(folder, MEMBERS, "these final parameters")["members"].tolist()


def save_one(folder: Path, params: Any) -> None:
    """Commit one member's parameters as a checkpoint of their own."""
    trees.write(folder, params)
    seal.seal(folder)


def restore_one(folder: Path, like: Any) -> Any:
    """Return a member's own checkpoint folder, as host arrays in `like`'s structure."""
    return _restored(folder, like, "this checkpoint")


def save_safetensors(path: Path, tree: Any) -> None:
    """Write a tree as one file of the safetensors format, each array under its path: "layers.0.kernel".

    Raises:
      SweepError: safetensors is not installed.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise SweepError('this needs safetensors: pip install "jaxloop[safetensors]"') from error
    arrays = {
        ".".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in keys): leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    save_file({name: np.ascontiguousarray(leaf) for name, leaf in arrays.items()}, path)
