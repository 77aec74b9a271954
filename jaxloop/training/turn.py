"""What one turn of a program leaves to be recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxloop.storage.records import NewMember, Status
from jaxloop.storage.snapshot import Finals, Snapshot
from jaxloop.training.joins import Joined


@dataclass(frozen=True)
class Turn:
    """What one turn left to be written, while the devices run the next one.

    Attributes:
      admitted: members that started in it.
      members: (K,) int32 numbers of all that trained in it.
      own: (K,) bool, those that this process trained.
      steps: (K,) int64 steps that each has taken.
      taken: steps of all in this turn.
      given_up: steps left untaken by members that ended early in it.
      metrics: by name, (K,) float32 values.
      arrays: by name, (K, ...) float32 values of those that are arrays.
      leavers: those that ended in it, and how; some may have been paused before.
      folders: of what the leavers end with, where that is kept, relative to the run's.
      finals: the contents of those folders that this process writes.
      states: of those that finished, where they may take more steps later, this process's part.
      paused: members whose slots it freed.
      going_on: paused ones that wait for a slot again.
      joined: members that join after it.
      records: to append to the run's ledger.
      settled: nobody of the program's members sits or waits any more.
      parts: where a checkpoint is due, the processes that have a part of it; none, where nobody is in training.
      snapshot: this process's part.
      new_members: those that join, as the store records them.
      size_classes: of all members then, where some join.
      totals: what the run has taken so far, as facts of its store.
    """

    number: int
    admitted: list[int]
    members: np.ndarray
    own: np.ndarray
    steps: np.ndarray
    taken: int
    given_up: int
    metrics: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    leavers: dict[int, Status]
    folders: dict[int, str]
    finals: list[tuple[str, Finals]]
    states: Snapshot | None
    paused: list[int]
    going_on: list[int]
    joined: list[Joined]
    records: Sequence[Mapping[str, Any]]
    settled: bool
    parts: list[int] | None = None
    snapshot: Snapshot | None = None
    new_members: Sequence[NewMember] = ()
    size_classes: list[list[list[int]]] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=dict)

    def measured_arrays(self) -> Iterator[tuple[int, int, str, np.ndarray]]:
        """Yield the arrays that were measured, each with its member, the member's steps and the metric's name."""
        for name, values in self.arrays.items():
            for number, step, value in zip(self.members.tolist(), self.steps.tolist(), values, strict=True):
                if not np.isnan(value).all():
                    yield number, step, name, value
