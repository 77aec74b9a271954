"""Members that train on after their last step: where `run.steps` grows, from the states that they finished with.

These are kept where a member's first steps do not depend on how many there will be: it then has the bits of one
run of more steps. A folder holds members of one program that finished together, as a population's checkpoint does.
"""

import shutil
from pathlib import Path
from typing import Any

from jaxloop.core.bucket import Bucket
from jaxloop.core.shapes import hparams_read
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, SweepError
from jaxloop.storage import checkpoints, run_folder
from jaxloop.storage.facts import Shards
from jaxloop.storage.records import Member, Status
from jaxloop.storage.snapshot import Snapshot, joined
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep

STEPS = "steps"


def keeps_states(sweep: Sweep, task: Task, bucket: Bucket) -> bool:
    """Return whether a program's members leave behind what it takes to train on.

    Call after the program is traced: it tells whether learning rates or the task follow from the number of steps.
    """
    reads = any(STEPS in hparams_read(task, part) for part in bucket.size_classes)
    return not reads and not task.done and _obstacle(sweep) is None


def _obstacle(sweep: Sweep) -> str | None:
    """Return what in a sweep keeps its finished members from training on."""
    document = sweep.document
    if document.loop or document.population.scheduler != "budget":
        return "who trains how long is decided by its loop or scheduler"
    if document.checkpoint.keep != "all":
        return f"checkpoint.keep = {document.checkpoint.keep!r} keeps no state to go on from"
    return None


def prolonged(sweep: Sweep, recorded: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a run's members that a changed sweep gives more steps.

    Args:
      sweep: its first members are the run's.
      recorded: their hparams, as the run has them.
    """
    pairs = zip(recorded, sweep.members, strict=False)
    return [number for number, (had, wanted) in enumerate(pairs) if wanted[STEPS] > had[STEPS]]


def refuse(sweep: Sweep, store: Store, numbers: list[int]) -> None:
    """Make sure that some of a run's members can train on.

    Args:
      sweep: in which they have more steps.

    Raises:
      SweepError: one of them cannot.
    """
    if not numbers:
        return
    run, members = store.path.parent, store.members()
    finished = [members[number] for number in numbers if has_finished(members[number])]
    reasons = [_obstacle(sweep), *(_obstacle_of(sweep, number) for number in numbers)]
    reasons += [_obstacle_at_its_end(sweep, member) for member in finished]
    if not any(reasons) and (lost := {member.number for member in finished} - _folders(run).keys()):
        reasons.append(
            f"the state that member {min(lost)} finished with was not kept: its task reads `steps` or has a "
            "`done`, an older jaxloop trained it, or `jaxloop clean` deleted it"
        )
    if reason := next(filter(None, reasons), None):
        anew = f"`jaxloop fork {run} --set run.steps=...` trains anew"
        raise SweepError(sweep.source_map.say(("run", STEPS), f"{run} cannot train on: {reason}; {anew}"))


def _obstacle_of(sweep: Sweep, number: int) -> str | None:
    """Return what keeps a member from taking more steps."""
    schedule = sweep.members[number]["schedule"]
    if schedule == "constant":
        return None
    return f"member {number} has schedule = {schedule!r}, whose rates follow from `steps`"


def _obstacle_at_its_end(sweep: Sweep, member: Member) -> str | None:
    """Return what in its last point keeps a member that has finished from training on."""
    every = sweep.document.run.evaluate_every
    if member.step % every == 0:
        return None
    measured = f"member {member.number} was measured at its last step, {member.step}"
    return f"{measured}, where a longer run measures nothing (run.evaluate_every = {every})"


def has_finished(member: Member) -> bool:
    """Return whether a member has taken all its steps."""
    return member.status == Status.FINISHED and member.step == member.hparams[STEPS]


def begun(run: Path, checkpoint: Shards, members: dict[int, int], like: Any) -> Snapshot | None:
    """Restore members in training: those in a checkpoint, and others from the states that they finished with.

    Args:
      members: the steps of each, by number.
      like: one member's state, as shapes.

    Raises:
      DamagedError: a folder cannot be restored.
    """
    turn, parts = checkpoint["turn"], checkpoint["parts"]
    folders = _folders(run)
    if not folders.keys() & members.keys():
        return checkpoints.restore_population(run, turn, parts, like)
    held = checkpoints.steps(run, turn, parts).keys() & members.keys()
    found = [checkpoints.restore_population(run, turn, parts, like)] if held else []
    left = {number: folders[number] for number in members if number not in held and number in folders}
    for folder in sorted(set(left.values())):
        states = checkpoints.restore_states(folder, like)
        found.append(states.rows([row for row, number in enumerate(states.members.tolist()) if number in left]))
    return joined([part for part in found if part])


def drop_superseded(run: Path) -> None:
    """Delete the states of members that have trained on since, where a newer folder holds all of them."""
    kept = set(_folders(run).values())
    for folder in run_folder.states(run).glob("*"):
        if folder not in kept:
            shutil.rmtree(folder)


def kept_steps(run: Path) -> dict[int, int]:
    """Return the steps that members had taken whose states are kept, by number.

    Raises:
      DamagedError: a folder is not what was written.
    """
    found: dict[int, int] = {}
    for folder in sorted(run_folder.states(run).glob("*")):
        found |= checkpoints.state_steps(folder)
    return found


def _folders(run: Path) -> dict[int, Path]:
    """Return the newest folder with each member's state, by the member's number; damaged ones count as missing."""
    found: dict[int, Path] = {}
    for folder in sorted(run_folder.states(run).glob("*")):
        try:
            found |= dict.fromkeys(checkpoints.members(folder), folder)
        except DamagedError:
            continue
    return found
