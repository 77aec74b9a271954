"""What becomes of members at the end of a chunk: a scheduler sees what was measured, and decides."""

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
    """What becomes of members; those that are not named go on, or stay paused.

    Attributes:
      stop: members that end here; they keep their parameters and have no test metrics.
      pause: members whose slots are freed; they keep all they need to go on.
      go_on: paused members that get a slot again, in this order.
    """

    stop: AbstractSet[int] = frozenset()
    pause: AbstractSet[int] = frozenset()
    go_on: Sequence[int] = ()


class Scheduler(Protocol):
    """Decides what becomes of members at the end of each chunk.

    Each process of a run asks its own scheduler, and all need to give the same answers: let them follow from what
    was measured alone. A resumed run begins with a new one, which has not seen the chunks before.
    """

    def decide(self, measured: Measured) -> Decisions:
        """Return what becomes of members; also called as a resumed run begins, where some are paused."""
        ...


class RunToBudget:
    """Every member takes all of its steps."""

    def decide(self, measured: Measured) -> Decisions:
        return Decisions(go_on=measured.paused)
