"""Which final parameters a run keeps: the best get checkpoint folders of their own, the rest may be dropped."""

import shutil
from pathlib import Path
from typing import Any, get_args

from jaxloop import checkpoints, digests
from jaxloop.errors import DamagedError
from jaxloop.records import Member
from jaxloop.retired import final, own_folder, own_folders
from jaxloop.snapshot import Final, ends_with
from jaxloop.store import Store
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.units import ranges

BEST_CONFIGS, BEST_SEEDS = 8, 8  # of each of the best configs, so many members get folders of their own


def keep(run: Path, sweep: Sweep, task: Task, store: Store, ranked: list[dict[str, Any]]) -> list[str]:
    """Gives the best configs' members checkpoint folders of their own; deletes what `keep` does not name.

    Args:
      ranked: all configs as `report.ranked` gives them, best first.

    Returns:
      What could not be kept, or not be deleted, and why.
    """
    wanted = sweep.document.checkpoint.keep
    numbers = _best(wanted, ranked)
    notes = []
    for number in numbers:
        (member,) = store.members("number = ?", (number,))
        for what in ends_with(sweep.members[number]):
            own = own_folder(run, member, what)
            # without a folder of its own: new, or another was better before the run grew
            if member.finished and not digests.is_sealed(own):
                try:
                    params = final(run, sweep, task, store, number, what)
                except DamagedError as error:
                    notes.append(f"member {number} gets no checkpoint of its own: {error}")
                else:
                    checkpoints.save_one(own, params)
    if wanted != "all":
        store.drop_finished()
        shutil.rmtree(run / "finished", ignore_errors=True)
        notes += _drop_all_but(run, store, set(numbers))
    return notes


def _best(wanted: str, ranked: list[dict[str, Any]]) -> list[int]:
    """Whose parameters `keep` means to have folders of their own, by number."""
    if wanted == "none":
        return []
    if wanted == "all":
        return [number for config in ranked[:BEST_CONFIGS] for number in config["members"][:BEST_SEEDS]]
    return [number for config in ranked[: int(wanted.removeprefix("best:"))] for number in config["members"]]


def _drop_all_but(run: Path, store: Store, numbers: set[int]) -> list[str]:
    """Deletes the folders of all other members, unless some of these have none: then others are what is left."""
    having = {member.number: own for member in store.members() if (own := own_folders(run, member))}
    if missing := sorted(numbers - having.keys()):
        others = sorted(having.keys() - numbers)
        told = f"members {ranges(missing)} are among the best and have no final parameters any more"
        return [f"{told}: those of members {ranges(others)} stay, which `keep` would drop"] if others else []
    for number in having.keys() - numbers:
        for own in having[number]:
            _delete(own)
    return []


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
            held = store.members("finished = ?", (folder,))
            lost = [member.number for member in held if not own_folders(run, member)]
            told = f"final parameters of members {ranges(lost)} are lost, their curves are not"
            whole = "all of its members have checkpoints of their own"
            notes.append(f"{told if lost else whole}: {error}")
    for member in store.members():
        _clear(run, member)
        for own in own_folders(run, member):
            if member.finished and not digests.is_sealed(own):
                continue  # of a process that was killed: `keep` writes it anew
            try:
                digests.check(own)
            except DamagedError as error:
                whole = member.finished is not None and member.finished not in damaged
                if whole:
                    _delete(own)
                told = "deleted; if the member is among the best, it is written anew as the run ends"
                fate = told if whole else "lost, its curves are not"
                notes.append(f"member {member.number}'s own checkpoint is {fate}: {error}")
    return notes


def _delete(own: Path) -> None:
    """Deletes a whole folder; killed on the way, it leaves none under its name that would seem damaged."""
    dropped = own.replace(own.with_name(f"{own.name}.dropped"))
    shutil.rmtree(dropped)


def _clear(run: Path, member: Member) -> None:
    """Deletes what a killed process had half written, or half deleted."""
    for what in get_args(Final):
        own = own_folder(run, member, what)
        for unfinished in own.parent.glob(f"{own.name}.*"):
            shutil.rmtree(unfinished)
