"""Which final parameters a run keeps: the best get checkpoint folders of their own, the rest may be dropped."""

import contextlib
import shutil
from pathlib import Path
from typing import get_args

from jaxloop.core.finals import Final, ends_with
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError
from jaxloop.formatting import ranges
from jaxloop.storage import checkpoints, run_folder, seal
from jaxloop.storage.final_parameters import final, own_folder, own_folders
from jaxloop.storage.ranking import RankedConfig, with_finite_mean
from jaxloop.storage.records import Member
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep

BEST_CONFIGS, BEST_SEEDS = 8, 8  # of each of the best configs, so many members get folders of their own


def keep(run: Path, sweep: Sweep, task: Task, store: Store, ranked: list[RankedConfig]) -> list[str]:
    """Give the best configs' members checkpoint folders of their own; delete what `keep` does not name.

    Args:
      ranked: all configs as `ranking.ranked` gives them, best first.

    Returns:
      What could not be kept, or not be deleted, and why.
    """
    wanted = sweep.document.checkpoint.keep
    numbers = set(_best(wanted, ranked))
    best = [member for member in store.members() if member.number in numbers]
    notes, reader = [], checkpoints.FinalReader()
    for member in sorted(best, key=lambda member: member.final_folder or ""):  # each folder is read once
        number = member.number
        for what in ends_with(store.final_kinds, sweep.members[number]):
            own = own_folder(run, member, what)
            # without a folder of its own: new, or another was better before the run grew
            if member.final_folder and not seal.is_sealed(own):
                try:
                    params = final(run, sweep, task, store, number, what, reader)
                except DamagedError as error:
                    notes.append(f"member {number} gets no checkpoint of its own: {error}")
                else:
                    checkpoints.save_one(own, params)
    if wanted.startswith("best:") and len(configs := with_finite_mean(ranked)) < min(int(wanted[5:]), len(ranked)):
        notes.append(f"only {len(configs)} configs have a finite mean: `keep` deletes no final parameters")
    elif wanted != "all":
        notes += _drop_all_but(run, store, numbers)
    else:
        _drop_orphans(run, store)
    return notes


def _best(wanted: str, ranked: list[RankedConfig]) -> list[int]:
    """Whose parameters `keep` means to have folders of their own, by number."""
    if wanted == "none":
        return []
    configs = with_finite_mean(ranked)
    if wanted == "all":
        return [number for config in configs[:BEST_CONFIGS] for number in config.members[:BEST_SEEDS]]
    return [number for config in configs[: int(wanted.removeprefix("best:"))] for number in config.members]


def _drop_all_but(run: Path, store: Store, numbers: set[int]) -> list[str]:
    """Delete what other members end with, unless some of these have nothing: then that is all that is left."""
    members = store.members()
    lost = [m.number for m in members if m.number in numbers and not _has_whole_folders(run, store, m)]
    others = {m.number: own_folders(run, m) for m in members if m.number not in numbers}
    if lost:
        told = f"members {ranges(lost)} are among the best and have no final parameters any more"
        left = any(others.values()) or any(member.final_folder for member in members)
        return [f"{told}: nothing of the others, which `keep` would drop, is deleted"] if left else []
    store.drop_final_folders()
    for folder in (run_folder.finals(run), run_folder.states(run)):
        for dropped in run_folder.by_turn(folder):
            shutil.rmtree(dropped)
        with contextlib.suppress(OSError):  # the user has something in it, or it is not there
            folder.rmdir()
    for folders in others.values():
        for own in folders:
            _delete(own)
    return []


def _drop_orphans(run: Path, store: Store) -> None:
    """Delete the final parameters that members had before they got more steps."""
    named = {member.final_folder for member in store.members()}
    for folder in run_folder.by_turn(run_folder.finals(run)):
        if f"{run_folder.FINAL}/{folder.name}" not in named:
            shutil.rmtree(folder)


def _has_whole_folders(run: Path, store: Store, member: Member) -> bool:
    kinds = ends_with(store.final_kinds, member.hparams)
    return all(_damage(own_folder(run, member, what)) is None for what in kinds)


def _damage(folder: Path) -> str | None:
    """Return what is wrong with a sealed folder, if anything."""
    try:
        seal.compare(folder)
    except DamagedError as error:
        return str(error)
    return None


def mend(run: Path, store: Store) -> list[str]:
    """Delete what killed processes left half done, and damaged folders of members' own that can be written anew.

    Returns:
      What of the final parameters that a run has kept is not what was written, a line each.
    """
    members = store.members()
    for member in members:
        _clear(run, member)
    finals = {
        folder: _damage(run / folder) for folder in sorted({m.final_folder for m in members if m.final_folder})
    }
    notes = []
    for folder, damage in finals.items():
        if damage:
            held = [member for member in members if member.final_folder == folder]
            lost = [member.number for member in held if not _has_whole_folders(run, store, member)]
            told = f"final parameters of members {ranges(lost)} are lost, their curves are not"
            notes.append(f"{told if lost else 'all of its members have checkpoints of their own'}: {damage}")
    for member in members:
        for own in own_folders(run, member):
            if member.final_folder and not seal.is_sealed(own):
                continue  # of a process that was killed: `keep` writes it anew
            if damage := _damage(own):
                told = "lost, its curves are not"
                if member.final_folder and not finals[member.final_folder]:
                    _delete(own)
                    told = "deleted; if the member is among the best, it is written anew as the run ends"
                notes.append(f"member {member.number}'s own checkpoint is {told}: {damage}")
    return notes


def drop_own(run: Path, member: Member) -> None:
    """Delete a member's own checkpoint folders."""
    for own in own_folders(run, member):
        _delete(own)


def _delete(own: Path) -> None:
    """Delete a whole folder; killed on the way, it leaves none under its name that would seem damaged."""
    dropped = own.replace(own.with_name(f"{own.name}.dropped"))
    shutil.rmtree(dropped)


def _clear(run: Path, member: Member) -> None:
    """Delete what a killed process had half written, or half deleted."""
    for what in get_args(Final):
        own = own_folder(run, member, what)
        for unfinished in own.parent.glob(f"{own.name}.*"):
            shutil.rmtree(unfinished)
