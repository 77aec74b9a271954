"""Where a run that was interrupted goes on from: its newest whole checkpoint, and nothing after it."""

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np

from jaxloop.errors import DamagedError
from jaxloop.formatting import shell_quoted
from jaxloop.storage import checkpoints, run_folder, seal, tensorboard
from jaxloop.storage.facts import Shards
from jaxloop.storage.records import ENDED, Member, Status
from jaxloop.storage.store import Store


def whole_checkpoint(run: Path, store: Store) -> tuple[Shards, str | None]:
    """Return the newest checkpoint that is whole, and what is wrong with the one after it.

    Raises:
      DamagedError: the last two are both damaged.
    """
    newest = store.checkpoint
    damage = []
    for checkpoint in (newest, newest.get("previous")):
        if checkpoint:
            try:
                checkpoints.check_population(run, checkpoint["turn"], checkpoint["parts"])
                return checkpoint, damage[0] if damage else None
            except DamagedError as error:
                damage.append(str(error))
    anew = f"no whole checkpoint is left: `jaxloop fork {shell_quoted(run)}` trains anew"
    raise DamagedError("\n".join([*damage, anew]))


def rewind(run: Path, store: Store, checkpoint: Shards, extended: Collection[int] = ()) -> list[str]:
    """Forget what came after a checkpoint, in the store and in files.

    Args:
      extended: members that have more steps now: their events are written anew.

    Returns:
      What of the files was damaged, and was written anew from the store.
    """
    turn = checkpoint["turn"]
    store.rewind(turn, checkpoint)
    checkpoints.keep_only(run, range(turn + 1))
    notes = []
    known = {member.folder for member in store.members()}
    for folder in run_folder.members(run).glob("[0-9]*"):
        if folder.is_dir() and folder.name not in known:  # of a member that joined after the checkpoint
            shutil.rmtree(folder)
    for member in store.members():
        folder = run_folder.member(run, member.folder)
        if member.status == Status.WAITING and folder.exists():
            shutil.rmtree(folder)
        elif member.number in extended:
            _rewrite(folder, member, store)
        elif member.status != Status.WAITING and (damage := _damage(folder, member, store)):
            _rewrite(folder, member, store)
            notes.append(f"{damage}: written anew from the store")
    _drop_ends(run, turn)
    return notes


def _drop_ends(run: Path, turn: int) -> None:
    """Delete what members ended with after a turn, and states that were only half written."""
    for folder, finished in run_folder.by_turn(run_folder.states(run)).items():
        if finished > turn or not seal.is_sealed(folder):
            shutil.rmtree(folder)
    for folder, retired in run_folder.by_turn(run_folder.finals(run)).items():
        if retired > turn:
            shutil.rmtree(folder)


def _damage(folder: Path, member: Member, store: Store) -> str | None:
    """Cut a member's events to what it has recorded; return what is wrong with the rest, or None."""
    try:
        if member.status not in ENDED:
            tensorboard.cut(folder, member.step)
        shown = tensorboard.scalars(folder)
    except DamagedError as error:
        return str(error)
    recorded = {at: np.float32(value) for at, value in store.points(member.number).items()}
    return None if shown == recorded else f"{folder}: its events are not the recorded points"


def _rewrite(folder: Path, member: Member, store: Store) -> None:
    """Write a member's events from its recorded points; killed on the way, the next resume does it again."""
    tensorboard.delete(folder)
    writer = tensorboard.MemberSummaries(
        folder, member.hparams, tensorboard.group_name(member.hparams, store.varied, member.config)
    )
    points = store.points(member.number)
    steps = sorted({step for _, step in points})
    metrics = {name: np.array([points.get((name, step), np.nan) for step in steps]) for name, _ in sorted(points)}
    for record in tensorboard.scalar_records(np.array(steps), metrics) if steps else ():
        writer.append(record)
    for metric, arrays in store.arrays(member.number).items():
        for step, array in arrays.items():
            writer.append_arrays(step, {metric: array})
    if member.status in ENDED:
        writer.end(success=member.status != Status.DIVERGED)
    writer.flush()
