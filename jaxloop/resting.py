"""Where a run that was interrupted goes on from: its newest whole checkpoint, and nothing after it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop import checkpoints, drift, kept, provenance, summaries
from jaxloop.create import grow, refuse_other_terms
from jaxloop.errors import DamagedError
from jaxloop.records import Member, Status
from jaxloop.snapshot import START
from jaxloop.store import Store
from jaxloop.sweep import Sweep
from jaxloop.task import Task


def prepared(
    run: Path, sweep: Sweep, task: Task, store: Store, origin: dict[str, str], *, allow_drift: bool
) -> list[str]:
    """Brings a run's store and files to its newest whole checkpoint, after all that could speak against it.

    Returns:
      What the user should know.
    """
    checkpoint, damage = whole_checkpoint(run, store)
    refuse_other_terms(sweep, store)
    counts, turn = store.counts(), checkpoint["turn"]
    trains = counts[Status.FINISHED] + counts[Status.DIVERGED] < len(sweep.members)
    drifted = drift.check(run, sweep, store, origin, turn, trains=trains, allowed=allow_drift)
    file, notes = run / drift.SWEEP, []
    if not file.exists():
        notes.append(f"{file} was missing: written anew from the store")
    ranked_by = store.get("metric"), store.get("mode")
    grow(run, sweep, task, store, origin, drifted)
    if (now := (store.get("metric"), store.get("mode"))) != ranked_by:
        notes.append(f"members are ranked by {' '.join(now)} from now on; it was by {' '.join(ranked_by)}")
    if damage:
        at = f"turn {turn}" if turn else "the beginning"
        notes.append(f"the last checkpoint is damaged: {damage}: going on from {at}, the one before it")
    if store.get("status") != "created":
        notes += rewind(run, store, checkpoint)
    began = {name: store.get(name, None) for name in ("name", "folder", "origins", "forked_from")}
    began = {name: fact for name, fact in began.items() if fact is not None}
    notes += provenance.restore(run, began, sweep.folder)
    return notes + kept.mend(run, store)


def whole_checkpoint(run: Path, store: Store) -> tuple[dict[str, Any], str | None]:
    """The newest checkpoint that is whole, and what is wrong with the one after it.

    Raises:
      DamagedError: the last two are both damaged.
    """
    newest = store.get("checkpoint", START)
    damage = []
    for checkpoint in (newest, newest.get("previous")):
        if checkpoint:
            try:
                checkpoints.check_population(run / "checkpoints", checkpoint["turn"], checkpoint["parts"])
                return checkpoint, damage[0] if damage else None
            except DamagedError as error:
                damage.append(str(error))
    raise DamagedError("\n".join([*damage, f"no whole checkpoint is left: `jaxloop fork {run}` trains anew"]))


def rewind(run: Path, store: Store, checkpoint: dict[str, Any]) -> list[str]:
    """Forgets what came after a checkpoint, in the store and in files.

    Returns:
      What of the files was damaged, and was written anew from the store.
    """
    turn = checkpoint["turn"]
    store.rewind(turn, checkpoint)
    checkpoints.keep_only(run / "checkpoints", range(turn + 1))
    notes = []
    for member in store.members():
        folder = run / "members" / member.folder
        if member.status == Status.WAITING and folder.exists():
            shutil.rmtree(folder)
        elif member.status != Status.WAITING and (damage := _damage(folder, member, store)):
            _rewrite(folder, member, store)
            notes.append(f"{damage}: written anew from the store")
    for folder in (run / "finished").glob("[0-9]*-*"):
        if folder.name[:8].isdigit() and int(folder.name[:8]) > turn:
            shutil.rmtree(folder)
    return notes


def _damage(folder: Path, member: Member, store: Store) -> str | None:
    """Cuts a member's events to what it has recorded; what is wrong with what is left, if anything."""
    try:
        if member.status == Status.RUNNING:
            summaries.cut(folder, member.step)
        shown = summaries.scalars(folder)
    except DamagedError as error:
        return str(error)
    recorded = {at: np.float32(value) for at, value in store.points(member.number).items()}
    return None if shown == recorded else f"{folder}: its events are not the recorded points"


def _rewrite(folder: Path, member: Member, store: Store) -> None:
    """A member's events from its recorded points; killed on the way, the next resume does it again."""
    summaries.delete(folder)
    writer = summaries.MemberSummaries(folder, member.hparams, member.config, announce=True)
    points = store.points(member.number)
    for step in sorted({step for _, step in points}):
        writer.scalars(step, {name: value for (name, at), value in points.items() if at == step})
    if member.status != Status.RUNNING:
        writer.end(success=member.status == Status.FINISHED)
    writer.flush()
