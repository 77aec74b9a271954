"""Where final parameters of retired members are, and what they are."""

import math
from pathlib import Path
from typing import Any, get_args

from jaxloop.core.assembly import final_shapes
from jaxloop.core.bucket import alone
from jaxloop.core.finals import MISSING, Final, ends_with
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, NotFoundError
from jaxloop.storage import checkpoints, run_folder, seal
from jaxloop.storage.records import ENDED, Member
from jaxloop.storage.state import state
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep


def final(
    run: Path,
    sweep: Sweep,
    task: Task,
    store: Store,
    number: int,
    what: Final = "params",
    reader: checkpoints.FinalReader | None = None,
) -> Any:
    """Return what a retired member ended with, as host arrays in the task's own structure.

    Args:
      reader: reused for other members, so that a folder that they share is restored once.

    Raises:
      NotFoundError: the member has not ended, or its parameters were not kept.
    """
    member = store.members("number = ?", (number,))[0]
    if what not in ends_with(store.final_kinds, sweep.members[number]):
        raise NotFoundError(f"{run}: member {number} has no {MISSING[what]}")
    shapes = final_shapes(task, alone(sweep, number), best=what.startswith("best"))
    like = shapes["params" if what == "average" else what]
    own = own_folder(run, member, what)
    if member.final_folder is not None:
        try:
            reader = reader or checkpoints.FinalReader()
            return reader.restore(run / member.final_folder, number, what, like)
        except DamagedError:
            if not seal.is_sealed(own):
                raise
    if own.exists():
        return checkpoints.restore_one(own, like)
    gone = ", and `clean` or checkpoint.keep removed them" if member.status in ENDED else ""
    status = state(store).status_in_words(member.status)
    raise NotFoundError(f"{run}: member {number} has no final parameters: it is {status}{gone}")


def check_best(run: Path, sweep: Sweep, store: Store, number: int) -> None:
    """Make sure that a member's metric of `checkpoint.best` was ever finite.

    Raises:
      NotFoundError: it was not: what is kept as best are the initial parameters.
    """
    (member,), best = store.members("number = ?", (number,)), sweep.document.checkpoint.best
    values = [value for (name, _), value in store.points(number).items() if name == best]
    if member.parent is None and not any(map(math.isfinite, values)):  # a copy begins with the best of its parent
        raise NotFoundError(f"{run}: member {number} has no best parameters: its {best} was never finite")


def own_folders(run: Path, member: Member) -> list[Path]:
    """Return those of a member's own checkpoint folders that exist."""
    return [own for what in get_args(Final) if (own := own_folder(run, member, what)).exists()]


def own_folder(run: Path, member: Member, what: Final) -> Path:
    """Return the path of a member's own checkpoint folder; it may not exist."""
    return run_folder.own_checkpoint(run, member.folder, what)
