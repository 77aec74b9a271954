"""Finished members that continue training, where `run.steps` grows, from the states that they finished with.

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
from jaxloop.formatting import shell_quoted
from jaxloop.storage import checkpoints, run_folder
from jaxloop.storage.facts import Shards
from jaxloop.storage.records import ENDED, Member, Status
from jaxloop.storage.snapshot import Snapshot, concatenated
from jaxloop.storage.store import Store
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sweep import Sweep

STEPS = "steps"


def keeps_states(sweep: Sweep, task: Task, bucket: Bucket) -> bool:
    """Return whether a program's members leave their final training states behind.

    Call after the program has been traced: only then is it known whether the task or its learning rates depend on
    the number of steps.
    """
    reads = any(STEPS in hparams_read(task, part) for part in bucket.size_classes)
    return not reads and not task.done and sweep.document.obstacle_to_more_steps() is None


def extended(sweep: Sweep, recorded: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a run's members that a changed sweep gives more steps.

    Args:
      sweep: its first members are the run's.
      recorded: their hparams, as the run has them.
    """
    pairs = zip(recorded, sweep.members, strict=False)
    return [number for number, (had, wanted) in enumerate(pairs) if wanted[STEPS] > had[STEPS]]


def refuse(sweep: Sweep, store: Store, before: Document, numbers: list[int]) -> None:
    """Make sure that some of a run's members can take more steps.

    Args:
      sweep: in which they have more steps.
      before: the run's own, as recorded.

    Raises:
      SweepError: one of them cannot.
    """
    if not numbers:
        return
    run, members = store.path.parent, store.members()
    finished = [members[number] for number in numbers if has_finished(members[number])]
    reasons = [
        before.obstacle_to_more_steps(),
        sweep.document.obstacle_to_more_steps(),
        _obstacle_of_all(members),
        *(_obstacle_of_one(sweep, number) for number in numbers),
        *(_obstacle_at_its_end(sweep, member) for member in finished),
    ]
    if not any(reasons):
        kept, damage = _folders(run)
        if lost := [member.number for member in finished if (member.number, member.step) not in kept]:
            likely = (
                "its task reads `steps` (`{**hparams}` reads all) or has a `done`, an older jaxloop trained it, "
                "or `clean` deleted it"
            )
            missing = f"the final training state of member {lost[0]} is missing"
            reasons.append(f"{missing}: {'; '.join(damage) or likely}")
    if reason := next(filter(None, reasons), None):
        anew = f"`jaxloop fork {shell_quoted(run)} --set run.steps=...` trains anew"
        raise SweepError(sweep.source_map.say(("run", STEPS), f"{run} cannot be extended: {reason}; {anew}"))


def _obstacle_of_all(members: list[Member]) -> str | None:
    """Return why the statuses of a run's members rule out more steps, or None."""
    if left := sum(member.status not in ENDED for member in members):
        return f"{left} of its {len(members)} members have not ended: run `jaxloop resume` without changes first"
    if any(member.status == Status.STOPPED or member.joined is not None for member in members):
        return "a scheduler decided who trained how long"
    return None


def _obstacle_of_one(sweep: Sweep, number: int) -> str | None:
    """Return why a member's hparams rule out more steps, or None."""
    schedule = sweep.members[number].get("schedule", "constant")  # of an optimizer of the task's own there is none
    if schedule == "constant":
        return None
    return f"member {number} has schedule = {schedule!r}, whose rates follow from `steps`"


def _obstacle_at_its_end(sweep: Sweep, member: Member) -> str | None:
    """Return why the last point of a member that has finished rules out more steps, or None."""
    every = sweep.document.run.evaluate_every
    if member.step % every == 0:
        return None
    last = f"member {member.number} was evaluated at its last step, {member.step}"
    return f"{last}, no multiple of run.evaluate_every = {every}: a longer run has no point there"


def has_finished(member: Member) -> bool:
    """Return whether a member has taken all its steps."""
    return member.status == Status.FINISHED and member.step == member.hparams[STEPS]


def restored(run: Path, checkpoint: Shards, members: dict[int, int], like: Any) -> Snapshot | None:
    """Restore members in training: those in a checkpoint, and others from the states that they finished with.

    Args:
      members: the steps of each, by number.
      like: one member's state, as shapes.

    Raises:
      DamagedError: a folder cannot be restored.
    """
    turn, parts = checkpoint["turn"], checkpoint["parts"]
    needs_no_states = parts and not run_folder.states(run).exists()
    held = members if needs_no_states else checkpoints.steps(run, turn, parts)
    left = {number: step for number, step in members.items() if number not in held}
    folders, damage = _folders(run) if left else ({}, [])
    if lost := [number for number, step in left.items() if (number, step) not in folders]:
        said = f"{run}: turn {turn}: the store says that member {lost[0]} has taken {left[lost[0]]} steps"
        reasons = "; ".join(["neither the checkpoint nor a final training state holds these", *damage])
        raise DamagedError(f"{said}; {reasons}; `jaxloop fork {shell_quoted(run)}` trains anew")
    found = [checkpoints.restore_population(run, turn, parts, like)] if members.keys() & held.keys() else []
    for folder in sorted({folders[at] for at in left.items() if at in folders}):
        states = checkpoints.restore_states(folder, like)
        numbers = states.members.tolist()
        own = [
            row
            for row, number in enumerate(numbers)
            if number in left and folders.get((number, left[number])) == folder
        ]
        found.append(states.rows(own))
    return concatenated([part for part in found if part])


def drop_superseded(run: Path, store: Store) -> None:
    """Delete states of turns in which no member finished as it now stands: they have taken more steps since."""
    turns = store.turns_of_ends(Status.FINISHED)
    for folder, turn in run_folder.by_turn(run_folder.states(run)).items():
        if turn not in turns:
            shutil.rmtree(folder)


def kept_at(run: Path) -> set[tuple[int, int]]:
    """Return whose states are kept, and at which step: pairs of a member's number and its steps."""
    return set(_folders(run)[0])


def _folders(run: Path) -> tuple[dict[tuple[int, int], Path], list[str]]:
    """Return the folder with the state of each member at each step, and what is wrong with others."""
    found: dict[tuple[int, int], Path] = {}
    damage = []
    for folder in run_folder.by_turn(run_folder.states(run)):
        try:
            found |= dict.fromkeys(checkpoints.state_steps(folder).items(), folder)
        except DamagedError as error:
            damage.append(str(error))
    return found, damage
