"""A scheduler decides from what was measured which members stop, pause or resume at the end of a chunk."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Measured:
    """What a turn measured of the members that have steps left; nothing, before the first turn.

    Attributes:
      members: (K,) int32 numbers.
      steps: (K,) int64 steps that each has taken.
      metrics: by name, (K,) float32 values; NaN where nothing was measured.
      paused: members out of their slots, in order of their numbers.
    """

    members: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    paused: Sequence[int] = ()


@dataclass(frozen=True)
class Decisions:
    """Which members stop, pause or resume; those that are not named go on, or stay paused.

    Attributes:
      stop: members that end here; they keep their parameters and have no test metrics.
      pause: members whose slots are freed; they keep all they need to go on.
      resume: paused members that get a slot again, in this order.
    """

    stop: AbstractSet[int] = frozenset()
    pause: AbstractSet[int] = frozenset()
    resume: Sequence[int] = ()


class Scheduler(Protocol):
    """Decides at the end of each chunk which members stop, pause or resume.

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
