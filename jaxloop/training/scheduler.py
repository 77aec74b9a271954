"""A scheduler decides from what was measured which members stop, pause, resume or join at the end of a chunk."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from jaxloop.storage.store import Store


@dataclass(frozen=True)
class Measured:
    """What a turn measured of the members that trained in it; nothing, before the first turn.

    Attributes:
      members: (K,) int32 numbers.
      steps: (K,) int64 steps that each has taken.
      metrics: by name, (K,) float32 values; NaN where nothing was measured.
      diverged: (K,) bool.
      is_active: (K,) bool, those that have not ended: they have steps left, are finite and not done.
      paused: members out of their slots, in order of their numbers.
      hparams: of all members of the run, by number; read-only.
    """

    members: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    diverged: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    is_active: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    paused: Sequence[int] = ()
    hparams: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Join:
    """A new member. It is last in the queue for a slot; a copy is ahead of members that have not begun.

    Attributes:
      like: number of a member whose hparams it has, but for `hparams`; None for those of the sweep's [hparams].
      hparams: what differs.
      copy: whether it starts from the parent's state at the end of this turn; the parent has to have trained in
        it, and sizes, choices and static hparams cannot differ.
    """

    like: int | None
    hparams: Mapping[str, Any] = field(default_factory=dict)
    copy: bool = False


@dataclass(frozen=True)
class Decisions:
    """Which members stop, pause, resume or join; those that are not named go on, or stay paused.

    Attributes:
      stop: members that end here; they keep their parameters and have no test metrics.
      pause: members whose slots are freed; they keep all they need to go on.
      resume: paused members that get a slot again, in this order, before members that have not begun.
      join: new members; they get the run's next numbers, in this order.
      records: to append to the run's ledger, as plain data.
    """

    stop: AbstractSet[int] = frozenset()
    pause: AbstractSet[int] = frozenset()
    resume: Sequence[int] = ()
    join: Sequence[Join] = ()
    records: Sequence[Mapping[str, Any]] = ()


class Scheduler(Protocol):
    """Decides at the end of each chunk which members stop, pause, resume or join.

    Each process of a run asks its own scheduler, and all need to give the same answers: let them follow from what
    was measured alone. A resumed run begins with a new one, which has not seen the chunks before.
    """

    def decide(self, measured: Measured) -> Decisions:
        """Return the decisions; also called as a resumed run begins, where some members are paused."""
        ...


class RunToBudget:
    """Every member takes all of its steps."""

    def decide(self, measured: Measured) -> Decisions:
        return Decisions(resume=measured.paused)


SchedulerOf = Callable[[Store], Scheduler]  # of a run, once it is ready to be trained


def decide(scheduler: Scheduler, measured: Measured) -> Decisions:
    """Return a scheduler's decisions.

    Raises:
      ValueError: it names members that have ended, or that it was not shown.
    """
    decisions = scheduler.decide(measured)
    going = set(measured.members[measured.is_active].tolist())
    finite = set(measured.members[~measured.diverged].tolist())
    copied = {join.like for join in decisions.join if join.copy}
    wrong = {
        *({*decisions.stop, *decisions.pause} - going - set(measured.paused)),
        *(set(decisions.resume) - set(measured.paused)),
        *({join.like for join in decisions.join} - {None, *range(len(measured.hparams))}),
        *(copied - finite),
    }
    if wrong:
        raise ValueError(f"the scheduler names members that have ended, or were not shown to it: {sorted(wrong)}")
    return decisions
