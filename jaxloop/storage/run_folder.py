"""Every path in a run's folder, each named once."""

import os
from pathlib import Path

from jaxloop.errors import SweepError

SWEEP = "sweep.toml"  # the sweep with every default written out
PROVENANCE = "run.json"  # versions, machine and results, for people
DATABASE = "run.sqlite"
LOCK, OWNER = ".lock", ".owner.json"  # of the process that trains the run
MEMBERS = "members"  # TensorBoard events and checkpoints of each member's own
SUMMARY = "summary"  # TensorBoard events of all members together
FINAL = "finished"  # final parameters of members that retired together
STATES = "states"  # final training states, from which more steps continue


PATH_BYTES = 490  # SQLite takes paths of 512, with names of its own behind them


def exists(run: Path) -> bool:
    """Return whether the folder holds a run; False for a path that is too long."""
    return os.path.exists(database(run))


def refuse_long(run: Path) -> None:
    """Make sure that SQLite can open a file in a folder, if the folder's name is one that the file system takes.

    Raises:
      SweepError: its path is too long.
    """
    size = len(os.fsencode(run.absolute()))
    if size > PATH_BYTES and len(os.fsencode(run.name)) < 256:
        raise SweepError(f"{run}: path too long: needs at most {PATH_BYTES} bytes, has {size}")


def sweep(run: Path) -> Path:
    """Return the path of the recorded sweep."""
    return run / SWEEP


def provenance(run: Path) -> Path:
    """Return the path of the facts for people."""
    return run / PROVENANCE


def database(run: Path) -> Path:
    """Return the path of the store's file."""
    return run / DATABASE


def lock(run: Path) -> Path:
    """Return the path of the file that the training process locks."""
    return run / LOCK


def owner(run: Path) -> Path:
    """Return the path of the file that names the training process."""
    return run / OWNER


def members(run: Path) -> Path:
    """Return the folder of all members' own folders, which is TensorBoard's log directory."""
    return run / MEMBERS


def summary(run: Path) -> Path:
    """Return the folder of TensorBoard's runs about all members together."""
    return run / SUMMARY


def member(run: Path, name: str) -> Path:
    """Return a member's own folder.

    Args:
      run: the run's folder.
      name: the folder's name, as the store records it.
    """
    return members(run) / name


def own_checkpoint(run: Path, name: str, tree: str) -> Path:
    """Return the folder of one of a member's final trees, whether the member has it or not.

    Args:
      run: the run's folder.
      name: of the member's own folder.
      tree: its kind, one of `finals.Final`.
    """
    return member(run, name) / ("checkpoint" if tree == "params" else tree)


def checkpoints(run: Path) -> Path:
    """Return the folder of the population's checkpoints."""
    return run / "checkpoints"


def checkpoint(run: Path, turn: int, process: int) -> Path:
    """Return the folder of one process's shard of the checkpoint after a turn."""
    return checkpoints(run) / f"{turn:08d}" / str(process)


def finals(run: Path) -> Path:
    """Return the folder of all members' final parameters."""
    return run / FINAL


def states(run: Path) -> Path:
    """Return the folder of the states that members finished with."""
    return run / STATES


def state(run: Path, turn: int, process: int) -> Path:
    """Return the folder of the states with which members of one process finished in a turn."""
    return states(run) / f"{turn:08d}-{process}"


def final_name(turn: int, number: int) -> str:
    """Return the name, relative to the run, of a folder of final parameters of members that retired in a turn."""
    return f"{FINAL}/{turn:08d}-{number}"


def final_turn(folder: Path) -> int | None:
    """Return the turn in which the members of a folder of final parameters or states retired; else None.

    While it is written its name has a suffix.
    """
    turn, _, number = folder.name.partition(".")[0].partition("-")
    return int(turn) if len(turn) == 8 and turn.isdigit() and number.isdigit() else None


def by_turn(folder: Path) -> dict[Path, int]:
    """Return the folders of final parameters or states in a folder, with the turn in which their members retired.

    Whatever else lies there is the user's.
    """
    turns = {path: final_turn(path) for path in sorted(folder.glob("*")) if path.is_dir()}
    return {path: turn for path, turn in turns.items() if turn is not None}
