"""Members that join a run while it trains: their hparams, their place, and what a store records of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def parent(join: Join) -> int | None:
    """Return the number of the member that a new one is to copy; None for one that begins anew."""
    return join.like if join.copy else None


def _hparams(sweep: Sweep, bucket: Bucket, join: Join) -> dict[str, Any]:
    """Return all hparams of a member that joins.

    Args:
      bucket: of the member that it copies, if it does.

    Raises:
      ValueError: it changes what it cannot.
    """
    if unknown := join.hparams.keys() - sweep.declared.keys():
        raise ValueError(f"no member has hparams {sorted(unknown)}, which one that joins would have")
    free = bucket.traced.keys() - bucket.sizes.keys() - bucket.choices.keys()
    if join.copy and (fixed := join.hparams.keys() - free):
        raise ValueError(f"a copy of member {join.like} cannot change {sorted(fixed)}: they shape the program")
    like = sweep.document.hparams if join.like is None else sweep.members[join.like]
    return sweep.completed({**like, **join.hparams})


def place_member(sweep: Sweep, buckets: Sequence[Bucket], join: Join, step: int = 0) -> Joined:
    """Assign a joining member the run's next number, and a place in the first bucket that can hold it.

    Args:
      buckets: the first is that of the member which is copied, if one is.
      step: of a copy, the steps that its parent has taken.

    Raises:
      ValueError: it changes what it cannot, or a copy has no steps left to take.
    """
    hparams, number = _hparams(sweep, buckets[0], join), len(sweep.members)
    if hparams["steps"] <= step:
        raise ValueError(f"a copy of member {join.like} after {step} steps needs more to take")
    sweep.members.append(hparams)
    is_placed = any(bucket.add(number, hparams) for bucket in buckets)
    return Joined(number, parent(join), step, is_placed)


def new_members(
    sweep: Sweep, origin: dict[str, str], who: Iterable[Joined], known: Mapping[int, Member | NewMember]
) -> Iterator[NewMember]:
    """Yield members as a store records them.

    Args:
      origin: as `drift.origin` gives it.
      known: the run's other members, by number.

    Raises:
      ValueError: one is in the run already.
    """
    ids = {member.id: number for number, member in known.items()}
    for number, parent, step, _ in who:
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
