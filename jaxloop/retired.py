"""Final parameters of retired members: read back, given folders of their own, dropped."""

import shutil
from pathlib import Path
from typing import Any, get_args

from jaxloop import checkpoints, digests
from jaxloop.bucket import alone
from jaxloop.errors import DamagedError, NotFoundError
from jaxloop.records import Member
from jaxloop.snapshot import Final, ends_with
from jaxloop.store import Store
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.traced import params_shapes
from jaxloop.units import ranges

BEST_CONFIGS, BEST_SEEDS = 8, 8  # of each of the best configs, so many members get folders of their own


def final(run: Path, sweep: Sweep, task: Task, store: Store, number: int, what: Final = "params") -> Any:
    """A retired member's final parameters or their average, as host arrays in the task's own structure.

    Raises:
      NotFoundError: the member has not ended, or its parameters were not kept.
    """
    member = store.members("number = ?", (number,))[0]
    like = params_shapes(task, alone(sweep, number))
    if what not in ends_with(sweep.members[number]):
        raise NotFoundError(f"{run}: member {number} has no average of its parameters: it has no `ema_decay`")
    if member.finished is not None:
        return checkpoints.restore_final(run / member.finished, number, what, like)
    own = _own_folder(run, member, what)
    if own.exists():
        return checkpoints.restore_one(own, like)
    raise NotFoundError(f"{run}: member {number} has no final parameters ({member.status}, or keep dropped them)")


def keep(run: Path, sweep: Sweep, task: Task, store: Store, ranked: list[dict[str, Any]]) -> list[str]:
    """Gives the best configs' members checkpoint folders of their own; deletes what `keep` does not name.

    Args:
      ranked: all configs as `report.ranked` gives them, best first.

    Returns:
      What could not be kept: it is damaged.
    """
    notes = []
    wanted = sweep.document.checkpoint.keep
    if wanted == "all":
        numbers = [number for config in ranked[:BEST_CONFIGS] for number in config["members"][:BEST_SEEDS]]
    elif wanted == "none":
        numbers = []
    else:
        numbers = [
            number for config in ranked[: int(wanted.removeprefix("best:"))] for number in config["members"]
        ]
    for number in numbers:
        (member,) = store.members("number = ?", (number,))
        for what in ends_with(sweep.members[number]):
            target = _own_folder(run, member, what)
            for unfinished in target.parent.glob(f"{target.name}.*"):  # of a process that was killed
                shutil.rmtree(unfinished)
            # without a folder of its own: new, or another was better before the run grew
            if member.finished and not digests.is_sealed(target):
                try:
                    params = final(run, sweep, task, store, number, what)
                except DamagedError as error:
                    notes.append(f"member {number} gets no checkpoint of its own: {error}")
                else:
                    checkpoints.save_one(target, params)
    if wanted != "all":
        store.drop_finished()
        shutil.rmtree(run / "finished", ignore_errors=True)
        kept = [bool(_own_folders(run, member)) for member in store.members()]
        for member in store.members():
            if member.number not in numbers and all(
                kept[number] for number in numbers
            ):  # else the only copies left
                for own in _own_folders(run, member):
                    shutil.rmtree(own)
    return notes


def mend(run: Path, store: Store) -> list[str]:
    """Deletes damaged checkpoint folders of members' own, where `keep` can write them anew.

    Returns:
      What of the final parameters that a run has kept is not what was written, a line each.
    """
    notes, damaged = [], set()
    for folder in sorted({member.finished for member in store.members() if member.finished}):
        try:
            digests.check(run / folder)
        except DamagedError as error:
            damaged.add(folder)
            lost = [member.number for member in store.members("finished = ?", (folder,))]
            notes.append(f"final parameters of members {ranges(lost)} are lost, their curves are not: {error}")
    for member in store.members():
        for own in _own_folders(run, member):
            if member.finished and not digests.is_sealed(own):
                continue  # of a process that was killed: `keep` writes it anew
            try:
                digests.check(own)
            except DamagedError as error:
                whole = member.finished is not None and member.finished not in damaged
                if whole:
                    shutil.rmtree(own)
                told = "written anew if it is among the best" if whole else "lost, its curves are not"
                notes.append(f"member {member.number}'s own checkpoint is {told}: {error}")
    return notes


def _own_folders(run: Path, member: Member) -> list[Path]:
    """Those that a member has."""
    return [own for what in get_args(Final) if (own := _own_folder(run, member, what)).exists()]


def _own_folder(run: Path, member: Member, what: Final) -> Path:
    return run / "members" / member.folder / ("checkpoint" if what == "params" else what)
