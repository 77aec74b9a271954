"""Members that join a run while it trains: their hparams, their place, and what a store records of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxloop.core.bucket import Bucket
from jaxloop.storage import tensorboard
from jaxloop.storage.records import Member, NewMember
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Join


class Joined(NamedTuple):
    """A member that has joined the run.

    number: the member's own.
    parent, step: of a copy, the member that it copies, and the steps that this one had taken.
    is_placed: whether it waits for a slot of the program that trains; otherwise another program trains it later.
    """

    number: int
    parent: int | None
    step: int
    is_placed: bool


def hparams_of(sweep: Sweep, bucket: Bucket, join: Join) -> dict[str, Any]:
    """Return all hparams of a member that joins.

    Args:
      bucket: of the member that it copies, if it does.

    Raises:
      ValueError: it changes what it cannot.
    """
    like = sweep.members[join.like]
    if unknown := join.hparams.keys() - like.keys():
        raise ValueError(f"member {join.like} has no hparams {sorted(unknown)}, which one like it would change")
    free = bucket.traced.keys() - bucket.sizes.keys() - bucket.choices.keys()
    if join.copy and (fixed := join.hparams.keys() - free):
        raise ValueError(f"a copy of member {join.like} cannot change {sorted(fixed)}: they shape the program")
    floats = {name: float(value) for name, value in join.hparams.items() if isinstance(like[name], float)}
    return {**like, **join.hparams, **floats}


def new_members(
    sweep: Sweep, origin: dict[str, str], joined: Iterable[Joined], known: Mapping[int, Member | NewMember]
) -> Iterator[NewMember]:
    """Yield members as a store records them.

    Args:
      origin: as `drift.origin` gives it.
      known: the run's other members, by number.

    Raises:
      ValueError: one is in the run already.
    """
    ids = {member.id: number for number, member in known.items()}
    for number, parent, step, _ in joined:
        new = new_member(sweep, origin, number, parent, "" if parent is None else known[parent].id, step)
        if new.id in ids:
            raise ValueError(f"the scheduler has a member join that is in the run already, as {ids[new.id]}")
        ids[new.id] = number
        yield new


def new_member(
    sweep: Sweep,
    origin: dict[str, str],
    number: int,
    parent: int | None = None,
    parent_id: str = "",
    step: int = 0,
) -> NewMember:
    """Return a member as a store records it.

    Args:
      origin: as `drift.origin` gives it.
      parent, parent_id, step: of a copy, what it copies.
    """
    hparams = sweep.members[number]
    of = None if parent is None else identity.Parent(parent_id, step)
    own = identity.member(hparams, sweep.document, origin["code"], origin["data"], of)
    folder = tensorboard.folder_name(number, hparams, sweep.varied)
    return NewMember(number, own, identity.config(hparams), hparams, folder, parent, step)
